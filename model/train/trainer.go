package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
)

var (
	// ErrNotFinite says that a loss or a gradient was NaN or infinite. The weights were not touched.
	ErrNotFinite = errors.New("train: not finite")
	// ErrForeignState says that a saved state belongs to another run: other data, configuration, model or kernels.
	ErrForeignState = errors.New("train: the saved state belongs to another run")
)

// streamOrder keeps the order of the data apart from other uses of a seed.
const streamOrder = 0x747261696e000001

// Trainer trains a model on next tokens; a unit of work (Step) is one optimizer step. It satisfies model/run's Trainer
// but for the name of the metrics' type.
type Trainer struct {
	// AnyKernel lets Load accept a state that was written under another class of kernels. The run then goes on, but is
	// not the run that an undisturbed one would have been.
	AnyKernel bool

	cfg    Config
	train  Source
	valid  Source
	plan   []int // for each step the place in the endless row of sequences where its batch begins; one more at the end
	m      *model.Transformer
	opt    *model.AdamW
	step   int
	tokens int // targets seen so far

	origin, dataDigest string

	epoch int   // whose order is cached
	order []int // of the sequences in that epoch
}

// NewTrainer makes a trainer of m, which it changes in place. valid may be nil: then nothing is held out.
func NewTrainer(cfg Config, m *model.Transformer, train, valid Source) (*Trainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Trainer{cfg: cfg.WithDefaults(), train: train, valid: valid, m: m, epoch: -1}
	if err := checkSource("train", train, m.Config(), 1); err != nil {
		return nil, err
	}
	if valid != nil {
		if err := checkSource("valid", valid, m.Config(), 0); err != nil {
			return nil, err
		}
	}
	t.opt = model.NewAdamW()
	t.opt.Beta1, t.opt.Beta2 = float32(t.cfg.Beta1), float32(t.cfg.Beta2)
	t.opt.Decay, t.opt.Clip = float32(t.cfg.Decay), float32(t.cfg.Clip)
	t.origin, t.dataDigest = m.Digest(), train.Digest()
	t.layOut()
	return t, nil
}

// checkSource looks at every sequence once, before a long run trips over the last.
func checkSource(name string, s Source, shape model.Config, least int) error {
	if s.Len() < least {
		return invalid(name, "there are no sequences")
	}
	for i := range s.Len() {
		q := s.Sequence(i)
		switch {
		case len(q.IDs) < 2 || len(q.IDs) > shape.Context:
			return invalid(name, "sequence %d has %d tokens, not 2..%d", i, len(q.IDs), shape.Context)
		case q.Start < 1 || q.Start >= len(q.IDs):
			return invalid(name, "sequence %d starts at %d, not in 1..%d", i, q.Start, len(q.IDs)-1)
		}
		for _, id := range q.IDs {
			if id < 0 || int(id) >= shape.Vocab {
				return invalid(name, "sequence %d has the id %d, the vocabulary %d", i, id, shape.Vocab)
			}
		}
	}
	return nil
}

// layOut cuts the endless row of sequences (epoch after epoch, each in its own order) into batches of BatchTokens. An
// epoch's last batch may run into the next epoch; the last batch of the run does not go beyond the data asked for.
func (t *Trainer) layOut() {
	n := t.train.Len()
	end := t.cfg.Epochs * n // 0 = no end, by steps
	for at := 0; ; {
		t.plan = append(t.plan, at)
		if end > 0 && at >= end || t.cfg.Steps > 0 && len(t.plan) > t.cfg.Steps {
			return
		}
		tokens := 0
		for first := at; end == 0 || at < end; at++ {
			size := len(t.at(at).IDs)
			if at > first && tokens+size > t.cfg.BatchTokens {
				break
			}
			tokens += size
		}
	}
}

// at returns the sequence at a place of the endless row: a function of (seed, epoch, position) and nothing else.
func (t *Trainer) at(place int) model.Sequence {
	n := t.train.Len()
	if e := place / n; e != t.epoch {
		t.epoch = e
		t.order = rand.New(rand.NewPCG(t.cfg.Seed, streamOrder+uint64(e))).Perm(n)
	}
	return t.train.Sequence(t.order[place%n])
}

