package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/web/audit"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List entries, newest first, as a table or a JSON line each."`
	Search auditSearchCmd `cmd:"" help:"The same as list --json."`
	Verify auditVerifyCmd `cmd:"" help:"Recompute the hash chain; exits 1 when an entry was changed or removed."`
}

// auditQuery are the flags of a search.
type auditQuery struct {
	serverFlags
	Actor   string `help:"Who: an e-mail address, user:ID, key:ID, system:WHAT."`
	Act     string `help:"What, or a prefix that ends in a dot: 'round.'."`
	Subject string `help:"The id of the thing acted on."`
	Text    string `help:"Words of the detail; with a * at the end the last is a beginning. Rankings have none."`
	Since   string `help:"Not before this time." placeholder:"2026-11-30T08:00:00Z"`
	Until   string `help:"Before this time." placeholder:"2026-12-01T00:00:00Z"`
	Limit   int    `help:"Entries at most; 0 is all." default:"100"`
}

// each calls f with what is found.
func (c auditQuery) each(ctx context.Context, std streams, f func(audit.Entry) error) error {
	q := audit.Query{Actor: c.Actor, Act: c.Act, Subject: c.Subject, Text: c.Text}
	for name, at := range map[string]struct {
		text string
		to   *time.Time
	}{"--since": {c.Since, &q.From}, "--until": {c.Until, &q.To}} {
		if at.text == "" {
			continue
		}
		var err error
		if *at.to, err = time.Parse(time.RFC3339, at.text); err != nil {
			return usageError{fmt.Errorf("%s %q is not a time such as 2026-11-30T08:00:00Z", name, at.text)}
		}
	}
	if c.Limit < 0 {
		return usageError{fmt.Errorf("--limit %d: 0 or more is wanted", c.Limit)}
	}
	return c.with(ctx, std, func(a *app) error {
		if u, err := a.accounts.UserByEmail(ctx, c.Actor); err == nil {
			q.Actor = "user:" + u.ID
		}
		n := 0
		err := audit.NewStore(a.db.Pool).Each(ctx, q, func(e audit.Entry) error {
			if n++; c.Limit > 0 && n > c.Limit {
				return io.EOF
			}
			return f(e)
		})
		if err == io.EOF {
			return nil
		}
		return err
	})
}

type auditListCmd struct {
	auditQuery
	JSON bool `name:"json" help:"One JSON line per entry."`
}

func (auditListCmd) Help() string {
	return "Example:\n  rankloop audit list --actor ada@example.com --act user. --since 2026-11-30T00:00:00Z --json"
}

func (c auditListCmd) Run(ctx context.Context, std streams) error {
	if c.JSON {
		return auditSearchCmd{c.auditQuery}.Run(ctx, std)
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENTRY\tWHEN\tWHO\tACT\tOF\tDETAIL")
	err := c.each(ctx, std, func(e audit.Entry) error {
		_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.At.UTC().Format(time.RFC3339), e.Actor, e.Act, e.Subject, e.Detail)
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

type auditSearchCmd struct{ auditQuery }

func (auditSearchCmd) Help() string { return "Example:\n  rankloop audit search --act round." }

func (c auditSearchCmd) Run(ctx context.Context, std streams) error {
	enc := json.NewEncoder(std.out)
	return c.each(ctx, std, func(e audit.Entry) error { return enc.Encode(e) })
}

type auditVerifyCmd struct {
	serverFlags
	JSON bool `name:"json" help:"Print the verdict as JSON."`
}

func (auditVerifyCmd) Help() string { return "Example:\n  rankloop audit verify" }

func (c auditVerifyCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		said := time.Now()
		v, err := a.db.health(a.dir).Verify(ctx, func(v audit.Verdict) error {
			if time.Since(said) > 2*time.Second {
				said = time.Now()
				fmt.Fprintf(std.err, "%d of %d entries verified\n", v.Checked, v.Total)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if c.JSON {
			err = json.NewEncoder(std.out).Encode(v)
		} else {
			_, err = fmt.Fprintf(std.out, "%d entries checked, %d not yet sealed\n", v.Checked, v.Unsealed)
		}
		if err != nil {
			return err
		}
		if v.Broken != nil {
			return fmt.Errorf("entry %d does not fit the chain: it, or one before it, was changed or removed", *v.Broken)
		}
		return nil
	})
}
