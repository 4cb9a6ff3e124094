package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/ppo"
)

type trainMetricsCmd struct {
	Kind string `arg:"" optional:"" help:"ppo, grpo, rloo, dpo, rejection or best-of-n; none = all figures."`
	JSON bool   `name:"json" help:"As JSON."`
}

func (trainMetricsCmd) Help() string {
	return `Every figure that the training of a policy writes to metrics.jsonl: its unit, what it is, and what a sound run shows.

Example:
  rankloop train metrics grpo`
}

func (c trainMetricsCmd) Run(std streams) error {
	if err := knownKind(c.Kind); err != nil {
		return err
	}
	metrics := ppo.Metrics(c.Kind)
	if c.JSON {
		return json.NewEncoder(std.out).Encode(metrics)
	}
	for _, m := range metrics {
		fmt.Fprintf(std.out, "%s (%s)\n", m.Name, m.Unit)
		indented(std.out, m.Meaning)
		if m.Healthy != "" {
			indented(std.out, "healthy: "+m.Healthy)
		}
	}
	return nil
}

type trainOptionsCmd struct {
	Kind string `arg:"" help:"ppo, grpo, rloo, dpo, rejection or best-of-n."`
	JSON bool   `name:"json" help:"As JSON."`
}

func (trainOptionsCmd) Help() string {
	return `Every field of a kind's configuration: its value at each preset, what it means, and the paper or code that it comes from.

Example:
  rankloop train options ppo`
}

func (c trainOptionsCmd) Run(std streams) error {
	if err := knownKind(c.Kind); err != nil {
		return err
	}
	options := ppo.Options(c.Kind)
	if c.JSON {
		return json.NewEncoder(std.out).Encode(options)
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "field\t%s\n", strings.Join(ppo.Columns(c.Kind), "\t"))
	for _, o := range options {
		fmt.Fprintf(tw, "%s\t%s\n", o.Name, strings.Join(o.Values, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(std.out)
	for _, o := range options {
		source := ""
		if o.Source != "" {
			source = " [" + o.Source + "]"
		}
		fmt.Fprintln(std.out, o.Name)
		indented(std.out, o.Meaning+source)
	}
	return nil
}

// knownKind wants a kind of training, or none.
func knownKind(kind string) error {
	if kind != "" && !slices.Contains(ppo.Kinds(), kind) {
		return usageError{fmt.Errorf("%q is none of %s", kind, strings.Join(ppo.Kinds(), ", "))}
	}
	return nil
}

// indented writes a sentence in lines of at most 100 letters.
func indented(w io.Writer, text string) {
	const width = 100
	line := "   "
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			fmt.Fprintln(w, line)
			line = "   "
		}
		line += " " + word
	}
	fmt.Fprintln(w, line)
}
