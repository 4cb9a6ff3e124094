package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/ppo/loop"
)

type demoCmd struct {
	databaseFlags
	engineFlags
	Dir     string        `help:"Data folder; the next demo in it goes on where this one stops." default:"${demo_dir}" placeholder:"DIR"`
	Addr    string        `help:"Loopback address of the pages and the API." default:"127.0.0.1:8080"`
	Seed    uint64        `help:"Seed of prompts, labelers and training." default:"1"`
	Once    bool          `help:"End after one round: exit 0 when its policy beats SFT, 1 when it does not."`
	Rounds  int           `help:"Rounds to run before the demo only serves." default:"3"`
	K       int           `help:"Answers per prompt, 4 to 9." default:"6"`
	Prompts int           `help:"Prompts ranked in a round." default:"800"`
	Slice   time.Duration `help:"Length of a training slice." default:"20s"`
	Verbose bool          `short:"v" help:"Log every job and request."`
}

func (demoCmd) Help() string {
	return `Starts a private Postgres, the pages, the API and the workers in one process, and runs rounds of the loop with eight
simulated customers and twenty simulated labelers, over the same endpoints that people use. Meanwhile you can sign in and
rank, and call the API. Ctrl-C stops it; the next demo in the same folder goes on.

Example:
  rankloop demo --once --seed 2`
}

// The cast of a demo.
const (
	demoLabelers  = 20
	demoCustomers = 8
	// demoFirst and demoMore are the prompts that each customer sends before the first round and before each later one;
	// the labeling pool takes at most 200 of a customer.
	demoFirst, demoMore = 110, 30
	demoHeldOut         = 1100 // imported prompts of the test split
	demoReferences      = 512  // demonstrations that set a reward model's zero
)

func (c demoCmd) Run(ctx context.Context, std streams) error {
	if err := loopback(c.Addr); err != nil {
		return usageError{fmt.Errorf("--addr %w", err)}
	}
	config := c.round()
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	networks, err := c.prefixes()
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelInfo
	}
	log := newLog(std.err, level)
	show := newProgress(std.err)
	show.say("rankloop demo: data in %s", c.Dir)
	started := time.Now()
	db, err := c.databaseFlags.open(ctx, c.Dir, false, noteLog(std.err, level))
	if err != nil {
		return err
	}
	defer db.Close()
	world := simulate.Starter()
	a, err := newApp(ctx, db, appConfig{Dir: c.Dir, Slice: c.Slice, Judge: goldJudge{world}, Work: true, EngineNetworks: networks}, log)
	if err != nil {
		return err
	}
	if err := a.ensureStarter(ctx); err != nil {
		return err
	}
	d := &demo{app: a, world: world, seed: c.Seed, show: show}
	if err := d.people(ctx); err != nil {
		return err
	}
	server, err := a.listen(ctx, c.Addr, serverOptions{LabelsPerMinute: 60_000, Components: true})
	if err != nil {
		return err
	}
	defer server.Close()
	d.url = "http://" + server.Addr()
	stop, err := a.startWorkers(deadAfter)
	if err != nil {
		return err
	}
	defer stop()
	show.say("Ready after %.1f s: %s (label at %s/label, admin at %s/admin, chat at %s/chat)", time.Since(started).Seconds(), d.url, d.url, d.url, d.url)
	d.introduce()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	rounds := c.Rounds
	if c.Once {
		rounds = 1
	}
	for range rounds {
		r, err := d.round(ctx, config)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		show.end()
		if err := writeReport(std.out, r); err != nil {
			return err
		}
		if c.Once {
			return beatsSFT(r)
		}
	}
	show.say("%d rounds are done. The pages and the API go on at %s; Ctrl-C stops.", rounds, d.url)
	<-ctx.Done()
	return nil
}

// round is the configuration of a demo's rounds, calibrated once for the starter model on two cores.
func (c demoCmd) round() loop.Config {
	r := loop.DefaultConfig()
	r.K, r.Prompts, r.Seed = c.K, c.Prompts, c.Seed
	r.EvalPrompts = 1000
	r.Reward.LR, r.Reward.Epochs, r.Reward.Scale = 1e-3, 2, true
	r.PPO.LR, r.PPO.KL.Coef, r.PPO.Iterations, r.PPO.Rollouts = 3e-4, 0.4, 24, 256
	if kernel.MixedIsFast() {
		r.Reward.Precision, r.PPO.Precision = model.PrecisionMixed, model.PrecisionMixed
	}
	return r
}

// beatsSFT is the verdict of --once.
func beatsSFT(r loop.Round) error {
	switch {
	case r.Report == nil:
		return fmt.Errorf("round %d %s: %s", r.Number, r.Stage, r.Error)
	case r.Report.WinSFT.Low <= 0.5:
		return fmt.Errorf("round %d: the 95%% interval of the win rate against SFT, [%.3f, %.3f], is not above one half",
			r.Number, r.Report.WinSFT.Low, r.Report.WinSFT.High)
	}
	return nil
}

// loopback refuses an address that others could reach: a demo's passwords are printed and its labelers are simulated.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s: want HOST:PORT, for example 127.0.0.1:8080", addr)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s: this is served on this machine only; use 127.0.0.1", addr)
}

// noteLog is for what a person should see even when the log is quiet: that something is fetched or started.
func noteLog(w io.Writer, level slog.Level) *slog.Logger {
	return newLog(w, min(level, slog.LevelInfo))
}

// goldJudge judges by the world's declared preference.
type goldJudge struct{ world simulate.World }

func (goldJudge) Name() string { return "gold" }

func (j goldJudge) Judge(_ context.Context, answers []loop.Answer) ([]float64, error) {
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = j.world.Gold(a.Prompt, a.Response, a.Ended)
	}
	return out, nil
}