// Model returns the model being trained.
func (t *Trainer) Model() *model.Transformer { return t.m }

// Done tells that no step is left.
func (t *Trainer) Done() bool { return t.step == len(t.plan)-1 }

// Progress returns the steps done and the steps in all.
func (t *Trainer) Progress() (step, total int) { return t.step, len(t.plan) - 1 }

// Step does one optimizer step. Its metrics are
//
//	loss       mean over the batch's targets of -log pi, nats, before the step
//	grad_norm  of all parameters together, before clipping
//	lr         learning rate of the step
//	targets    tokens that the loss was taken over
//	tokens     tokens that went through the model
//	epoch      passes over the data that the step ends at
//
// and after the last step heldout_loss, where there are held-out sequences.
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.Done() {
		return nil, errors.New("train: step after the last")
	}
	batch := t.batch(t.step)
	loss, targets, tokens := Accumulate(t.m, batch, t.cfg.MicroTokens)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		t.m.ZeroGrad()
		return nil, fmt.Errorf("%w: loss of step %d", ErrNotFinite, t.step)
	}
	lr := t.cfg.Rate(t.step, len(t.plan)-1)
	norm, err := t.opt.Step(t.m, float32(lr))
	if err != nil {
		return nil, fmt.Errorf("%w: step %d: %w", ErrNotFinite, t.step, err)
	}
	t.step++
	t.tokens += targets
	metrics := map[string]float64{
		"loss": loss, "grad_norm": norm, "lr": lr, "targets": float64(targets), "tokens": float64(tokens),
		"epoch": float64(t.plan[t.step]) / float64(t.train.Len()),
	}
	if t.Done() && t.valid != nil && t.valid.Len() > 0 {
		if metrics["heldout_loss"], _, err = HeldOut(ctx, t.m, t.valid, t.cfg.MicroTokens); err != nil {
			return nil, err
		}
	}
	return metrics, nil
}

func (t *Trainer) batch(step int) []model.Sequence {
	batch := make([]model.Sequence, 0, t.plan[step+1]-t.plan[step])
	for place := t.plan[step]; place < t.plan[step+1]; place++ {
		batch = append(batch, t.at(place))
	}
	return batch
}

// Accumulate adds the gradient of the batch's loss to m and returns the loss, the number of targets and the number of
// tokens. At most microTokens (or one sequence) go through the model at once.
func Accumulate(m *model.Transformer, batch []model.Sequence, microTokens int) (loss float64, targets, tokens int) {
	for _, s := range batch {
		targets += len(s.IDs) - s.Start
		tokens += len(s.IDs)
	}
	each := float32(-1 / float64(targets))
	for len(batch) > 0 {
		n := fitting(batch, microTokens)
		pass := m.Forward(batch[:n], model.WantLogprobs)
		grads := make([][]float32, n)
		for i, row := range pass.Logprobs {
			grads[i] = make([]float32, len(row))
			for j, lp := range row {
				loss -= float64(lp)
				grads[i][j] = each
			}
		}
		pass.Backward(model.Grads{Logprobs: grads})
		batch = batch[n:]
	}
	return loss / float64(targets), targets, tokens
}

// fitting is how many of the first sequences have at most budget tokens together; one at least.
func fitting(batch []model.Sequence, budget int) int {
	tokens := 0
	for n, s := range batch {
		if tokens += len(s.IDs); n > 0 && tokens > budget {
			return n
		}
	}
	return len(batch)
}

// HeldOut returns the mean of -log pi over all targets of a source, in nats per token, and the number of targets.
func HeldOut(ctx context.Context, m *model.Transformer, s Source, microTokens int) (loss float64, targets int, err error) {
	var batch []model.Sequence
	for i := range s.Len() {
		batch = append(batch, s.Sequence(i))
	}
	for len(batch) > 0 {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		n := fitting(batch, microTokens)
		for _, row := range m.Score(batch[:n], model.WantLogprobs).Logprobs {
			for _, lp := range row {
				loss -= float64(lp)
			}
			targets += len(row)
		}
		batch = batch[n:]
	}
	if targets == 0 {
		return 0, 0, invalid("valid", "there are no targets")
	}
	return loss / float64(targets), targets, nil
}
