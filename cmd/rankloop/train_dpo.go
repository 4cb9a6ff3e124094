package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

type trainDPOCmd struct{ policyFlags }

func (trainDPOCmd) Help() string {
	return policyHelp(ppo.KindDPO, `Direct preference optimisation (Rafailov et al. 2023) on rankings (rankings.jsonl, as 'rankloop import --out' writes them): every pair of
a ranking that is no tie, best first; "max_pairs" bounds them per ranking. Prompts of the split valid, or "valid_share" of them where
the data name no split, are held out. The reference's log-probabilities are computed once, before the first step.
"loss": "ipo" and "smoothing" (cDPO) are the variants.`,
		`{"policy": "sft", "data": ["rankings.jsonl"], "dpo": {"epochs": 2, "beta": 0.1}}`)
}

func (c trainDPOCmd) Run(ctx context.Context, std streams) error {
	cfg := struct {
		policyInput
		Data       []string      `json:"data"`
		ValidShare float64       `json:"valid_share"`
		MaxPairs   int           `json:"max_pairs,omitempty"` // of a ranking; 0 = all
		DPO        ppo.DPOConfig `json:"dpo"`
	}{ValidShare: 0.1, DPO: ppo.DefaultDPO()}
	if err := readConfig(c.Config, c.Set, &cfg); err != nil {
		return err
	}
	if c.PrintConfig {
		return c.print(std, cfg)
	}
	if err := errors.Join(c.usage(), wrong(cfg.DPO.Validate())); err != nil {
		return err
	}
	switch {
	case len(cfg.Data) == 0:
		return usageError{errors.New(`configuration: "data" names no rankings`)}
	case cfg.Preset != "":
		return usageError{errors.New(`configuration: "preset" is for ppo; dpo has its defaults alone`)}
	case !(cfg.ValidShare >= 0 && cfg.ValidShare < 1) || cfg.MaxPairs < 0:
		return usageError{errors.New(`configuration: "valid_share" is at least 0 and below 1, "max_pairs" not negative`)}
	}
	m, err := cfg.open(ppo.KindDPO)
	if err != nil {
		return err
	}
	var records []labeling.Record
	for _, file := range cfg.Data {
		list, err := readRankings(std.err, file, labeling.Reading{})
		if err != nil {
			return err
		}
		records = append(records, list...)
		if err := m.record.file("rankings "+file, file, len(list)); err != nil {
			return err
		}
	}
	groups, _, err := rankedGroups(m.policy, records, cfg.ValidShare)
	if err != nil {
		return err
	}
	train, valid := pairsOf(groups, cfg.MaxPairs)
	if len(train) == 0 {
		return fmt.Errorf("the data hold no pair to learn from: every ranking is one tie or held out")
	}
	fmt.Fprintf(std.err, "data: %d rankings, %d pairs to learn from, %d held out\n", len(records), len(train), len(valid))
	t, err := ppo.NewDPO(cfg.DPO, m.policy.Model, m.reference, train, valid)
	if err != nil {
		return wrong(err)
	}
	return c.train(ctx, std, m, cfg, t)
}

// pairsOf lists the pairs of every ranking, at most limit of each (0 = all), by split. The widest apart in rank come first, so that a
// limit keeps the clearest.
func pairsOf(groups []reward.Group, limit int) (train, valid []ppo.Pair) {
	for _, g := range groups {
		for _, ranks := range g.Rankings {
			var pairs []ppo.Pair
			for gap := len(ranks); gap > 0; gap-- {
				for i, a := range ranks {
					for j, b := range ranks {
						if b-a == gap && answered(g.Sequences[i]) && answered(g.Sequences[j]) {
							pairs = append(pairs, ppo.Pair{Chosen: g.Sequences[i], Rejected: g.Sequences[j]})
						}
					}
				}
			}
			if limit > 0 && len(pairs) > limit {
				pairs = pairs[:limit]
			}
			if g.Split == labeling.Train {
				train = append(train, pairs...)
			} else {
				valid = append(valid, pairs...)
			}
		}
	}
	return train, valid
}

// answered says whether there is a response at all.
func answered(s model.Sequence) bool { return s.Start < len(s.IDs) }
