package experiment

import (
	"context"
)

var pretrain = spec{
	name: "pretrain", title: "A3: pretraining reaches the source's entropy, and no lower", toyOnly: true, once: true,
	run: func(ctx context.Context, l *lab, _ int, r *recorder) error {
		base, err := l.Base(ctx)
		if err != nil {
			return err
		}
		toy := l.world.(toyWorld)
		held := crossEntropy(base, sequences(toy.CorpusIDs(stream(forHeldOut, 0), 4000), 0))
		nats, tokens := toy.Entropy()
		r.show("entropy of the source, nats per token", nats/tokens)
		r.show("held-out loss, nats per token", held)
		r.check("loss above the entropy", held-nats/tokens, within(-0.01, 0.05))
		return nil
	},
}

var sftSpec = spec{
	name: "sft", title: "A4: fine-tuning makes answers follow the topic", toyOnly: true,
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
		r.rate("base answers on topic", b.onTopic, atMost(0.20))
		r.rate("SFT answers on topic", a.onTopic, atLeast(0.97))
		r.rate("SFT answers that end", a.ended, atLeast(0.99))
		r.check("bad bigrams per SFT answer", a.badBigrams, atMost(0.05))
		r.show("repeats per SFT answer", l.describe(after).repeats)
		r.show("gold of base", l.describe(before).gold)
		r.show("gold of SFT", l.describe(after).gold)
		return nil
	},
}

// toyFacts describe answers of the toy.
type toyFacts struct {
	onTopic, ended estimate
	badBigrams     float64
}

func (l *lab) facts(answers []answer) toyFacts {
	var topic, ended, bad float64
	n := len(answers)
	for _, a := range answers {
		f := l.world.(toyWorld).Facts(a.prompt.ids[1], a.response())
		if f.OnTopic {
			topic++
		}
		if f.Ended {
			ended++
		}
		bad += float64(f.BadBigrams)
	}
	return toyFacts{wilson(topic/float64(n), n), wilson(ended/float64(n), n), bad / float64(n)}
}
