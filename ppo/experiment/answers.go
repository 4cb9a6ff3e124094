package experiment

import (
	"context"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
)

// answer is one sampled response.
type answer struct {
	prompt prompt
	seq    model.Sequence
	logp   []float64 // by the sampler
	gold   float64
}

func (a answer) response() []int32 { return a.seq.IDs[a.seq.Start:] }

// sample draws one answer to each prompt at temperature 1.
func (l *lab) sample(ctx context.Context, m *model.Transformer, prompts []prompt, seed uint64) ([]answer, error) {
	ids := make([][]int32, len(prompts))
	for i, p := range prompts {
		ids[i] = p.ids
	}
	out, err := decode.Generate(ctx, m, ids, decode.Params{MaxTokens: l.world.longest(), Temperature: 1, TopP: 1, Seed: seed}, l.world.eos(), nil)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(out))
	for i, c := range out {
		p := prompts[i]
		a := answer{
			prompt: p, gold: l.world.gold(p, c.IDs),
			seq: model.Sequence{IDs: append(append(make([]int32, 0, len(p.ids)+len(c.IDs)), p.ids...), c.IDs...), Start: len(p.ids)},
		}
		for _, lp := range c.Logprobs {
			a.logp = append(a.logp, float64(lp))
		}
		answers[i] = a
	}
	return answers, nil
}

// each repeats every prompt k times in a row.
func each(prompts []prompt, k int) []prompt {
	out := make([]prompt, 0, k*len(prompts))
	for _, p := range prompts {
		for range k {
			out = append(out, p)
		}
	}
	return out
}

// summary describes answers.
type summary struct{ ended, repeats, gold float64 }

func (l *lab) describe(answers []answer) (s summary) {
	n := float64(len(answers))
	for _, a := range answers {
		if r := a.response(); len(r) > 0 && r[len(r)-1] == l.world.eos() {
			s.ended += 1 / n
		}
		s.repeats += l.world.repeats(a.prompt, a.response()) / n
		s.gold += a.gold / n
	}
	return s
}

// seqsOf lists the sequences of answers.
func seqsOf(answers []answer) []model.Sequence {
	out := make([]model.Sequence, len(answers))
	for i, a := range answers {
		out[i] = a.seq
	}
	return out
}

// kl estimates KL(policy || reference) per answer from the policy's own samples.
func kl(reference *model.Transformer, answers []answer) float64 {
	sum := 0.0
	for rest := answers; len(rest) > 0; {
		some := rest[:min(256, len(rest))]
		for i, row := range reference.Score(seqsOf(some), model.WantLogprobs).Logprobs {
			for j, lp := range row {
				sum += some[i].logp[j] - float64(lp)
			}
		}
		rest = rest[len(some):]
	}
	return sum / float64(len(answers))
}

// win is the share of prompts where a's answer has the higher gold, ties one half.
func win(a, b []answer) estimate {
	sum := 0.0
	for i := range a {
		switch {
		case a[i].gold > b[i].gold:
			sum++
		case a[i].gold == b[i].gold:
			sum += 0.5
		}
	}
	return wilson(sum/float64(len(a)), len(a))
}
