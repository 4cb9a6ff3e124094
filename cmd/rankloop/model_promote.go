package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
)

type modelPromoteCmd struct {
	serverFlags
	Model    string `arg:"" optional:"" help:"Name or id of a version."`
	Reason   string `help:"Why; it stands on the version's page and in the audit log."`
	At       string `help:"Promote it then instead of now, for example 2026-03-01T04:00." placeholder:"TIME"`
	TimeZone string `help:"Whose clock --at is read by, for example Asia/Taipei." default:"UTC"`
	Planned  bool   `help:"List the promotions that wait for their time."`
	Cancel   string `help:"Take back the planned promotion of that id." placeholder:"ID"`
	JSON     bool   `name:"json" help:"Print the version, or the planned promotion, as JSON."`
}

func (modelPromoteCmd) Help() string {
	return `A planned promotion is made by whichever process works then; it can be cancelled until its time.

Example:
  rankloop model promote policy-3 --reason "wins 58% blind"
  rankloop model promote policy-3 --at 2026-03-01T04:00 --time-zone Asia/Taipei --reason "few customers then"
  rankloop model promote --planned
  rankloop model promote --cancel 01956f0e-0000-7000-8000-000000000000 --reason "a holiday"`
}

func (c modelPromoteCmd) Run(ctx context.Context, std streams) error {
	if named := c.Model != ""; named == (c.Planned || c.Cancel != "") || c.Planned && c.Cancel != "" {
		return usageError{errors.New("name a version, or say --planned, or --cancel ID")}
	}
	return c.with(ctx, std, func(a *app) error {
		switch {
		case c.Planned:
			return c.list(ctx, std, a)
		case c.Cancel != "":
			return c.cancel(ctx, std, a)
		case c.At != "":
			return c.plan(ctx, std, a)
		}
		v, err := a.version(ctx, c.Model)
		if err != nil {
			return err
		}
		if err := a.loop.Promote(ctx, v.ID, "command line", c.Reason); err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(v)
		}
		_, err = fmt.Fprintf(std.out, "%s serves now\n", v.Name)
		return err
	})
}

func (c modelPromoteCmd) plan(ctx context.Context, std streams, a *app) error {
	v, err := a.version(ctx, c.Model)
	if err != nil {
		return err
	}
	p, err := a.loop.PlanPromotion(ctx, v.ID, c.At, c.TimeZone, "command line", c.Reason)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(p)
	}
	_, err = fmt.Fprintf(std.out, "%s will serve from %s on; take it back with --cancel %s\n", v.Name, p.Local(), p.ID)
	return err
}

func (c modelPromoteCmd) cancel(ctx context.Context, std streams, a *app) error {
	if err := a.loop.CancelPlanned(ctx, c.Cancel, "command line", c.Reason); err != nil {
		return fmt.Errorf("%w; 'rankloop model promote --planned' shows what waits", err)
	}
	_, err := fmt.Fprintln(std.err, "cancelled")
	return err
}

func (c modelPromoteCmd) list(ctx context.Context, std streams, a *app) error {
	list, err := a.registry.Planned(ctx, "")
	if err != nil {
		return err
	}
	enc, tw := json.NewEncoder(std.out), tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(tw, "VERSION\tAT\tBY\tREASON\tID")
	}
	for _, p := range list {
		if c.JSON {
			if err := enc.Encode(p); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", p.Version.Name, p.Local(), p.Actor, p.Reason, p.ID)
	}
	return tw.Flush()
}

type modelRollbackCmd struct {
	serverFlags
	Reason string `help:"Why; it stands in the history of what served and in the audit log."`
	JSON   bool   `name:"json" help:"Print the version as JSON."`
}

func (modelRollbackCmd) Help() string {
	return `Every server follows within seconds; answers under way finish on the present weights. A canary that is under way ends.

Example:
  rankloop model rollback --reason "it repeats itself"`
}

func (c modelRollbackCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := a.loop.Rollback(ctx, "command line", c.Reason)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(v)
		}
		_, err = fmt.Fprintf(std.out, "%s serves again\n", v.Name)
		return err
	})
}
