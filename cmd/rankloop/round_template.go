package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/ppo/loop"
)

type templateCmd struct {
	List   templateListCmd   `cmd:"" help:"List the setups, which rounds and schedules start from."`
	Show   templateShowCmd   `cmd:"" help:"Show the settings of a setup as JSON."`
	Save   templateSaveCmd   `cmd:"" help:"Save settings as a setup, or change those of one."`
	Remove templateRemoveCmd `cmd:"" help:"Remove a setup; rounds and schedules made from it stay."`
}

type templateListCmd struct {
	serverFlags
	JSON bool `name:"json" help:"One JSON line per setup."`
}

func (templateListCmd) Help() string { return "Example:\n  rankloop round template list" }

func (c templateListCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := a.loop.Templates(ctx, a.project.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			enc := json.NewEncoder(std.out)
			for _, t := range list {
				if err := enc.Encode(t); err != nil {
					return err
				}
			}
			return nil
		}
		if len(list) == 0 {
			_, err := fmt.Fprintln(std.out, "No setups yet: 'rankloop round template save NAME' keeps one.")
			return err
		}
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "NAME\tCHANGED\tBY")
		for _, t := range list {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", t.Name, t.UpdatedAt.Format(time.DateTime), t.CreatedBy)
		}
		return tw.Flush()
	})
}

// templateArg names a setup.
type templateArg struct {
	serverFlags
	Name string `arg:"" help:"Name or id of the setup."`
}

func (c templateArg) find(ctx context.Context, a *app) (loop.Template, error) {
	t, err := a.loop.FindTemplate(ctx, a.project.ID, c.Name)
	if err != nil {
		return t, fmt.Errorf("setup %s: %w", c.Name, err)
	}
	return t, nil
}

type templateShowCmd struct{ templateArg }

func (templateShowCmd) Help() string {
	return "Prints what --round-config takes.\n\nExample:\n  rankloop round template show nightly > round.json"
}

func (c templateShowCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		t, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(t.Config)
	})
}

type templateSaveCmd struct {
	templateArg
	setupFlags
	JSON bool `name:"json" help:"Print the setup as JSON."`
}

func (templateSaveCmd) Help() string {
	return "Examples:\n  rankloop round template save nightly --round-config round.json\n  rankloop round template save by-the-book --parts reward,ppo --preset instructgpt"
}

func (c templateSaveCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		cfg, err := c.config(ctx, a)
		if err != nil {
			return err
		}
		t := loop.Template{ProjectID: a.project.ID, Name: c.Name, Config: cfg}
		if former, err := a.loop.FindTemplate(ctx, a.project.ID, c.Name); err == nil {
			t.ID, t.Name = former.ID, former.Name
		}
		if t, err = a.loop.SaveTemplate(ctx, t, "command line"); err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(t)
		}
		_, err = fmt.Fprintln(std.out, "saved", t.Name)
		return err
	})
}

type templateRemoveCmd struct{ templateArg }

func (templateRemoveCmd) Help() string { return "Example:\n  rankloop round template remove nightly" }

func (c templateRemoveCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		t, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		if err := a.loop.RemoveTemplate(ctx, a.project.ID, t.ID, "command line"); err != nil {
			return err
		}
		_, err = fmt.Fprintln(std.out, "removed", t.Name)
		return err
	})
}
