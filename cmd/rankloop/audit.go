package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rankloop/rankloop/web/audit"
)

type auditCmd struct {
	Search auditSearchCmd `cmd:"" help:"Entries, newest first, one JSON line each."`
	Verify auditVerifyCmd `cmd:"" help:"Recompute the hash chain; exits 1 when an entry was changed or removed."`
}

type auditSearchCmd struct {
	serverFlags
	Actor   string `help:"Who: user:ID, key:ID, system:WHAT."`
	Act     string `help:"What, or a prefix that ends in a dot: 'round.'."`
	Subject string `help:"The id of the thing acted on."`
	Limit   int    `help:"Entries at most." default:"100"`
}

func (auditSearchCmd) Help() string { return "Example:\n  rankloop audit search --act round." }

func (c auditSearchCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := audit.NewStore(a.db.Pool).Search(ctx, audit.Query{Actor: c.Actor, Act: c.Act, Subject: c.Subject, Limit: c.Limit})
		if err != nil {
			return err
		}
		enc := json.NewEncoder(std.out)
		for _, e := range list {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	})
}

type auditVerifyCmd struct{ serverFlags }

func (auditVerifyCmd) Help() string { return "Example:\n  rankloop audit verify" }

func (c auditVerifyCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := a.db.health(a.dir).Verify(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%d entries checked, %d not yet sealed\n", v.Checked, v.Unsealed)
		if v.Broken != nil {
			return fmt.Errorf("entry %d does not fit the chain: it, or one before it, was changed or removed", *v.Broken)
		}
		return nil
	})
}
