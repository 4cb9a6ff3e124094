package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/reward"
)

type trainRewardCmd struct {
	trainFlags
	dataFlags
}

// rewardConfig is the configuration of train reward and reward crossval.
type rewardConfig struct {
	start
	Data       []string           `json:"data"`
	ValidShare float64            `json:"valid_share"`
	Weights    map[string]float64 `json:"weights,omitempty"` // by labeler: how much each of their rankings counts; 1 where none is given
	Reward     reward.Config      `json:"reward"`
}

func (trainRewardCmd) Help() string {
	return `The configuration holds "model" or "shape", "data" (rankings.jsonl, as 'rankloop import --out' writes it, or what --format says),
"valid_share" of the prompts to hold out where the data name no split, "weights" by labeler, and "reward". Longer texts than the
model's context lose their beginning. The manual's page on reward models explains every option of "reward".

Examples:
  rankloop train reward --config reward.json --format hh --data harmless.jsonl.gz --out runs/reward
  rankloop train reward --config reward.json --set reward.members=4 --set reward.combine=min --out runs/ensemble
  rankloop train reward --config reward.json --set reward.loss.ties=davidson --set reward.loss.tie=0.5 --out runs/ties
where reward.json may hold {"model": "sft", "data": ["rankings.jsonl"], "reward": {"epochs": 2, "lr": 0.001}}`
}

func (c trainRewardCmd) Run(ctx context.Context, std streams) error {
	cfg, cp, data, err := c.dataFlags.prepare(std, c.Config, c.Set)
	if err != nil {
		return err
	}
	t, err := reward.NewTrainer(cfg.Reward, cp.Model, data.train, data.valid, data.reference)
	if err != nil {
		return err
	}
	var report reward.Report
	o := offline{trainFlags: c.trainFlags, name: "reward", finish: func() error {
		scorer, err := t.Scorer()
		if err != nil {
			return err
		}
		if report, err = t.Report(); err != nil {
			return err
		}
		done := &checkpoint.Checkpoint{Tokenizer: cp.Tokenizer, Card: checkpoint.Card{Kind: "reward", Metrics: report.Metrics()}}
		scorer.Fill(done)
		return saveModel(done, filepath.Join(c.Out, "model"))
	}}
	if err := o.run(ctx, std, t); err != nil {
		return err
	}
	if report.N > 0 {
		fmt.Fprintf(std.out, "held-out accuracy %.4f [%.4f, %.4f] on %d pairs of %d prompts\n", report.Accuracy, report.Low, report.High, report.N, report.Prompts)
	}
	return nil
}
