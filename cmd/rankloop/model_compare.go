package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
)

type modelCompareCmd struct {
	Start  compareStartCmd  `cmd:"" default:"withargs" help:"Let two versions answer the same prompts, for people to judge or for figures alone."`
	List   compareListCmd   `cmd:"" help:"List the comparisons, newest first."`
	Show   compareShowCmd   `cmd:"" help:"Show a comparison and its result."`
	Watch  compareWatchCmd  `cmd:"" help:"Follow a comparison until it is closed, or all judgements are in."`
	Close  compareCloseCmd  `cmd:"" help:"End the judging and show the result."`
	Reopen compareReopenCmd `cmd:"" help:"Judge on in a closed comparison, or try a failed one again."`
	Delete compareDeleteCmd `cmd:"" help:"Forget a comparison."`
}

type compareStartCmd struct {
	serverFlags
	A           string  `arg:"" help:"Name or id of a version."`
	B           string  `arg:"" help:"Name or id of another one. Win rates are of B over A."`
	Prompts     string  `help:"File of prompts, one a line: text, or JSON with prompt and category; - is stdin." placeholder:"FILE" xor:"prompts" required:""`
	Project     string  `help:"Project whose held-out prompts are asked." placeholder:"NAME" xor:"prompts" required:""`
	Split       string  `help:"Which prompts of the project." enum:"test,valid" default:"test"`
	Category    string  `help:"Only prompts of the project of this kind, language or origin."`
	N           int     `name:"n" help:"Most prompts." default:"100"`
	Judges      string  `help:"labelers: among their tasks; room: who has the address of the page; nobody: figures without people." enum:"labelers,room,nobody" default:"nobody"`
	Overlap     int     `help:"Judges of each pair." default:"1"`
	MaxTokens   int     `help:"Tokens of an answer." default:"64"`
	Temperature float64 `help:"Of sampling; 0 takes the likeliest." default:"1"`
	TopP        float64 `name:"top-p" help:"Of sampling." default:"1"`
	Seed        uint64  `help:"Of sampling, of the sides and of the intervals." default:"1"`
	Watch       bool    `help:"Follow it, as 'rankloop model compare watch' does."`
	JSON        bool    `name:"json" help:"Print the comparison as JSON."`
}

func (compareStartCmd) Help() string {
	return "A server or 'rankloop work' must be running on the same database: its jobs sample the answers. Where nobody judges, the win rate of the reward model, lengths and KL are the result.\n\n" +
		"Example:\n  rankloop model compare sft-1 policy-3 --project main --n 200 --watch\n  rankloop model compare sft-1 policy-3 --prompts prompts.jsonl --judges labelers --overlap 2"
}

func (c compareStartCmd) Run(ctx context.Context, std streams) error {
	cfg := loop.CompareConfig{Split: c.Split, Category: c.Category, Prompts: c.N, Judges: c.Judges, Overlap: c.Overlap, MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopP: c.TopP, Seed: c.Seed}
	n := loop.NewComparison{Config: cfg, Actor: "command line"}
	if c.Prompts != "" {
		b, err := promptList(c.Prompts, std.in)
		if err != nil {
			return err
		}
		n.List = string(b)
	}
	return c.with(ctx, std, func(a *app) error {
		for at, ref := range map[*string]string{&n.A: c.A, &n.B: c.B} {
			v, err := a.version(ctx, ref)
			if err != nil {
				return err
			}
			*at = v.ID
		}
		if c.Project != "" {
			p, err := a.labeling.ProjectByName(ctx, c.Project)
			if errors.Is(err, labeling.ErrNotFound) {
				p, err = a.labeling.Project(ctx, c.Project)
			}
			if err != nil {
				return fmt.Errorf("project %s: %w", c.Project, err)
			}
			n.Config.Project = p.ID
		}
		v, err := a.loop.StartComparison(ctx, n)
		if err != nil {
			return err
		}
		if c.Watch {
			return watchComparison(ctx, std, a, v.ID, c.JSON)
		}
		return printComparison(ctx, std.out, a, v, c.JSON)
	})
}

func promptList(file string, in io.Reader) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(file)
}

