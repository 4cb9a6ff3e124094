package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rankloop/rankloop/labeling"
)

type eraseCmd struct {
	serverFlags
	Customer   string `help:"Erase the prompts of this customer and all that hangs on them; with --user, only those of that one of its users." placeholder:"ID" xor:"who" required:""`
	Labeler    string `help:"Erase the rankings, comments, drafts and demonstrations of this labeler." placeholder:"ID" xor:"who" required:""`
	Completion string `help:"Erase what is kept of this completion: prompt, answers, feedback." placeholder:"ID" xor:"who" required:""`
	User       string `help:"One of the --customer's own users, as its requests name it in \"user\"." placeholder:"NAME"`
	DryRun     bool   `help:"Say what would go; change nothing."`
	JSON       bool   `name:"json" help:"Print the report as JSON."`
}

func (eraseCmd) Help() string {
	return `Everything goes in one transaction. Snapshots that held the rows, and models that learned from these, are marked; the report is
kept with its digest and signed, and has no text of what is gone. What is erased already, or was never there, is no error. Backups of the database are not reached: see the manual, 'Data in and out'.

Example:
  rankloop erase --customer 0199f3a2-7c11-7e8e-9f43-2f5d7a1b6c0d --dry-run
  rankloop erase --customer 0199f3a2-7c11-7e8e-9f43-2f5d7a1b6c0d --user shopper-17
  rankloop erase --completion chatcmpl-0199f3a27c117e8e`
}

func (c eraseCmd) Run(ctx context.Context, std streams) error {
	if c.User != "" && c.Customer == "" {
		return usageError{errors.New("--user names one of a customer's own users: say whose with --customer")}
	}
	return c.with(ctx, std, func(a *app) error {
		subject, err := c.subject(ctx, a)
		if err != nil {
			return err
		}
		r, err := a.erase(ctx, subject, "command line", c.DryRun)
		if errors.Is(err, labeling.ErrNotFound) { // r says so
			if r.ID, err = "", nil; !c.JSON {
				_, err = fmt.Fprintf(std.out, "nothing is kept of %s: it is erased already, or never was\n", subject)
				return err
			}
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(printedErasure(r))
		}
		for _, table := range slices.Sorted(maps.Keys(r.Rows)) {
			fmt.Fprintf(std.out, "%s: %d rows\n", table, r.Rows[table])
		}
		for _, s := range r.Snapshots {
			fmt.Fprintf(std.out, "snapshot %s (%s): %d rankings\n", s.ID, s.Name, s.Rankings)
		}
		for _, m := range r.Models {
			fmt.Fprintf(std.out, "model %s (%s)\n", m.ID, m.Name)
		}
		if first, ok := r.RetrainFrom(); ok {
			fmt.Fprintf(std.out, "retrain from round %d: it was the first to learn from them\n", first.Round)
		}
		if c.DryRun {
			_, err = fmt.Fprintln(std.out, "dry run: nothing has changed")
			return err
		}
		_, err = fmt.Fprintf(std.out, "erasure %s, report sha256 %s: 'rankloop erasure report %[1]s' prints it with its signature\n", r.ID, r.Digest)
		return err
	})
}

// subject is what is to be erased. Whose completion it is, the database knows.
func (c eraseCmd) subject(ctx context.Context, a *app) (labeling.Subject, error) {
	switch {
	case c.Labeler != "":
		return labeling.Subject{Kind: "labeler", ID: c.Labeler}, nil
	case c.Completion != "":
		owner, err := labeling.NewStore(a.db.Jobs).OwnerOf(ctx, c.Completion)
		if errors.Is(err, labeling.ErrNotFound) {
			owner, err = "nobody", nil
		}
		return labeling.PartOf("completion", owner, c.Completion), err
	case c.User != "":
		return labeling.PartOf("user", c.Customer, c.User), nil
	}
	return labeling.Subject{Kind: "customer", ID: c.Customer}, nil
}

// erase joins what labeling deletes with what the loop marks.
func (a *app) erase(ctx context.Context, subject labeling.Subject, actor string, dry bool) (labeling.ErasureReport, error) {
	return labeling.NewStore(a.db.Jobs).Erase(ctx, subject, actor, dry, labeling.Erasing{Taint: a.loop.Taint, Key: a.secrets.reports})
}
