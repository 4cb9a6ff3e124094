package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/migrations/localpg"
)

type benchLabelingCmd struct {
	Of          []string      `default:"cycles,think" enum:"cycles,think,lists,rounds,audit,exports,claims,leases" help:"What is measured: ${enum}."`
	Tasks       int           `default:"100000" help:"Tasks of four answers and three labelers each in the database."`
	Connections int           `default:"16" help:"Of cycles and claims: labelers who claim and submit without a pause."`
	Labelers    int           `default:"500" help:"Of think: people at work."`
	Think       time.Duration `default:"1s" help:"Of think: mean time from a task's arrival to its submit."`
	Time        time.Duration `default:"10s" help:"How long a sample takes."`
	Repeats     int           `default:"3" help:"Samples; medians are shown."`
	Claims      int           `default:"1000000" help:"Of claims: how many are made, while server and Postgres are killed."`
	Within      time.Duration `help:"Of claims: end after so long, though fewer were made." placeholder:"DURATION"`
	Kills       int           `default:"30" help:"Of claims: how often the server is killed; every third time Postgres is too."`
	JSON        bool          `name:"json" help:"As JSON."`
}

func (benchLabelingCmd) Help() string {
	return `The labeling API under load: Postgres, the server and the people who label share this machine. Every call is signed in and every
act has its audit row.

  - cycles: people who claim and submit without a pause, beside pgbench -N with as many clients on the same Postgres, in turn
  - think: many people who think between arrival and submit: how long claim and submit take
  - claims: claims, submits, skips, releases and leases that run out while server and Postgres are killed with SIGKILL; then every
    counter is compared with a recount: no task has more rankings than it asked for, no labeler ranked one twice
  - lists: the admin's lists of tasks and dashboards: first pages, deep ones, each filter; the figures, in full and after one ranking
  - rounds: the admin's pages over a thousand rounds that learned from all these rankings
  - audit: searches of an audit log of as many entries as there are tasks
  - exports: a snapshot of as many rankings as there are tasks, in every format: rankings a second, the same file again, and the memory
    of the program that writes it, beside what it takes for a tenth
  - leases: many leases that run out at once

Example:
  rankloop bench labeling --of cycles --time 5s
  rankloop bench labeling --of claims --claims 50000 --kills 5
  rankloop bench labeling --of lists,rounds,audit --tasks 1000000
  rankloop bench labeling --of exports --tasks 200000`
}

// bar is a figure with what it must not fall below, or stay above.
type bar struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bar   float64 `json:"bar"`
	Most  bool    `json:"most"` // the bar is the most that it may be; else the least
	Holds bool    `json:"holds"`
	Note  string  `json:"note,omitempty"`
}

func atLeast(name string, value float64, unit string, least float64, note string) bar {
	return bar{name, value, unit, least, false, value >= least, note}
}

func atMost(name string, value float64, unit string, most float64, note string) bar {
	return bar{name, value, unit, most, true, value <= most, note}
}

func (c benchLabelingCmd) Run(ctx context.Context, std streams) error {
	if min(c.Tasks, c.Connections, c.Labelers, c.Repeats, c.Claims) < 1 || c.Kills < 0 || c.Within < 0 || c.Time < time.Second || c.Think < 0 {
		return usageError{errors.New("counts of at least 1, a --time of at least 1s, and no negative --kills, --within or --think are wanted")}
	}
	show := newProgress(std.err)
	defer show.end()
	show.say("Starting a private Postgres and a server, and making %d tasks", c.Tasks)
	lab, err := newLab(ctx, c, show)
	if err != nil {
		return err
	}
	defer lab.close()
	var bars []bar
	for _, part := range []struct {
		name string
		run  func(context.Context) ([]bar, error)
	}{{"cycles", lab.cycles}, {"think", lab.think}, {"leases", lab.leases}, {"claims", lab.claims}, {"lists", lab.lists}, {"rounds", lab.rounds}, {"audit", lab.audits}, {"exports", lab.exports}} {
		if !slices.Contains(c.Of, part.name) {
			continue
		}
		some, err := part.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w%s", part.name, err, lab.serverLog())
		}
		bars = append(bars, some...)
	}
	show.end()
	return c.report(std, bars)
}

func (c benchLabelingCmd) report(std streams, bars []bar) error {
	if c.JSON {
		return json.NewEncoder(std.out).Encode(map[string]any{"tasks": c.Tasks, "bars": bars})
	}
	return printBars(std.out, bars)
}