type compareListCmd struct {
	serverFlags
	JSON bool `name:"json" help:"One JSON line per comparison."`
}

func (compareListCmd) Help() string { return "Example:\n  rankloop model compare list" }

func (c compareListCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		list, err := a.loop.Comparisons(ctx, "", 1000)
		if err != nil {
			return err
		}
		enc, tw := json.NewEncoder(std.out), tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(tw, "NUMBER\tA\tB\tSTAGE\tJUDGEMENTS\tWIN RATE OF B\tID")
		}
		for _, v := range list {
			if c.JSON {
				if err := enc.Encode(v); err != nil {
					return err
				}
				continue
			}
			win := "-"
			if v.Report != nil && v.Report.Judged > 0 {
				win = percent(v.Report.Win)
			}
			fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", v.Number, a.nameOf(ctx, v.A), a.nameOf(ctx, v.B), v.Stage, v.Done, v.Need, win, v.ID)
		}
		return tw.Flush()
	})
}

// nameOf is a version's name for people, or its id.
func (a *app) nameOf(ctx context.Context, id string) string {
	if v, err := a.registry.Get(ctx, id); err == nil {
		return v.Name
	}
	return id
}

// compareArg names a comparison: by its number, its id, or the newest.
type compareArg struct {
	serverFlags
	Comparison string `arg:"" optional:"" help:"Number or id of the comparison; the newest if left out."`
	JSON       bool   `name:"json" help:"As JSON."`
}

func (c compareArg) find(ctx context.Context, a *app) (loop.Comparison, error) {
	list, err := a.loop.Comparisons(ctx, "", 100_000)
	if err != nil {
		return loop.Comparison{}, err
	}
	for _, v := range list {
		if c.Comparison == "" || c.Comparison == v.ID || c.Comparison == fmt.Sprint(v.Number) {
			return v, nil
		}
	}
	if c.Comparison == "" {
		return loop.Comparison{}, errors.New("there are no comparisons yet: 'rankloop model compare A B' begins one")
	}
	return loop.Comparison{}, fmt.Errorf("there is no comparison %s: 'rankloop model compare list' shows them", c.Comparison)
}

// act carries out an act on the comparison and prints it afterwards.
func (c compareArg) act(ctx context.Context, std streams, act func(l *loop.Loop, id string) error) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := c.find(ctx, a)
		if err == nil && act != nil {
			if err = act(a.loop, v.ID); err == nil {
				v, err = a.loop.Comparison(ctx, v.ID)
			}
		}
		if err != nil {
			return err
		}
		return printComparison(ctx, std.out, a, v, c.JSON)
	})
}

type compareShowCmd struct{ compareArg }

func (compareShowCmd) Help() string { return "Example:\n  rankloop model compare show 3" }

func (c compareShowCmd) Run(ctx context.Context, std streams) error { return c.act(ctx, std, nil) }

type compareWatchCmd struct{ compareArg }

func (compareWatchCmd) Help() string { return "Example:\n  rankloop model compare watch 3" }

func (c compareWatchCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		return watchComparison(ctx, std, a, v.ID, c.JSON)
	})
}

