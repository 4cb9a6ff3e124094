package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/ppo/loop"
)

type benchRoundsCmd struct {
	Sizes []string `default:"128x16x128,192x32x128,160x16x256" help:"Sizes of the rounds, one after the other: PROMPTSxITERATIONSxEPISODES; as many held-out prompts are compared as PROMPTS times two." placeholder:"PxIxE"`
	JSON  bool     `name:"json" help:"As JSON, one line a stage."`
}

func (benchRoundsCmd) Help() string {
	return `Rounds of different sizes run one after the other on the starter model, with a Postgres of their own and a labeler who ranks at once.
Each is forecast before it starts, as the wizard does: the first by the cost model alone, those after it by what the former ones took.
Beside the forecast of each stage stands what it took of time, and of memory at its peak, with the errors in percent.

Examples:
  rankloop bench rounds
  rankloop bench rounds --sizes 32x4x64,64x8x64 --json`
}

// roundSize is how much a round of the benchmark does.
type roundSize struct{ Prompts, Iterations, Episodes int }

func (s roundSize) String() string {
	return fmt.Sprintf("%dx%dx%d", s.Prompts, s.Iterations, s.Episodes)
}

func (c benchRoundsCmd) sizes() (out []roundSize, err error) {
	for _, text := range c.Sizes {
		var n [3]int
		parts := strings.Split(text, "x")
		for i := range n {
			if len(parts) != len(n) {
				break
			}
			n[i], _ = strconv.Atoi(parts[i])
		}
		if n[0] < 8 || n[0] > 10_000 || n[1] < 1 || n[2] < 8 || n[1] > 100_000 || n[2] > 100_000 {
			return nil, usageError{fmt.Errorf("--sizes %s: PROMPTSxITERATIONSxEPISODES is wanted, with 8 prompts, 1 iteration and 8 episodes at least", text)}
		}
		out = append(out, roundSize{n[0], n[1], n[2]})
	}
	return out, nil
}

// config is a round of that size whose result nothing hinges on: it learns slowly, and nothing stops it.
func (s roundSize) config(seed uint64) loop.Config {
	c := loop.DefaultConfig()
	c.Prompts, c.Overlap, c.OverlapShare, c.EvalPrompts, c.MaxKL, c.Seed = s.Prompts, 1, 0, 2*s.Prompts, 1e6, seed
	c.Reward.Epochs, c.Reward.Batch = 16, min(16, s.Prompts/2)
	c.PPO.Iterations, c.PPO.Rollouts, c.PPO.LR = s.Iterations, s.Episodes, 1e-6
	c.PPO.Minibatch, c.PPO.Chunk = min(c.PPO.Minibatch, s.Episodes), min(c.PPO.Chunk, s.Episodes)
	c.PPO.KL.Max = 0
	for rule := range c.Alarms {
		c.Alarms[rule] = nil
	}
	return c
}

// stageError is a stage's forecast beside what it took.
type stageError struct {
	Size        string     `json:"size"`
	Stage       loop.Stage `json:"stage"`
	From        string     `json:"from"`
	Forecast    float64    `json:"forecast_seconds"`
	Took        float64    `json:"seconds"`
	Error       float64    `json:"error_percent"`
	Memory      int64      `json:"forecast_bytes"`
	Peak        int64      `json:"bytes"` // beyond what the process held before; 0: not measured
	MemoryError float64    `json:"bytes_error_percent"`
}

func (c benchRoundsCmd) Run(ctx context.Context, std streams) error {
	sizes, err := c.sizes()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rankloop-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the database's user must reach its folder
		return err
	}
	a, stop, err := openRounds(ctx, std, dir, sizes)
	if err != nil {
		return err
	}
	defer stop()
	show := newProgress(std.err)
	var all []stageError
	for i, size := range sizes {
		list, err := a.forecastAndRun(ctx, show, size, uint64(i+1))
		if err != nil {
			return fmt.Errorf("round %s: %w", size, err)
		}
		all = append(all, list...)
	}
	show.end()
	return c.report(std, all)
}

// openRounds starts a small installation with prompts enough, and its workers.
func openRounds(ctx context.Context, std streams, dir string, sizes []roundSize) (*app, func(), error) {
	db, err := databaseFlags{}.open(ctx, dir, false, noteLog(std.err, slog.LevelWarn))
	if err != nil {
		return nil, nil, err
	}
	a, err := newApp(ctx, db, appConfig{Dir: filepath.Join(dir, "data"), Work: true, Slice: 30 * time.Second}, newLog(std.err, slog.LevelWarn))
	if err == nil {
		err = a.ensureStarter(ctx)
	}
	if err == nil {
		err = a.addBenchPrompts(ctx, sizes)
	}
	var stop func()
	if err == nil {
		stop, err = a.startWorkers(deadAfter)
	}
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return a, func() { stop(); db.Close() }, nil
}

