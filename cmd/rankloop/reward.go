package main

import (
	"context"
	"fmt"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/reward"
)

type rewardCmd struct {
	Score    rewardScoreCmd    `cmd:"" help:"Rewards of texts or ids, a JSON line each."`
	Eval     rewardEvalCmd     `cmd:"" help:"Accuracy on rankings: by split, labeler and confidence, with calibration, length and position."`
	Crossval rewardCrossvalCmd `cmd:"" help:"Trains without some labelers and asks how well that predicts them."`
	Real     rewardRealCmd     `cmd:"" help:"A table of reward model and baselines on published preferences."`
}

type rewardScoreCmd struct {
	Model string `required:"" help:"A reward model's folder." placeholder:"MODEL"`
}

func (rewardScoreCmd) Help() string {
	return `Reads {"ids": [...]} or {"prompt": ..., "completion": ...} lines and writes {"reward": ...} lines, normalised as the model's card says.

Example:
  echo '{"prompt":"User: Where do owls sleep?\nAssistant:","completion":" In a tree."}' | rankloop reward score --model runs/reward/model`
}

type rewardLine struct {
	Reward float64 `json:"reward"`
}

func (c rewardScoreCmd) Run(ctx context.Context, std streams) error {
	cp, scorer, err := openReward(c.Model)
	if err != nil {
		return err
	}
	return eachLine(std.in, std.out, func(in scoreLine) (rewardLine, error) {
		seq, err := in.sequence(cp, c.Model)
		if err != nil {
			return rewardLine{}, err
		}
		r, err := scorer.Score(ctx, []model.Sequence{seq})
		if err != nil {
			return rewardLine{}, err
		}
		return rewardLine{r[0]}, nil
	})
}

func openReward(name string) (*checkpoint.Checkpoint, *reward.Scorer, error) {
	cp, err := loadModel(name)
	if err != nil {
		return nil, nil, err
	}
	scorer, err := reward.Open(cp)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return cp, scorer, nil
}
