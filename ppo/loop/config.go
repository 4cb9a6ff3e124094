package loop

import (
	"fmt"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/train"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// DefaultConfig suits the starter model on two cores: a round of a few minutes.
func DefaultConfig() Config {
	r := reward.DefaultConfig()
	p := ppo.DefaultConfig()
	return Config{
		K: 4, Prompts: 512, Overlap: 3, OverlapShare: 0.15,
		EvalPrompts: 1000, EvalSamples: 1, MaxTokens: p.MaxTokens,
		SFT:   train.Config{Epochs: 2, LR: 3e-4, Warmup: 10, Floor: 0.1},
		MaxKL: 30, Promotion: PromoteIfBetter, Canary: registry.DefaultCanary(), Relabel: RelabelConfig{Probe: 64, Prompts: 256}, Alarms: DefaultLimits(), Reward: r, PPO: p,
	}
}

// maxWithout bounds Config.Without.
const maxWithout = 1000

// Validate reports the first field that cannot be used, as *InvalidError.
func (c Config) Validate() error {
	bad := func(field, format string, args ...any) error {
		return &InvalidError{field, fmt.Sprintf(format, args...)}
	}
	switch {
	case c.K < 4 || c.K > 9:
		return bad("k", "%d answers per prompt; 4 to 9 are possible", c.K)
	case c.Prompts < 1 || c.Prompts > 1_000_000:
		return bad("prompts", "%d; 1 to 1,000,000 are possible", c.Prompts)
	case c.Overlap < 1 || c.Overlap > 100:
		return bad("overlap", "%d labelers per shared task; 1 to 100 are possible", c.Overlap)
	case !(c.OverlapShare >= 0 && c.OverlapShare <= 1):
		return bad("overlap_share", "%g is not a share between 0 and 1", c.OverlapShare)
	case c.EvalPrompts < 1 || c.EvalSamples < 1 || c.EvalSamples > 64:
		return bad("eval_prompts", "the evaluation needs at least one prompt, and 1 to 64 answers to each")
	case c.MaxTokens < 1:
		return bad("max_tokens", "%d; at least 1 token is wanted", c.MaxTokens)
	case !(c.MaxKL > 0):
		return bad("max_kl", "%g; a positive limit is wanted", c.MaxKL)
	case !(c.RewardAccuracyBelow >= 0 && c.RewardAccuracyBelow < 1):
		return bad("reward_accuracy_below", "%g is not a share from 0 to below 1", c.RewardAccuracyBelow)
	case c.Promotion != PromoteIfBetter && c.Promotion != PromoteByHand && c.Promotion != PromoteByCanary:
		return bad("promotion", "%q is none of %s, %s, %s", c.Promotion, PromoteIfBetter, PromoteByHand, PromoteByCanary)
	}
	if err := c.Canary.OrDefault().Validate(); err != nil {
		return err
	}
	if err := c.Alarms.validate(); err != nil {
		return err
	}
	for _, check := range []func() error{c.checkParts, c.Gates.validate, c.Relabel.validate} {
		if err := check(); err != nil {
			return err
		}
	}
	if c.Has(StageSFT) {
		if err := c.SFT.Validate(); err != nil {
			return bad("sft", "%v", err)
		}
	}
	if len(c.Without) > maxWithout {
		return bad("without", "%d; at most %d can be left out", len(c.Without), maxWithout)
	}
	for i, s := range c.Without {
		if err := s.Check("without"); err != nil {
			return bad(fmt.Sprintf("without/%d", i), "%q: customer, labeler or ranking with an id is wanted", s.String())
		}
	}
	if err := c.Reward.Validate(); err != nil {
		return bad("reward", "%v", err)
	}
	if err := c.PPO.Validate(); err != nil {
		return bad("ppo", "%v", err)
	}
	return nil
}

// shared says whether the i-th task of a round goes to several labelers: evenly spread, so that any prefix of the round
// holds about the share that was asked for.
func (c Config) shared(i int) bool {
	return int(float64(i+1)*c.OverlapShare) > int(float64(i)*c.OverlapShare)
}
