package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/labeling/simulate"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// lab makes what experiments share, once: the pretrained and the fine-tuned model, and each seed's reward model. The recipe
// is frozen.
type lab struct {
	world     *simulate.ToyWorld
	log       func(string)
	base, sft *model.Transformer      // nil until made
	rewards   map[int]*reward.Trainer // by seed: trained on 1,024 honestly ranked prompts
}

func newLab(log func(string)) *lab {
	return &lab{world: simulate.Toy(), log: log, rewards: map[int]*reward.Trainer{}}
}

// Seeds of the data, apart from each other and from the seeds of experiments.
const (
	seedInit = 1 + iota
	seedCorpus
	seedDemos
	seedHeldOut
	seedReference
	seedOrder
)

// shape is the decoder of every experiment: 108,736 weights with the positions of Context, of which the toy uses 23.
func shape() model.Config {
	return model.Config{
		Family: "gpt2", Vocab: simulate.ToyVocab, Context: 79, Layers: 2, Width: 64, Heads: 4, Tied: true,
		BOS: int(simulate.ToyBOS), EOS: int(simulate.ToyEOS),
	}
}

// Recipe of the two language models: steps of 64 texts.
const (
	batchTexts    = 64
	pretrainSteps = 600
	sftSteps      = 1200
	peakLR        = 3e-3
)

// Base returns the pretrained model.
func (l *lab) Base(ctx context.Context) (*model.Transformer, error) {
	if l.base != nil {
		return l.base, nil
	}
	m, err := model.New(shape(), seedInit)
	if err != nil {
		return nil, err
	}
	texts := sequences(l.world.CorpusIDs(seedCorpus, pretrainSteps*batchTexts), 1)
	if err := l.fit(ctx, "pretraining", m, texts, pretrainSteps); err != nil {
		return nil, err
	}
	l.base = m
	return m, nil
}

// SFT returns the model fine-tuned on demonstrations.
func (l *lab) SFT(ctx context.Context) (*model.Transformer, error) {
	if l.sft != nil {
		return l.sft, nil
	}
	base, err := l.Base(ctx)
	if err != nil {
		return nil, err
	}
	m := base.Clone()
	if err := l.fit(ctx, "fine-tuning", m, sequences(l.world.DemonstrationIDs(seedDemos, sftSteps*batchTexts), 0), sftSteps); err != nil {
		return nil, err
	}
	l.sft = m
	return m, nil
}

// sequences turns texts into rows for the model; start 0 means where the response starts.
func sequences(texts []simulate.ToyText, start int) []model.Sequence {
	out := make([]model.Sequence, len(texts))
	for i, t := range texts {
		out[i] = model.Sequence{IDs: t.IDs, Start: t.Start}
		if start > 0 {
			out[i].Start = start
		}
	}
	return out
}

// fit minimises the next-token cross entropy of texts from their Start on: cosine learning rate to a tenth, 20 steps of
// warm-up.
func (l *lab) fit(ctx context.Context, what string, m *model.Transformer, texts []model.Sequence, steps int) error {
	opt := model.NewAdamW()
	var order []int
	rng := rand.New(rand.NewPCG(seedOrder, uint64(steps)))
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := make([]model.Sequence, 0, batchTexts)
		for len(batch) < batchTexts {
			if len(order) == 0 {
				order = rng.Perm(len(texts))
			}
			batch, order = append(batch, texts[order[0]]), order[1:]
		}
		pass := m.Forward(batch, model.WantLogprobs)
		loss, grad := ppo.PtxLoss(widen(pass.Logprobs))
		pass.Backward(model.Grads{Logprobs: narrow(grad)})
		lr := peakLR * (0.1 + 0.45*(1+math.Cos(math.Pi*float64(step)/float64(steps)))) * math.Min(1, float64(step+1)/20)
		if _, err := opt.Step(m, float32(lr)); err != nil {
			return fmt.Errorf("%s, step %d: %w", what, step, err)
		}
		if step%100 == 99 || step == steps-1 {
			l.log(fmt.Sprintf("%s: step %d of %d, %.3f nats per token", what, step+1, steps, loss))
		}
	}
	return nil
}

