package experiment

import (
	"context"

	"github.com/rankloop/rankloop/ppo"
)

// The pretraining mix. Its weight was tried on seeds 100 and 101 and is heavy: the loss on pretraining texts falls below SFT's, and the
// policy wins less often (0.79 against 0.92). Pretraining texts of the toy take no notice of their topic, so that a mix costs the
// answers' topics.
const (
	mixCoef  = 0.3
	mixBatch = 64 // texts a step of 64 episodes

	starterMixTexts = 8192 // of the starter's corpus, more than a run takes
)

var pretrainingMix = spec{
	name: "pretraining-mix", title: "A16: with pretraining text mixed in, the policy forgets less of it",
	run: func(ctx context.Context, l *lab, seed int, r *recorder) error {
		s, err := l.Reward(ctx, seed, l.recipe.Ranked, labeler{})
		if err != nil {
			return err
		}
		sft, err := l.SFT(ctx)
		if err != nil {
			return err
		}
		cfg := l.recipe.ppo(l.world, seed)
		cfg.KL.Coef = betas[0]
		without, err := l.optimise(ctx, "without a mix", cfg, s, s)
		if err != nil {
			return err
		}
		cfg.Ptx = ppo.PtxConfig{Coef: mixCoef, Batch: mixBatch}
		t, err := l.trainer(ctx, cfg, s, s, ppo.TextList(l.pretraining()))
		if err != nil {
			return err
		}
		with, err := l.follow(ctx, "with a mix", t, nil, seed, cfg.Rollouts)
		if err != nil {
			return err
		}
		held := l.world.corpus(stream(forHeldOut, 0), 2000)
		start := crossEntropy(sft, held)
		up, less := crossEntropy(without.policy, held)-start, crossEntropy(with.policy, held)-start
		r.show("loss of SFT on pretraining texts, nats per token", start)
		r.check("rise of that loss without a mix", up, atLeast(0.001))
		r.show("rise of that loss with the mix", less)
		r.check("rise with the mix over half of that without", less-up/2, atMost(0))
		r.rate("win against SFT without a mix", without.win, bound{})
		r.rate("win against SFT with the mix", with.win, bound{})
		r.show("KL without a mix", without.kl)
		r.show("KL with the mix", with.kl)
		return nil
	},
}
