package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/ppo/loop"
)

type roundCmd struct {
	Start   roundStartCmd   `cmd:"" help:"Start the next round now."`
	List    roundListCmd    `cmd:"" help:"List the rounds, newest first."`
	Show    roundShowCmd    `cmd:"" help:"Show a round and its table."`
	Watch   roundWatchCmd   `cmd:"" help:"Follow a round until it ends."`
	Proceed roundProceedCmd `cmd:"" help:"Train on the rankings that are in, without the rest."`
	Pause   roundPauseCmd   `cmd:"" help:"Stop an open round where it stands, until it is resumed."`
	Resume  roundResumeCmd  `cmd:"" help:"Go on with a paused round."`
	Retry   roundRetryCmd   `cmd:"" help:"Go on with a failed or cancelled round at the stage where it broke off."`
	Cancel  roundCancelCmd  `cmd:"" help:"Cancel an open round; rankings stay, and its training can be gone on with by retry."`

	Override roundOverrideCmd `cmd:"" help:"Let a round go on that a gate holds."`
	Template templateCmd      `cmd:"" help:"Keep setups to start rounds from."`
}

// with runs f on the joined rooms.
func (f serverFlags) with(ctx context.Context, std streams, do func(*app) error) error {
	a, err := f.open(ctx, std, true, appConfig{})
	if err != nil {
		return err
	}
	defer a.db.Close()
	return do(a)
}

type roundListCmd struct {
	serverFlags
	JSON bool `name:"json" help:"One JSON line per round."`
}

func (roundListCmd) Help() string { return "Example:\n  rankloop round list" }

func (c roundListCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		rounds, err := a.loop.List(ctx, a.project.ID, 1000)
		if err != nil {
			return err
		}
		if c.JSON {
			enc := json.NewEncoder(std.out)
			for _, r := range rounds {
				if err := enc.Encode(r); err != nil {
					return err
				}
			}
			return nil
		}
		if len(rounds) == 0 {
			_, err := fmt.Fprintln(std.out, "No rounds yet: 'rankloop round start' begins one.")
			return err
		}
		tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "NUMBER\tSTAGE\tSTARTED\tWIN VS SFT\tPROMOTED\tID")
		for _, r := range rounds {
			win, promoted := "-", "-"
			if r.Report != nil {
				win = fmt.Sprintf("%.1f%%", 100*r.Report.WinSFT.Value)
			}
			if r.Promoted != nil {
				promoted = fmt.Sprint(*r.Promoted)
			}
			fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Number, r.Stage, r.StartedAt.Format(time.DateTime), win, promoted, r.ID)
		}
		return tw.Flush()
	})
}

// roundArg names a round: by its number, its id, or the newest.
type roundArg struct {
	serverFlags
	Round string `arg:"" optional:"" help:"Number or id of the round; the newest if left out."`
}

func (c roundArg) find(ctx context.Context, a *app) (loop.Round, error) {
	rounds, err := a.loop.List(ctx, a.project.ID, 10000)
	if err != nil {
		return loop.Round{}, err
	}
	for _, r := range rounds {
		if c.Round == "" || c.Round == r.ID || c.Round == fmt.Sprint(r.Number) {
			return a.loop.View(ctx, r.ID)
		}
	}
	if c.Round == "" {
		return loop.Round{}, errors.New("there are no rounds yet: 'rankloop round start' begins one")
	}
	return loop.Round{}, fmt.Errorf("there is no round %s: 'rankloop round list' shows them", c.Round)
}

type roundShowCmd struct {
	roundArg
	JSON bool `name:"json" help:"As JSON."`
}

func (roundShowCmd) Help() string { return "Example:\n  rankloop round show 3" }

func (c roundShowCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		r, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		times, err := a.loop.StageTimes(ctx, r.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(struct {
				loop.Round
				Times []loop.TimedStage
			}{r, times})
		}
		fmt.Fprintln(std.out, roundLine(r)+etaOf(ctx, a, r))
		for _, t := range times {
			if t.EndedAt != nil {
				fmt.Fprintf(std.out, "  %s took %s\n", t.Stage, t.EndedAt.Sub(t.BeganAt).Round(time.Second))
			}
		}
		alarms, err := a.loop.Alarms(ctx, r.ID, 20)
		if err != nil {
			return err
		}
		for _, alarm := range alarms {
			if alarm.Open() && !r.Stage.Ended() {
				fmt.Fprintf(std.out, "an alarm stopped it: %s\nthe checkpoint is kept; 'rankloop round resume %d --reason ...' goes on\n", alarm.Message, r.Number)
			}
		}
		if r.Report == nil && r.Error == "" {
			return nil
		}
		return writeReport(std.out, r)
	})
}

