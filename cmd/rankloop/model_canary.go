package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

type modelCanaryCmd struct {
	Start   canaryStartCmd   `cmd:"" help:"Let a version answer the first share of the requests."`
	Show    canaryShowCmd    `cmd:"" help:"Show the canary that is under way, or the last one of a version."`
	Advance canaryAdvanceCmd `cmd:"" help:"Give the canary its next share now, or promote it at its last."`
	Pause   canaryPauseCmd   `cmd:"" help:"Keep the canary at its share; the guards go on watching."`
	Resume  canaryResumeCmd  `cmd:"" help:"Let a paused canary go on."`
	Abort   canaryAbortCmd   `cmd:"" help:"Let what serves answer everybody again."`
}

type canaryStartCmd struct {
	serverFlags
	Model     string        `arg:"" help:"Name or id of a policy or a supervised model."`
	Reason    string        `help:"Why; it stands on the version's page and in the audit log."`
	Shares    []float64     `help:"Percent of the requests at each step; after the last one the version is promoted." default:"1,10"`
	Answers   int           `help:"Answers by the canary that a step takes at least." default:"100"`
	Dwell     time.Duration `help:"Time that a step takes at least." default:"10m"`
	Least     int           `help:"Observations on each side below which no guard decides." default:"50"`
	Errors    float64       `help:"Guard: percent of failed requests above what serves." default:"1"`
	Slower    float64       `help:"Guard: times the 95th percentile of the latency of what serves." default:"1.5"`
	Thumbs    float64       `help:"Guard: percent of thumbs down among ratings above what serves." default:"10"`
	Empty     float64       `help:"Guard: percent of answers without text above what serves." default:"2"`
	Cut       float64       `help:"Guard: percent of answers cut off at their greatest length above what serves." default:"10"`
	Repeating float64       `help:"Guard: percent of answers that repeat themselves above what serves." default:"5"`
	RewardGap float64       `help:"Guard: standard deviations of the mean reward below what serves." default:"0.2"`
	JSON      bool          `name:"json" help:"Print the canary as JSON."`
}

func (canaryStartCmd) Help() string {
	return `Requests that name no version are shared out by a hash of their key (and of their user, where they name one), so that nobody is answered
now by the one and now by the other. A guard that finds the canary worse than allowed, with 99.87% confidence, takes it back by itself.

Example:
  rankloop model canary start policy-3 --shares 1,10,50 --dwell 1h --reason "wins 58% blind"`
}

func (c canaryStartCmd) config() registry.CanaryConfig {
	cfg := registry.CanaryConfig{Answers: c.Answers, Seconds: int(c.Dwell.Seconds()), Least: c.Least, Errors: c.Errors / 100, Slower: c.Slower, Thumbs: c.Thumbs / 100,
		Empty: c.Empty / 100, Cut: c.Cut / 100, Repeating: c.Repeating / 100, RewardGap: c.RewardGap}
	for _, p := range c.Shares {
		cfg.Shares = append(cfg.Shares, p/100)
	}
	return cfg
}

func (c canaryStartCmd) Run(ctx context.Context, std streams) error {
	if err := c.config().Validate(); err != nil {
		return usageError{err}
	}
	return c.with(ctx, std, func(a *app) error {
		v, err := a.version(ctx, c.Model)
		if err != nil {
			return err
		}
		canary, err := a.loop.StartCanary(ctx, v.ID, "command line", c.Reason, c.config())
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(canary)
		}
		_, err = fmt.Fprintf(std.out, "%s answers %g%% of the requests now\n", v.Name, 100*canary.Share)
		return err
	})
}

// openCanary is the canary that the other commands act on.
func (a *app) openCanary(ctx context.Context) (loop.CanaryView, error) {
	v, err := a.loop.OpenCanary(ctx)
	if errors.Is(err, registry.ErrNotFound) {
		err = errors.New("no canary is under way; 'rankloop model canary start MODEL' begins one")
	}
	return v, err
}

type canaryShowCmd struct {
	serverFlags
	Model string `arg:"" optional:"" help:"Name or id of a version; else the canary that is under way is shown."`
	JSON  bool   `name:"json" help:"Print the canary as JSON, with what its guards see and its history."`
}