// printBars prints figures beside their bars.
func printBars(w io.Writer, bars []bar) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\tmeasured\tbar\tholds\t")
	for _, b := range bars {
		limit, holds := "at least ", "yes"
		if b.Most {
			limit = "at most "
		}
		if !b.Holds {
			holds = "no"
		}
		fmt.Fprintf(tw, "%s\t%s %s\t%s%s\t%s\t%s\n", b.Name, digits(b.Value), b.Unit, limit, digits(b.Bar), holds, b.Note)
	}
	return tw.Flush()
}

// cycles is the saturated rate of claim and submit, beside what the same Postgres does in pgbench's simple updates.
func (l *lab) cycles(ctx context.Context) ([]bar, error) {
	bench, err := newPgbench(ctx, l.postgres, l.Connections)
	if err != nil {
		return nil, err
	}
	var rates, shares []float64
	var claims, submits []time.Duration
	for i := range l.Repeats + 1 {
		l.show.show("cycles", i, l.Repeats+1, "samples")
		tps := 0.0
		if bench != nil {
			if tps, err = bench.run(ctx, l.Time); err != nil {
				return nil, err
			}
		}
		load, err := l.load(ctx, l.Connections, 0, l.Time)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			continue // warming up
		}
		rates = append(rates, load.rate())
		if tps > 0 {
			shares = append(shares, 100*load.rate()/tps)
		}
		claims, submits = append(claims, load.claims...), append(submits, load.submits...)
	}
	note := fmt.Sprintf("next p50 %.1f p99 %.1f, submit p50 %.1f p99 %.1f ms", ms(quantile(claims, .5)), ms(quantile(claims, .99)), ms(quantile(submits, .5)), ms(quantile(submits, .99)))
	out := []bar{atLeast("submit cycles, "+strconv.Itoa(l.Connections)+" connections", median(rates), "/s", 600, note)}
	if len(shares) == 0 {
		return append(out, bar{Name: "share of pgbench -N", Unit: "%", Bar: 20, Note: "pgbench is not installed beside this Postgres"}), nil
	}
	return append(out, atLeast("share of pgbench -N -c "+strconv.Itoa(l.Connections), median(shares), "%", 20, "")), nil
}

// think is what many people at work wait for.
func (l *lab) think(ctx context.Context) ([]bar, error) {
	var next, submit, rates []float64
	failed := 0
	for i := range l.Repeats + 1 {
		l.show.show("think", i, l.Repeats+1, "samples")
		load, err := l.load(ctx, l.Labelers, l.Think, l.Time)
		if err != nil {
			return nil, err
		}
		failed += load.failed
		if i > 0 {
			next, submit = append(next, ms(quantile(load.claims, .99))), append(submit, ms(quantile(load.submits, .99)))
			rates = append(rates, load.rate())
		}
	}
	return []bar{
		atMost(fmt.Sprintf("next p99, %d labelers", l.Labelers), median(next), "ms", 75, fmt.Sprintf("%.0f submits/s", median(rates))),
		atMost("submit p99", median(submit), "ms", 60, ""),
		atMost("errors", float64(failed), "", 0, ""),
	}, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile of durations, by the nearest rank; 0 of none.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// pgbench is Postgres's own load, simple updates, on a database of its own.
type pgbench struct {
	path, url string
	clients   int
}

// newPgbench fills its tables. It is nil where the program is not installed beside the server's.
func newPgbench(ctx context.Context, server *localpg.Server, clients int) (*pgbench, error) {
	dir, _, err := localpg.Find(ctx, localpg.Config{Dir: os.TempDir()})
	if err != nil {
		return nil, err
	}
	b := &pgbench{path: filepath.Join(dir, "pgbench"), clients: clients, url: server.URL()}
	if _, err := os.Stat(b.path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	_, err = b.command(ctx, "-i", "-q", "-s", strconv.Itoa(max(10, clients)))
	return b, err
}

var pgbenchRate = regexp.MustCompile(`tps = ([0-9.]+)`)

// run returns transactions a second.
func (b *pgbench) run(ctx context.Context, d time.Duration) (float64, error) {
	out, err := b.command(ctx, "-n", "-N", "-c", strconv.Itoa(b.clients), "-j", "2", "-T", strconv.Itoa(int(d.Seconds())))
	if err != nil {
		return 0, err
	}
	m := pgbenchRate.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench says no rate: %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func (b *pgbench) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.path, append(args, b.url)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return out, nil
}
