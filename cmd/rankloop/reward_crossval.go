package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/reward"
)

type rewardCrossvalCmd struct {
	dataFlags
	Config string   `help:"JSON configuration, as of 'rankloop train reward'." type:"existingfile" placeholder:"FILE"`
	Set    []string `help:"Set a field of the configuration." placeholder:"KEY=VALUE" sep:"none"`
	Folds  int      `help:"Groups that the labelers are dealt into; one is left out at a time." default:"5"`
	JSON   bool     `name:"json" help:"As JSON."`
}

func (rewardCrossvalCmd) Help() string {
	return `Trains once for each group of labelers on what all others ranked, and compares on held-out prompts: how well are those left out
predicted, how well those trained on? A gap says that the model has learned people's habits (InstructGPT: 69.6 against 72.4%).

Example:
  rankloop reward crossval --config reward.json --data rankings.jsonl --folds 5`
}

func (c rewardCrossvalCmd) Run(ctx context.Context, std streams) error {
	cfg, cp, data, err := c.prepare(std, c.Config, c.Set)
	if err != nil {
		return err
	}
	bar := newProgress(std.err)
	defer bar.end()
	cv, err := reward.CrossValidate(ctx, cfg.Reward, cp.Model, data.train, data.valid, data.reference, c.Folds,
		func(fold, step, total int, m map[string]float64) {
			bar.show(fmt.Sprintf("fold %d of %d", fold+1, c.Folds), step, total, "steps"+brief(m))
		})
	bar.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(cv)
	}
	tw := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "left out\taccuracy on them\taccuracy on the others")
	for _, f := range cv.Folds {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", strings.Join(f.Labelers, ", "), share(f.Left), share(f.Others))
	}
	fmt.Fprintf(tw, "mean of %d\t%.1f%% +- %.1f\t%.1f%% +- %.1f\n", len(cv.Folds), 100*cv.Left.Mean, 100*cv.Left.Error, 100*cv.Others.Mean, 100*cv.Others.Error)
	return tw.Flush()
}

// share is a report's accuracy with its interval and number of pairs.
func share(r reward.Report) string {
	return reward.Slice{Accuracy: r.Accuracy, Low: r.Low, High: r.High, N: r.N}.String()
}
