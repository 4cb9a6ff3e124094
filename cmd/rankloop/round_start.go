package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/kernel"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web"
	"github.com/rankloop/rankloop/web/setting"
)

// setupFlags say what a round is started with.
type setupFlags struct {
	Template   string   `help:"Begin with the settings of this setup." placeholder:"NAME"`
	ConfigJSON string   `name:"round-config" help:"JSON file that overrides them." placeholder:"FILE" type:"existingfile"`
	Parts      []string `help:"What the round goes through, of sft, rank, reward, ppo." placeholder:"PART,.."`
	Preset     string   `help:"Published settings of PPO: small, instructgpt, stiennon, ziegler, n-plus." placeholder:"NAME"`
	Hours      float64  `help:"Hours of this machine at most: PPO gets as many iterations as the forecast leaves room for." placeholder:"N"`
}

// config puts the settings together: the defaults with what admins have set, or the setup, the file, then the flags.
func (f setupFlags) config(ctx context.Context, a *app) (loop.Config, error) {
	cfg := loop.DefaultConfig()
	web.UsualRound(setting.NewStore(a.db.Pool), &cfg)
	if f.Template != "" {
		t, err := a.loop.FindTemplate(ctx, a.project.ID, f.Template)
		if err != nil {
			return cfg, fmt.Errorf("there is no setup %s: 'rankloop round template list' shows them", f.Template)
		}
		cfg = t.Config
	}
	if f.ConfigJSON != "" {
		b, err := os.ReadFile(f.ConfigJSON)
		if err != nil {
			return cfg, err
		}
		if err := strictJSON(b, &cfg); err != nil {
			return cfg, usageError{fmt.Errorf("%s: %w", f.ConfigJSON, err)}
		}
	}
	if f.Preset != "" {
		p, err := ppo.Preset(f.Preset)
		if err != nil {
			return cfg, usageError{fmt.Errorf("--preset %q is none of %s", f.Preset, strings.Join(ppo.Presets(), ", "))}
		}
		p.MaxTokens = cfg.MaxTokens
		cfg.PPO = p
	}
	for i, p := range f.Parts {
		if i == 0 {
			cfg.Parts = nil
		}
		cfg.Parts = append(cfg.Parts, loop.Stage(p))
	}
	if !(f.Hours >= 0) {
		return cfg, usageError{fmt.Errorf("--hours %g: 0 (no limit) or more is wanted", f.Hours)}
	}
	if f.Hours > 0 {
		var err error
		if cfg, _, err = a.loop.Fit(ctx, a.project.ID, cfg, f.Hours*3600); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

type roundStartCmd struct {
	serverFlags
	setupFlags
	DryRun bool `help:"Start nothing: print what the round is expected to take."`
	JSON   bool `name:"json" help:"Print the round, or with --dry-run the forecast, as JSON."`
}

func (roundStartCmd) Help() string {
	return `The forecast is that of a cost model at this machine's speed, and from the second round on that of what the stages took before.

Examples:
  rankloop round start --dry-run
  rankloop round start --template nightly --hours 2
  rankloop round start --parts reward,ppo --preset instructgpt
  rankloop round start --round-config round.json
where round.json may hold {"prompts": 1000, "k": 6, "promotion": "manual", "gates": {"agreement": 0.6}}.`
}

func (c roundStartCmd) Run(ctx context.Context, std streams) error {
	return c.with(ctx, std, func(a *app) error {
		cfg, err := c.config(ctx, a)
		if err != nil {
			return err
		}
		if c.DryRun {
			f, err := a.loop.Estimate(ctx, a.project.ID, cfg)
			if err != nil {
				return err
			}
			if c.JSON {
				return json.NewEncoder(std.out).Encode(f)
			}
			return writeForecast(std, f)
		}
		r, err := a.loop.Start(ctx, a.project.ID, "command line", cfg)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(std.out).Encode(r)
		}
		_, err = fmt.Fprintf(std.out, "round %d %s\n", r.Number, r.ID)
		return err
	})
}

// knownFrom says what a forecast rests on.
var knownFrom = map[string]string{loop.FromCost: "cost model and this machine's speed", loop.FromRounds: "former rounds", loop.FromPeople: "people's pace in former rounds", loop.FromNowhere: "not known: people do it"}

func writeForecast(std streams, f loop.Forecast) error {
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STAGE\tTIME\tMEMORY, MB\tKNOWN FROM")
	for _, s := range f.Stages {
		took := inSeconds(s.Seconds).String()
		if s.From == loop.FromNowhere {
			took = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%.4g\t%s\n", s.Stage, took, float64(s.Memory)/(1<<20), knownFrom[s.From])
	}
	fmt.Fprintf(tw, "all\t%s\t%.4g\t\n", inSeconds(f.Seconds+f.People), float64(f.Memory)/(1<<20))
	if err := tw.Flush(); err != nil {
		return err
	}
	if f.Available > 0 && f.Memory > f.Available {
		_, err := fmt.Fprintf(std.out, "This machine has %.4g MB left: that is too little.\n", float64(f.Available)/(1<<20))
		return err
	}
	return nil
}

func inSeconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

// etaOf says how long an open round is still expected to take; empty where nobody knows.
func etaOf(ctx context.Context, a *app, r loop.Round) string {
	left, known, err := a.loop.Remaining(ctx, r)
	if err != nil || !known {
		return ""
	}
	return fmt.Sprintf(", about %s left", left.Round(time.Second))
}

// machineCost is the cost model at this machine's speed, which is measured the first time that somebody asks.
func machineCost() loop.Cost {
	speed := sync.OnceValue(func() machine { return givenMachine(peakFLOPS(), bandwidth()(), kernel.Threads()) })
	return func(c model.Config, w model.Work) float64 { return speed().estimate("", c, w).Seconds }
}

type roundOverrideCmd struct {
	roundAct
	Reason string `required:"" help:"Why it may go on; it is written down with what the gate found."`
}

func (roundOverrideCmd) Help() string {
	return "Example:\n  rankloop round override 3 --reason \"the two labelers read different versions of the instructions\""
}

func (c roundOverrideCmd) Run(ctx context.Context, std streams) error {
	return c.run(ctx, std, func(l *loop.Loop, ctx context.Context, id, actor string) error {
		return l.Override(ctx, id, actor, c.Reason)
	})
}