func watchComparison(ctx context.Context, std streams, a *app, id string, asJSON bool) error {
	show := newProgress(std.err)
	for {
		v, err := a.loop.Comparison(ctx, id)
		if err != nil {
			return err
		}
		switch {
		case v.Stage == loop.CompareSample:
			show.show(fmt.Sprintf("comparison %d: sample", v.Number), v.Answered, v.Pairs, "prompts answered")
		case v.Stage == loop.CompareJudge && !v.Judged():
			show.show(fmt.Sprintf("comparison %d: judge", v.Number), v.Done, v.Need, "judgements")
		default:
			show.end()
			return printComparison(ctx, std.out, a, v, asJSON)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

type compareCloseCmd struct {
	compareArg
	Settle bool `help:"Make preference data of the judgements: rankings that later rounds learn from."`
}

func (compareCloseCmd) Help() string { return "Example:\n  rankloop model compare close 3" }

func (c compareCloseCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := c.find(ctx, a)
		if err != nil {
			return err
		}
		if err = a.loop.CloseComparison(ctx, v.ID, "command line"); err == nil && c.Settle {
			err = a.loop.SettleComparison(ctx, v.ID, a.project.ID, "command line")
		}
		if err == nil {
			v, err = a.loop.Comparison(ctx, v.ID)
		}
		if err != nil {
			return err
		}
		return printComparison(ctx, std.out, a, v, c.JSON)
	})
}

type compareReopenCmd struct{ compareArg }

func (compareReopenCmd) Help() string { return "Example:\n  rankloop model compare reopen 3" }

func (c compareReopenCmd) Run(ctx context.Context, std streams) error {
	return c.act(ctx, std, func(l *loop.Loop, id string) error { return l.ReopenComparison(ctx, id, "command line") })
}

type compareDeleteCmd struct{ compareArg }

func (compareDeleteCmd) Help() string { return "Example:\n  rankloop model compare delete 3" }

func (c compareDeleteCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		v, err := c.find(ctx, a)
		if err == nil {
			err = a.loop.DeleteComparison(ctx, v.ID, "command line")
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(map[string]any{"deleted": v.ID, "number": v.Number})
		}
		_, err = fmt.Fprintf(std.out, "comparison %d is deleted\n", v.Number)
		return err
	})
}

// printComparison says where a comparison stands, and its result where it is closed.
func printComparison(ctx context.Context, w io.Writer, a *app, v loop.Comparison, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(v)
	}
	line := fmt.Sprintf("comparison %d: A %s, B %s, %s, %d of %d prompts answered", v.Number, a.nameOf(ctx, v.A), a.nameOf(ctx, v.B), v.Stage, v.Answered, v.Pairs)
	if v.Need > 0 {
		line += fmt.Sprintf(", %d of %d judgements", v.Done, v.Need)
	}
	if v.Error != "" {
		line += ": " + v.Error
	}
	if v.Stage == loop.CompareJudge && v.Config.Judges == loop.JudgesRoom {
		line += "; people judge at /label?project=" + v.ProjectID
	}
	if _, err := fmt.Fprintln(w, line); err != nil || v.Report == nil {
		return err
	}
	return writeCompareReport(w, *v.Report, v.LookedAt != nil)
}

// writeCompareReport prints the table of a result.
func writeCompareReport(w io.Writer, r loop.CompareReport, early bool) error {
	rows := [][2]string{{"prompts", fmt.Sprintf("%d answered by both, %d left out", r.Prompts, r.Unfit)}}
	add := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
	}
	if r.Judged > 0 {
		add("win rate of B, people", "%s  n=%d prompts", percent(r.Win), r.Judged)
		add("  length-controlled", "%s", percent(r.LengthControlled))
		add("judgements", "%d: B won %d, ties %d, A won %d; by %d people", r.Judgements, r.WinsB, r.Ties, r.WinsA, r.Judges)
		if r.Shared > 0 {
			add("agreement between judges", "%s  n=%d, alpha %.3f", percent(r.Agreement), r.Agreement.N, r.Alpha)
		}
		for _, s := range r.Slices {
			add("  category "+s.Name, "%s  n=%d prompts", percent(s.Win), s.Judged)
		}
	}
	if r.Reward != nil {
		add("win rate of B, reward model", "%s  n=%d prompts", percent(*r.Reward), r.Reward.N)
	}
	if r.RewardAgrees != nil {
		add("reward model prefers as people", "%s  n=%d prompts", percent(*r.RewardAgrees), r.RewardAgrees.N)
	}
	if r.KL != nil {
		add("KL of B from A", "%.2f nats a response  [%.2f, %.2f]", r.KL.Value, r.KL.Low, r.KL.High)
	}
	add("length, A and B", "%.1f and %.1f characters, %.1f and %.1f tokens", r.LengthA.Value, r.LengthB.Value, r.TokensA.Value, r.TokensB.Value)
	if early {
		add("note", "somebody looked at it before the end")
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(w, "  %-32s %s\n", strings.TrimRight(row[0], " "), row[1]); err != nil {
			return err
		}
	}
	return nil
}
