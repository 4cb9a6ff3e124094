package experiment

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model/starter"
)

var pretrain = spec{
	name: "pretrain", title: "A3: pretraining reaches the source's entropy, and no lower", once: true,
	run: func(ctx context.Context, l *lab, _ int, r *recorder) error {
		base, err := l.Base(ctx)
		if err != nil {
			return err
		}
		toy, ok := l.world.(toyWorld)
		if !ok {
			return l.pretrainedStarter(r)
		}
		held := crossEntropy(base, sequences(toy.CorpusIDs(stream(forHeldOut, 0), 4000), 0))
		nats, tokens := toy.Entropy()
		r.show("entropy of the source, nats per token", nats/tokens)
		r.show("held-out loss, nats per token", held)
		r.check("loss above the entropy", held-nats/tokens, within(-0.01, 0.05))
		return nil
	},
}

// pretrainedStarter measures the base that ships. Nobody can compute the entropy of its source, so that the loss on the texts it
// was trained on, each seen once, stands in for it; a leak of the mask would show as a loss below what the card says.
func (l *lab) pretrainedStarter(r *recorder) error {
	base, err := starter.Base()
	if err != nil {
		return err
	}
	recipe := starter.Default()
	seen := crossEntropy(base.Model, l.world.corpus(recipe.Seed, recipe.HeldOut))
	held := crossEntropy(base.Model, l.world.corpus(simulate.HeldOut(recipe.Seed), recipe.HeldOut))
	r.show("loss on texts it was trained on, nats per token", seen)
	r.show("held-out loss, nats per token", held)
	r.check("held-out loss above that of training texts", held-seen, within(-0.01, 0.05))
	r.check("distance from the held-out loss on the model's card", math.Abs(held-base.Card.Metrics["heldout_loss"]), atMost(0.01))
	return nil
}

var sftSpec = spec{
	name: "sft", title: "A4: fine-tuning makes answers follow the topic",
	run: func(ctx context.Context, l *lab, seed int, r *recorder) error {
		base, err := l.Base(ctx)
		if err != nil {
			return err
		}
		before, err := l.fresh(ctx, base, seed, forPolicy)
		if err != nil {
			return err
		}
		after, err := l.ofSFT(ctx, seed)
		if err != nil {
			return err
		}
		b, a := l.facts(before), l.facts(after)
		least, odd := 0.97, 0.05
		if l.recipe.World == WorldStarter { // a third of its demonstrations do less than they are asked; its card says 57%, 6%
			least, odd = 0.5, 0.1
		}
		r.rate("base answers on topic", b.onTopic, atMost(0.20))
		r.rate("SFT answers on topic", a.onTopic, atLeast(least))
		r.rate("SFT answers that end", a.ended, atLeast(0.99))
		r.check("bad bigrams per SFT answer", a.badBigrams, atMost(odd))
		r.show("repeats per SFT answer", l.describe(after).repeats)
		r.show("gold of base", l.describe(before).gold)
		r.show("gold of SFT", l.describe(after).gold)
		return nil
	},
}

// facts describe answers: whether they do what is asked, end by themselves, and their words follow each other as in the source.
type facts struct {
	onTopic, ended estimate
	badBigrams     float64
}

func (l *lab) facts(answers []answer) facts {
	var topic, ended, bad float64
	n := len(answers)
	for _, a := range answers {
		onTopic, ends, bigrams := l.world.facts(a.prompt, a.response())
		if onTopic {
			topic++
		}
		if ends {
			ended++
		}
		bad += float64(bigrams)
	}
	return facts{wilson(topic/float64(n), n), wilson(ended/float64(n), n), bad / float64(n)}
}
