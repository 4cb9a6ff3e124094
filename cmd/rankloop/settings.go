package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/web/setting"
)

type settingsCmd struct {
	List    settingsListCmd    `cmd:"" help:"List the settings that can be changed while the program runs."`
	Get     settingsGetCmd     `cmd:"" help:"Print what holds now."`
	Set     settingsSetCmd     `cmd:"" help:"Change a setting."`
	History settingsHistoryCmd `cmd:"" help:"List changes, newest first."`
}

type settingsListCmd struct {
	serverFlags
	JSON bool `name:"json" help:"One JSON line per setting."`
}

func (settingsListCmd) Help() string { return "Example:\n  rankloop settings list" }

func (c settingsListCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := setting.NewStore(a.db.Pool).List(ctx)
		if err != nil {
			return err
		}
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		enc := json.NewEncoder(std.out)
		for _, v := range list {
			if c.JSON {
				err = enc.Encode(v)
			} else {
				_, err = fmt.Fprintf(tw, "%s\t%s\t%s to %s, default %s\t%s\n", v.Name, setting.Text(v.Value), setting.Text(v.Min), setting.Text(v.Max), setting.Text(v.Default), v.Title)
			}
			if err != nil {
				return err
			}
		}
		return tw.Flush()
	})
}

type settingsGetCmd struct {
	serverFlags
	Name string `arg:"" help:"Name of the setting."`
	JSON bool   `name:"json" help:"Print the setting as JSON."`
}

func (settingsGetCmd) Help() string { return "Example:\n  rankloop settings get answers.max_tokens" }

func (c settingsGetCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := setting.NewStore(a.db.Pool).List(ctx)
		if err != nil {
			return err
		}
		for _, v := range list {
			switch {
			case string(v.Name) != c.Name:
			case c.JSON:
				return json.NewEncoder(std.out).Encode(v)
			default:
				_, err := fmt.Fprintln(std.out, setting.Text(v.Value))
				return err
			}
		}
		return unknownSetting(c.Name)
	})
}

func unknownSetting(name string) error {
	return usageError{fmt.Errorf("there is no setting %s; 'rankloop settings list' names them", name)}
}

type settingsSetCmd struct {
	serverFlags
	Name   string `arg:"" help:"Name of the setting."`
	Value  string `arg:"" help:"The new value, or 'default'."`
	Reason string `required:"" help:"Why; it stays in the history."`
	JSON   bool   `name:"json" help:"Print the newest change of the setting as JSON."`
}

func (settingsSetCmd) Help() string {
	return "Counts within a second in every process.\n\nExample:\n  rankloop settings set answers.max_tokens 1024 --reason 'longer stories'"
}

func (c settingsSetCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		s := setting.NewStore(a.db.Pool)
		n := setting.NewChange{Name: setting.Name(c.Name), Actor: "command line", Reason: c.Reason}
		d, err := s.Definition(n.Name)
		if err != nil {
			return unknownSetting(c.Name)
		}
		if c.Value != "default" {
			v, err := d.Parse(c.Value)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", c.Name, err)}
			}
			n.Value = &v
		}
		if err := s.Set(ctx, n); err != nil || !c.JSON {
			return err
		}
		last, err := s.History(ctx, n.Name, 0, 1)
		if err != nil || len(last) == 0 {
			return err
		}
		return json.NewEncoder(std.out).Encode(last[0])
	})
}

type settingsHistoryCmd struct {
	serverFlags
	Name  string `arg:"" optional:"" help:"Name of a setting; all where none is given."`
	Limit int    `help:"Changes at most." default:"100"`
	JSON  bool   `name:"json" help:"One JSON line per change."`
}

func (settingsHistoryCmd) Help() string {
	return "Example:\n  rankloop settings history answers.max_tokens"
}

func (c settingsHistoryCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := setting.NewStore(a.db.Pool).History(ctx, setting.Name(c.Name), 0, c.Limit)
		if err != nil {
			return err
		}
		text := func(v *float64) string {
			if v == nil {
				return "default"
			}
			return setting.Text(*v)
		}
		enc := json.NewEncoder(std.out)
		for _, h := range list {
			if c.JSON {
				err = enc.Encode(h)
			} else {
				_, err = fmt.Fprintf(std.out, "%s  %s  %s -> %s  %s  %s\n", h.At.UTC().Format(time.RFC3339), h.Name, text(h.Old), text(h.New), h.Actor, h.Reason)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
