package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

type eraseCmd struct {
	serverFlags
	Customer string `help:"Erase the prompts of this customer and all that hangs on them." placeholder:"ID" xor:"who" required:""`
	Labeler  string `help:"Erase the rankings, comments, drafts and demonstrations of this labeler." placeholder:"ID" xor:"who" required:""`
	DryRun   bool   `help:"Say what would go; change nothing."`
	JSON     bool   `name:"json" help:"Print the report as JSON."`
}

func (eraseCmd) Help() string {
	return `Everything goes in one transaction. Snapshots that held the rows, and models that learned from these, are marked; the report is
kept with its digest, and has no text of what is gone. Backups of the database are not reached: see the page on privacy in the docs.

Example:
  rankloop erase --customer 0199f3a2-7c11-7e8e-9f43-2f5d7a1b6c0d --dry-run`
}

func (c eraseCmd) Run(ctx context.Context, std streams) error {
	subject := labeling.Subject{Kind: "customer", ID: c.Customer}
	if c.Labeler != "" {
		subject = labeling.Subject{Kind: "labeler", ID: c.Labeler}
	}
	return c.with(ctx, std, func(a *app) error {
		r, err := a.erase(ctx, subject, "command line", c.DryRun)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(struct {
				labeling.ErasureReport
				Digest string `json:"digest"`
			}{r, r.Digest})
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
		_, err = fmt.Fprintf(std.out, "erasure %s, report sha256 %s\n", r.ID, r.Digest)
		return err
	})
}

// erase joins what labeling deletes with what the registry marks.
func (a *app) erase(ctx context.Context, subject labeling.Subject, actor string, dry bool) (labeling.ErasureReport, error) {
	return labeling.NewStore(a.db.Jobs).Erase(ctx, subject, actor, dry, func(ctx context.Context, tx pgx.Tx, snapshots []string, reason string) ([]labeling.Touched, error) {
		versions, err := a.registry.Taint(ctx, tx, snapshots, reason)
		var list []labeling.Touched
		for _, v := range versions {
			list = append(list, labeling.Touched{ID: v.ID, Name: v.Name})
		}
		return list, err
	})
}
