package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

type modelCmd struct {
	Inspect   modelInspectCmd   `cmd:"" help:"Shape, parameters, memory and arithmetic of a model folder or a published shape."`
	Import    modelImportCmd    `cmd:"" help:"Register a model folder as a version, to be promoted." group:"Server"`
	Export    modelExportCmd    `cmd:"" help:"Write a version, or the starter model, as a Hugging Face folder."`
	Pull      modelPullCmd      `cmd:"" help:"Fetch a model from Hugging Face's hub, or one that answers as it does."`
	Convert   modelConvertCmd   `cmd:"" help:"Make a model folder of a llama2.c checkpoint, or of a folder with weights of another type."`
	List      modelListCmd      `cmd:"" help:"List the versions, newest first." group:"Server"`
	Promote   modelPromoteCmd   `cmd:"" help:"Let a version answer customers." group:"Server"`
	Canary    modelCanaryCmd    `cmd:"" help:"Let a version answer a share of the requests, watched by guards, before it answers all." group:"Server"`
	Rollback  modelRollbackCmd  `cmd:"" help:"Let the version that served before serve again." group:"Server"`
	Compare   modelCompareCmd   `cmd:"" help:"Compare two versions on the same prompts, blind where people judge." group:"Server"`
	Lineage   modelLineageCmd   `cmd:"" help:"Show what a version was made from, and what learned from whom." group:"Server"`
	GC        modelGCCmd        `cmd:"" name:"gc" help:"Remove weights that nobody needs any more." group:"Server"`
	Attention modelAttentionCmd `cmd:"" help:"Show what each token of a text looks at, as a heat map."`
}

type modelImportCmd struct {
	serverFlags
	Folder string `arg:"" type:"existingdir" help:"Hugging Face folder."`
	Name   string `required:"" help:"Name of the version."`
	Kind   string `help:"base, sft, policy or reward." enum:"base,sft,policy,reward" default:"sft"`
}

func (modelImportCmd) Help() string {
	return "The folder is read and checked first.\n\nExample:\n  rankloop model import ./my-model --name my-sft --kind sft"
}

func (c modelImportCmd) Run(ctx context.Context, std streams) error {
	cp, err := checkpoint.Load(c.Folder)
	if err != nil {
		return err
	}
	if _, err := needTokenizer(cp, c.Folder); err != nil {
		return err
	}
	return c.with(ctx, std, func(a *app) error {
		digest, err := a.blobs.Put(ctx, c.Folder)
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
			v, err := a.registry.Register(ctx, tx, registry.Version{Kind: c.Kind, Name: c.Name, Digest: digest, Metrics: cp.Card.Metrics})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(std.out, v.ID)
			return err
		})
	})
}

// version finds a version by name or id.
func (a *app) version(ctx context.Context, ref string) (registry.Version, error) {
	v, err := a.registry.Find(ctx, ref)
	if err != nil {
		return v, fmt.Errorf("version %s: %w; 'rankloop model list' shows them", ref, err)
	}
	return v, nil
}

type modelListCmd struct {
	serverFlags
	Kind string `help:"Only this kind." enum:",base,sft,reward,policy,value" default:""`
	JSON bool   `name:"json" help:"One JSON line per version."`
}

func (modelListCmd) Help() string { return "Example:\n  rankloop model list --kind policy" }

func (c modelListCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := a.registry.List(ctx, c.Kind, 1000)
		if err != nil {
			return err
		}
		serving, err := a.registry.Serving(ctx, loop.Channel)
		if err != nil {
			return err
		}
		enc, tw := json.NewEncoder(std.out), tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(tw, "NAME\tKIND\tMADE\tSERVES\tID")
		}
		for _, v := range list {
			if c.JSON {
				if err := enc.Encode(v); err != nil {
					return err
				}
				continue
			}
			mark := ""
			if v.ID == serving.ID {
				mark = "yes"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", v.Name, v.Kind, v.CreatedAt.Format(time.DateTime), mark, v.ID)
		}
		return tw.Flush()
	})
}