// loss is the mean cross entropy of texts from their Start on, nats per token.
func crossEntropy(m *model.Transformer, texts []model.Sequence) float64 {
	sum, n := 0.0, 0
	for len(texts) > 0 {
		k := min(256, len(texts))
		for _, row := range m.Score(texts[:k], model.WantLogprobs).Logprobs {
			for _, lp := range row {
				sum -= float64(lp)
				n++
			}
		}
		texts = texts[k:]
	}
	return sum / float64(n)
}

// answer is one sampled response.
type answer struct {
	topic int32
	seq   model.Sequence
	logp  []float64 // by the sampler
	gold  float64
}

func (a answer) response() []int32 { return a.seq.IDs[a.seq.Start:] }

// sample draws one answer to each topic at temperature 1.
func (l *lab) sample(ctx context.Context, m *model.Transformer, topics []int32, seed uint64) ([]answer, error) {
	prompts := make([][]int32, len(topics))
	for i, t := range topics {
		prompts[i] = l.world.PromptIDs(t)
	}
	out, err := decode.Generate(ctx, m, prompts, decode.Params{MaxTokens: simulate.ToyMaxResponse, Temperature: 1, TopP: 1, Seed: seed}, simulate.ToyEOS, nil)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(out))
	for i, c := range out {
		a := answer{topic: topics[i], seq: model.Sequence{IDs: append(prompts[i], c.IDs...), Start: len(prompts[i])}, gold: l.world.GoldIDs(topics[i], c.IDs)}
		for _, lp := range c.Logprobs {
			a.logp = append(a.logp, float64(lp))
		}
		answers[i] = a
	}
	return answers, nil
}

// summary describes answers in the words of the thresholds.
type summary struct{ onTopic, ended, badBigrams, repeats, gold float64 }

func (l *lab) summarise(answers []answer) (s summary) {
	n := float64(len(answers))
	for _, a := range answers {
		f := l.world.Facts(a.topic, a.response())
		if f.OnTopic {
			s.onTopic += 1 / n
		}
		if f.Ended {
			s.ended += 1 / n
		}
		s.badBigrams += float64(f.BadBigrams) / n
		s.repeats += float64(f.Repeats) / n
		s.gold += a.gold / n
	}
	return s
}

// kl estimates KL(policy || reference) per answer from the policy's own samples.
func kl(reference *model.Transformer, answers []answer) float64 {
	sum := 0.0
	seqs := make([]model.Sequence, len(answers))
	for i, a := range answers {
		seqs[i] = a.seq
	}
	for i, row := range reference.Score(seqs, model.WantLogprobs).Logprobs {
		for j, lp := range row {
			sum += answers[i].logp[j] - float64(lp)
		}
	}
	return sum / float64(len(answers))
}

// win is the share of prompts where a's answer has the higher gold, ties one half, with the half width of its 95% interval.
func win(a, b []answer) (share, half float64) {
	n := float64(len(a))
	var sum, sq float64
	for i := range a {
		w := 0.5
		switch {
		case a[i].gold > b[i].gold:
			w = 1
		case a[i].gold < b[i].gold:
			w = 0
		}
		sum, sq = sum+w, sq+w*w
	}
	share = sum / n
	return share, 1.96 * math.Sqrt((sq/n-share*share)/n)
}

func widen(rows [][]float32) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = make([]float64, len(row))
		for j, x := range row {
			out[i][j] = float64(x)
		}
	}
	return out
}

func narrow(rows [][]float64) [][]float32 {
	out := make([][]float32, len(rows))
	for i, row := range rows {
		out[i] = make([]float32, len(row))
		for j, x := range row {
			out[i][j] = float32(x)
		}
	}
	return out
}