func (canaryShowCmd) Help() string { return "Example:\n  rankloop model canary show" }

func (c canaryShowCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(v)
		}
		fmt.Fprintf(std.out, "%s: %s, %g%% of the requests (step %d of %d), since %s\n", v.Version.Name, v.State, 100*v.Share, v.Step+1, len(v.Config.Shares)+1, v.StepAt.UTC().Format(time.DateTime))
		if v.EndedWhy != "" {
			fmt.Fprintf(std.out, "ended: %s\n", v.EndedWhy)
		}
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		for _, g := range v.Verdicts {
			fmt.Fprintf(tw, "%s\t%s\n", g.Verdict, g)
		}
		for _, e := range v.Events {
			fmt.Fprintf(tw, "%s\t%s to %g%%, by %s: %s\n", e.At.UTC().Format(time.DateTime), e.Act, 100*e.Share, e.Actor, e.Reason)
		}
		return tw.Flush()
	})
}

func (c canaryShowCmd) find(ctx context.Context, a *app) (loop.CanaryView, error) {
	if c.Model == "" {
		return a.openCanary(ctx)
	}
	m, err := a.version(ctx, c.Model)
	if err != nil {
		return loop.CanaryView{}, err
	}
	list, err := a.registry.CanariesOf(ctx, m.ID, 1)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s was no canary yet; 'rankloop model canary start %s' makes it one", m.Name, m.Name)
	}
	if err != nil {
		return loop.CanaryView{}, err
	}
	return a.loop.Canary(ctx, list[0].ID)
}

// canaryFlags are what acts on the open canary share.
type canaryFlags struct {
	serverFlags
	Reason string `help:"Why; it stands in the canary's history and in the audit log."`
	JSON   bool   `name:"json" help:"Print the canary as it is then as JSON."`
}

// act does something to the open canary and says what it is then.
func (c canaryFlags) act(ctx context.Context, std streams, do func(l *loop.Loop, v loop.CanaryView) error) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := a.openCanary(ctx)
		if err != nil {
			return err
		}
		if err := do(a.loop, v); err != nil {
			return err
		}
		if v, err = a.loop.Canary(ctx, v.ID); err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(v)
		}
		_, err = fmt.Fprintf(std.out, "%s: %s\n", v.Version.Name, v.State)
		return err
	})
}

// simply is act with one that asks for nothing but a reason.
func (c canaryFlags) simply(ctx context.Context, std streams, do func(l *loop.Loop, ctx context.Context, id, actor, reason string) error) error {
	return c.act(ctx, std, func(l *loop.Loop, v loop.CanaryView) error { return do(l, ctx, v.ID, "command line", c.Reason) })
}

type (
	canaryAdvanceCmd struct{ canaryFlags }
	canaryPauseCmd   struct{ canaryFlags }
	canaryResumeCmd  struct{ canaryFlags }
	canaryAbortCmd   struct{ canaryFlags }
)

func (canaryAdvanceCmd) Help() string {
	return "Example:\n  rankloop model canary advance --reason \"too few requests at night\""
}

func (canaryPauseCmd) Help() string {
	return "Example:\n  rankloop model canary pause --reason \"over the weekend\""
}

func (canaryResumeCmd) Help() string {
	return "Example:\n  rankloop model canary resume --reason \"it is Monday\""
}

func (canaryAbortCmd) Help() string {
	return "Example:\n  rankloop model canary abort --reason \"customers complain\""
}

func (c canaryAdvanceCmd) Run(ctx context.Context, std streams) error {
	return c.act(ctx, std, func(l *loop.Loop, v loop.CanaryView) error {
		return l.AdvanceCanary(ctx, v.ID, v.Step, "command line", c.Reason)
	})
}

func (c canaryPauseCmd) Run(ctx context.Context, std streams) error {
	return c.simply(ctx, std, (*loop.Loop).PauseCanary)
}

func (c canaryResumeCmd) Run(ctx context.Context, std streams) error {
	return c.simply(ctx, std, (*loop.Loop).ResumeCanary)
}

func (c canaryAbortCmd) Run(ctx context.Context, std streams) error {
	return c.simply(ctx, std, (*loop.Loop).AbortCanary)
}
