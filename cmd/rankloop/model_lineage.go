package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
)

type modelLineageCmd struct {
	serverFlags
	Model string `arg:"" optional:"" help:"Name or id of a version."`
	Of    string `help:"The other way round: the snapshots and versions that learned from this labeler, customer or ranking." placeholder:"KIND:ID"`
	JSON  bool   `name:"json" help:"One JSON line per ancestor; with --of one object."`
}

func (modelLineageCmd) Help() string {
	return `A version's ancestors, nearest first, with the program that made each, and whose rankings it learned from.

Example:
  rankloop model lineage policy-3
  rankloop model lineage --of labeler:0199f3a2-7c11-7e8e-9f43-2f5d7a1b6c0d`
}

func (c modelLineageCmd) Run(ctx context.Context, std streams) error {
	if (c.Model == "") == (c.Of == "") {
		return usageError{errors.New("give a version, or --of KIND:ID")}
	}
	return c.with(ctx, std, func(a *app) error {
		if c.Of != "" {
			return c.forward(ctx, std, a)
		}
		return c.back(ctx, std, a)
	})
}

// ancestor is a version of a lineage with whose rankings it learned from.
type ancestor struct {
	registry.Ancestor
	Origin *labeling.Origin `json:"origin"` // null: from none
}

func (c modelLineageCmd) back(ctx context.Context, std streams, a *app) error {
	v, err := a.version(ctx, c.Model)
	if err != nil {
		return err
	}
	list, err := a.registry.Lineage(ctx, v.ID)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(std.out)
	for _, x := range list {
		line := ancestor{Ancestor: x}
		if x.Snapshot != nil {
			o, err := a.labeling.SnapshotOrigin(ctx, *x.Snapshot)
			if err != nil {
				return err
			}
			line.Origin = &o
		}
		if c.JSON {
			if err := enc.Encode(line); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(std.out, "%*s%s (%s)%s\n", 2*x.Depth, "", x.Name, x.Kind, learnedFrom(line))
	}
	return nil
}

// learnedFrom says in a line what rankings are behind a version.
func learnedFrom(v ancestor) string {
	if v.Origin == nil {
		return ""
	}
	return fmt.Sprintf(", %d rankings of %s (snapshot %s)", v.Origin.Snapshot.N, plural(len(v.Origin.Labelers), "labeler"), v.Origin.Snapshot.Name)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c modelLineageCmd) forward(ctx context.Context, std streams, a *app) error {
	kind, id, _ := strings.Cut(c.Of, ":")
	snapshots, err := a.labeling.SnapshotsOf(ctx, labeling.Subject{Kind: kind, ID: id})
	if err != nil {
		return err
	}
	ids := make([]string, len(snapshots))
	for i, s := range snapshots {
		ids[i] = s.ID
	}
	versions, err := a.registry.Learned(ctx, ids)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"subject": c.Of, "snapshots": snapshots, "versions": versions})
	}
	if len(snapshots) == 0 {
		_, err := fmt.Fprintf(std.out, "Nothing has learned from %s.\n", c.Of)
		return err
	}
	for _, s := range snapshots {
		fmt.Fprintf(std.out, "snapshot %s: %s of it\n", s.Name, plural(s.Rankings, "ranking"))
	}
	for _, v := range versions {
		fmt.Fprintf(std.out, "%s (%s) %s\n", v.Name, v.Kind, v.ID)
	}
	return nil
}