func (a *app) addBenchPrompts(ctx context.Context, sizes []roundSize) error {
	world, train, test := simulate.Starter(), 0, 0
	for _, s := range sizes {
		train, test = train+s.Prompts, max(test, 2*s.Prompts)
	}
	return pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
		for split, texts := range map[string][]string{labeling.Train: world.Prompts(1, train), labeling.Test: world.Prompts(simulate.HeldOut(1), test)} {
			for i, text := range texts {
				at := split
				if split == labeling.Train && i%8 == 0 {
					at = labeling.Valid
				}
				p := labeling.NewPrompt{ProjectID: a.project.ID, Messages: []labeling.Message{{Role: "user", Content: text}}, Origin: labeling.OriginImport, Split: at}
				if _, _, err := a.labeling.AddPrompt(ctx, tx, p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// forecastAndRun runs a round to its end, and compares.
func (a *app) forecastAndRun(ctx context.Context, show *progress, size roundSize, seed uint64) (out []stageError, err error) {
	cfg := size.config(seed)
	forecast, err := a.loop.Estimate(ctx, a.project.ID, cfg)
	if err != nil {
		return nil, err
	}
	r, err := a.loop.Start(ctx, a.project.ID, "bench", cfg)
	if err != nil {
		return nil, err
	}
	for !r.Stage.Ended() {
		show.show(fmt.Sprintf("round %s: %s", size, r.Stage), r.Progress.Done, r.Progress.Total, r.Progress.Unit)
		if err := a.rankAll(ctx); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if r, err = a.loop.View(ctx, r.ID); err != nil {
			return nil, err
		}
	}
	if r.Stage != loop.StageDone {
		return nil, fmt.Errorf("%s: %s", r.Stage, r.Error)
	}
	times, err := a.loop.StageTimes(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	for _, f := range forecast.Stages {
		for _, t := range times {
			if t.Stage == f.Stage && t.Stage != loop.StageRank && t.EndedAt != nil && !t.Broken {
				e := stageError{Size: size.String(), Stage: f.Stage, From: f.From, Forecast: f.Seconds, Took: t.EndedAt.Sub(t.BeganAt).Seconds(), Memory: f.Memory, Peak: t.Memory}
				e.Error, e.MemoryError = percentOff(e.Forecast, e.Took), percentOff(float64(e.Memory), float64(e.Peak))
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// percentOff is by how many percent a forecast was off what came.
func percentOff(forecast, came float64) float64 {
	if came <= 0 {
		return 0
	}
	return 100 * (forecast - came) / came
}

// rankAll ranks what waits: shorter answers are better.
func (a *app) rankAll(ctx context.Context) error {
	for {
		task, err := a.labeling.Claim(ctx, a.project.ID, "bench")
		if errors.Is(err, labeling.ErrEmpty) {
			return nil
		}
		if err != nil {
			return err
		}
		ranks := make([]int, len(task.Answers))
		for i, x := range task.Answers {
			ranks[i] = 1
			for j, y := range task.Answers {
				if len(y.Text) < len(x.Text) || len(y.Text) == len(x.Text) && j < i {
					ranks[i]++
				}
			}
		}
		in := labeling.SubmitInput{AssignmentID: task.ID, LabelerID: "bench", Ranks: ranks, IdempotencyKey: task.ID}
		if _, err := a.labeling.Submit(ctx, in, a.loop.RankingSubmitted); err != nil {
			return err
		}
	}
}

func (c benchRoundsCmd) report(std streams, all []stageError) error {
	if c.JSON {
		enc := json.NewEncoder(std.out)
		for _, e := range all {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	worst, long, most := 0.0, 0, 0.0
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "round\tstage\tforecast by\tforecast s\ttook s\toff\tforecast MB\ttook MB\toff\t")
	for _, e := range all {
		if e.From == loop.FromRounds && e.Took > longStage {
			worst, long = max(worst, math.Abs(e.Error)), long+1
		}
		if e.From == loop.FromRounds && e.Peak >= largeStage {
			most = max(most, math.Abs(e.MemoryError))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.1f\t%.1f\t%+.0f%%\t%d\t%d\t%+.0f%%\t\n", e.Size, e.Stage, e.From, e.Forecast, e.Took, e.Error, e.Memory>>20, e.Peak>>20, e.MemoryError)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.out, "After the first round: the time of %d stages of more than %d s at most %.0f%% off; the memory of those of more than %d MB at most %.0f%%.\n", long, longStage, worst, largeStage>>20, most)
	return err
}

// A stage whose forecast matters takes so many seconds, or so many bytes, at least.
const (
	longStage  = 10
	largeStage = 64 << 20
)
