package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"
)

type modelGCCmd struct {
	serverFlags
	Keep   int  `default:"5" help:"How many of the last are kept: of each kind, and of those that served."`
	DryRun bool `help:"Say what would go; remove nothing."`
	JSON   bool `name:"json" help:"One JSON line per version."`
}

func (modelGCCmd) Help() string {
	return `Weights are kept of what serves, of the last that served (so that a rollback finds them), of the last of each kind, of what open and failed
rounds work with, of what all these were made from directly, and of the base and supervised models that they descend from. Of the others the weights go;
the versions stay in lists and lineages.

Example:
  rankloop model gc --keep 3 --dry-run`
}

func (c modelGCCmd) Run(ctx context.Context, std streams) error {
	if c.Keep < 1 {
		return usageError{fmt.Errorf("--keep %d: at least 1 is wanted", c.Keep)}
	}
	return c.with(ctx, std, func(a *app) error {
		gone, err := a.loop.Collect(ctx, c.Keep, "command line", c.DryRun)
		if err != nil {
			return err
		}
		if c.JSON {
			enc := json.NewEncoder(std.out)
			for _, v := range gone {
				if err := enc.Encode(v); err != nil {
					return err
				}
			}
			return nil
		}
		if len(gone) == 0 {
			_, err := fmt.Fprintln(std.out, "All weights are needed.")
			return err
		}
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "WEIGHTS REMOVED OF\tKIND\tMADE\tID")
		for _, v := range gone {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", v.Name, v.Kind, v.CreatedAt.Format(time.DateTime), v.ID)
		}
		return tw.Flush()
	})
}