type roundWatchCmd struct {
	roundArg
	JSON bool `name:"json" help:"One JSON line per change, the round with its progress."`
}

func (roundWatchCmd) Help() string { return "Example:\n  rankloop round watch" }

func (c roundWatchCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		show := newProgress(std.err)
		var last string
		for {
			r, err := c.find(ctx, a)
			if err != nil {
				return err
			}
			c.Round = r.ID
			if now := fmt.Sprint(r.Stage, r.Progress, r.PausedAt, r.Held); c.JSON && now != last {
				if err := json.NewEncoder(std.out).Encode(r); err != nil {
					return err
				}
				last = now
			}
			if r.Stage.Ended() || r.Stage == loop.StageDecide || r.Held != "" {
				show.end()
				return c.ended(std, r)
			}
			show.show(fmt.Sprintf("round %d: %s", r.Number, r.Stage), r.Progress.Done, r.Progress.Total, r.Progress.Unit)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
}

// ended shows a round that has come to its end, or waits for a person.
func (c roundWatchCmd) ended(std streams, r loop.Round) error {
	switch {
	case c.JSON:
		return nil
	case r.Report == nil && r.Error == "":
		_, err := fmt.Fprintln(std.out, roundLine(r))
		return err
	}
	return writeReport(std.out, r)
}

// roundLine says where a round stands.
func roundLine(r loop.Round) string {
	line := fmt.Sprintf("round %d: %s", r.Number, r.Stage)
	if r.PausedAt != nil {
		line += ", paused"
	}
	if r.BrokeAt != "" {
		line += fmt.Sprintf(" in stage %s", r.BrokeAt)
	}
	if r.Held != "" && !r.Stage.Ended() {
		line += fmt.Sprintf(", held by the gate %s: %s; 'rankloop round override' lets it go on", r.Held, r.Finding)
	}
	if r.Progress.Total > 0 {
		line += fmt.Sprintf(", %d of %d %s", r.Progress.Done, r.Progress.Total, r.Progress.Unit)
	}
	return line
}

// roundAct is a command that changes a round.
type roundAct struct {
	roundArg
	JSON bool `name:"json" help:"Print the round afterwards as JSON."`
}

func (c roundAct) run(ctx context.Context, std streams, act func(l *loop.Loop, ctx context.Context, id, actor string) error) error {
	return c.with(ctx, std, func(a *app) error {
		r, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		if err := act(a.loop, ctx, r.ID, "command line"); err != nil {
			return err
		}
		if r, err = a.loop.View(ctx, r.ID); err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(r)
		}
		_, err = fmt.Fprintln(std.out, roundLine(r))
		return err
	})
}

type roundProceedCmd struct{ roundAct }

func (roundProceedCmd) Help() string { return "Example:\n  rankloop round proceed 3" }

func (c roundProceedCmd) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, (*loop.Loop).Proceed)
}

type roundPauseCmd struct{ roundAct }

func (roundPauseCmd) Help() string {
	return "Nothing is sampled and no run takes a step; people may go on ranking.\n\nExample:\n  rankloop round pause 3"
}

func (c roundPauseCmd) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, (*loop.Loop).Pause)
}

type roundResumeCmd struct {
	roundAct
	Reason string   `help:"Why a round that an alarm stopped may go on." placeholder:"TEXT"`
	Limit  *float64 `help:"Limit of the alarm's rule for the rest of the round; without it the rule is off. With --reason." placeholder:"NUMBER"`
}

func (roundResumeCmd) Help() string {
	return "A round that an alarm stopped goes on from its checkpoint once somebody says why it may.\n\nExample:\n  rankloop round resume 3\n  rankloop round resume 3 --reason \"a slip of the pen\" --limit 40"
}

func (c roundResumeCmd) Run(ctx context.Context, std streams) error {
	if c.Limit != nil && c.Reason == "" {
		return usageError{errors.New("--limit goes with --reason: why may the run go on?")}
	}
	return c.run(ctx, std, func(l *loop.Loop, ctx context.Context, id, actor string) error {
		if c.Reason != "" {
			return l.ResumeAlarm(ctx, id, actor, c.Reason, c.Limit)
		}
		return l.Resume(ctx, id, actor)
	})
}

type roundRetryCmd struct{ roundAct }

func (roundRetryCmd) Help() string {
	return "A run goes on from its last committed step.\n\nExample:\n  rankloop round retry 3"
}

func (c roundRetryCmd) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, (*loop.Loop).Retry)
}

type roundCancelCmd struct{ roundAct }

func (roundCancelCmd) Help() string { return "Example:\n  rankloop round cancel 3" }

func (c roundCancelCmd) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, (*loop.Loop).Cancel)
}
