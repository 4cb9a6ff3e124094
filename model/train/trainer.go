package train

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
)

var (
	// ErrNotFinite is what a NotFiniteError is.
	ErrNotFinite = errors.New("train: not finite")
	// ErrForeignState says that a saved state belongs to another run: other data, configuration, model or kernels.
	ErrForeignState = errors.New("train: the saved state belongs to another run")
)

// Streams keep the uses of a run's seed apart.
const (
	streamOrder   = 0x747261696e000001 // order of the data
	streamDropout = 0x747261696e100000 // what is dropped
	streamLoRA    = 0x747261696e200000 // how adapters begin
	streamRound   = 0x747261696e300000 // how BF16 weights are rounded
)

// Trainer trains a model on next tokens; a unit of work (Step) is one optimizer step. It satisfies model/run's Trainer
// but for the name of the metrics' type.
type Trainer struct {
	// AnyKernel lets Load accept a state that was written under another class of kernels. The run then goes on, but is
	// not the run that an undisturbed one would have been.
	AnyKernel bool
	// Keep stores the weights of a step for good, where the configuration asks for that (SaveEvery), and returns a name for
	// them; Drop removes what Keep has stored. Both may be called again for the same step after a crash. nil = not kept.
	Keep func(ctx context.Context, step int) (name string, err error)
	Drop func(ctx context.Context, name string) error

	cfg    Config
	train  Source
	valid  Source
	plan   []int // for each step the place in the endless row of sequences where its batch begins; one more at the end
	m      *model.Transformer
	opt    *model.AdamW
	step   int
	tokens int         // targets seen so far
	ema    [][]float32 // average of the trained tensors; nil = none
	watch  watch

	origin, dataDigest, validDigest string

	epoch int   // whose order is cached
	order []int // of the sequences in that epoch
}

// NewTrainer makes a trainer of m, which it changes in place: rounds it to the configuration's precision, gives it
// adapters, and trains. valid may be nil: then nothing is held out.
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
		t.validDigest = valid.Digest()
	}
	if t.cfg.EvalEvery > 0 && (valid == nil || valid.Len() == 0) {
		return nil, invalid("eval_every", "there are no held-out data to evaluate on")
	}
	t.origin, t.dataDigest = m.Digest(), train.Digest()
	if err := t.prepare(); err != nil {
		return nil, err
	}
	t.opt = model.NewAdamW()
	t.opt.Beta1, t.opt.Beta2 = float32(t.cfg.Beta1), float32(t.cfg.Beta2)
	t.opt.Decay, t.opt.Clip = float32(t.cfg.Decay), float32(t.cfg.Clip)
	t.opt.Seed = t.cfg.Seed + streamRound
	t.layOut()
	return t, nil
}

// prepare gives the model the precision, the adapters and the dropout of the run.
func (t *Trainer) prepare() error {
	if t.cfg.Precision == BF16 {
		t.m.ToBF16()
	} else if t.m.BF16() {
		return invalid("precision", "the model's weights are bf16; say so, or load them as float32")
	}
	t.m.SetMixed(t.cfg.Precision == Mixed)
	if l := t.cfg.LoRA; l != nil {
		if err := t.m.AddLoRA(model.LoRA{Rank: l.Rank, Alpha: l.Alpha, Targets: l.Targets}, t.cfg.Seed+streamLoRA); err != nil {
			return err
		}
	}
	t.m.SetDropout(float32(t.cfg.Dropout), t.cfg.Seed+streamDropout)
	t.m.SetRecompute(t.cfg.Recompute)
	if t.cfg.EMADecay > 0 {
		t.ema = snapshot(t.m)
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
			size := len(t.train.Sequence(t.at(at)).IDs)
			if at > first && tokens+size > t.cfg.BatchTokens {
				break
			}
			tokens += size
		}
	}
}

// at returns the number of the sequence at a place of the endless row: a function of (seed, epoch, position) and nothing
// else.
func (t *Trainer) at(place int) int {
	n := t.train.Len()
	if e := place / n; e != t.epoch {
		t.epoch = e
		t.order = rand.New(rand.NewPCG(t.cfg.Seed, streamOrder+uint64(e))).Perm(n)
	}
	return t.order[place%n]
}

// Model returns the model being trained.
func (t *Trainer) Model() *model.Transformer { return t.m }

// Done tells that no step is left: all are done, or held-out loss has not fallen for Patience evaluations.
func (t *Trainer) Done() bool { return t.step == len(t.plan)-1 || t.watch.Stopped }

// Progress returns the steps done and the steps in all; a run that ended early has as many as it did.
func (t *Trainer) Progress() (step, total int) {
	if t.watch.Stopped {
		return t.step, t.step
	}
	return t.step, len(t.plan) - 1
}

// Step does one optimizer step. Its metrics are
//
//	loss       mean over the batch's targets of -log pi, nats, before the step
//	grad_norm  of all parameters together, before clipping
//	lr         learning rate of the step
//	targets    tokens that the loss was taken over
//	tokens     tokens that went through the model
//	epoch      passes over the data that the step ends at
//
// and, after the last step and where EvalEvery asks for it, heldout_loss and best_loss, the lowest held-out loss so far.
// Where the loss or a gradient is not finite it gives a *NotFiniteError and the weights stay as they were.
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.Done() {
		return nil, errors.New("train: step after the last")
	}
	batch := t.batch(t.step)
	loss, n, tokens, err := accumulate(t.m, batch, t.cfg.MicroTokens)
	lr := t.cfg.Rate(t.step, len(t.plan)-1)
	var norm float64
	if err == nil {
		norm, err = t.opt.Step(t.m, float32(lr))
	}
	if err != nil {
		t.m.ZeroGrad()
		return nil, notFinite(err, t.step+1)
	}
	t.step++
	t.tokens += n
	t.average()
	metrics := map[string]float64{
		"loss": loss, "grad_norm": norm, "lr": lr, "targets": float64(n), "tokens": float64(tokens),
		"epoch": float64(t.plan[t.step]) / float64(t.train.Len()),
	}
	if err := t.evaluate(ctx, metrics); err != nil {
		return nil, notFinite(err, t.step)
	}
	return metrics, t.keep(ctx)
}

// notFinite names the step in an error of a loss or a gradient.
func notFinite(err error, step int) error {
	var gradient *model.NonFiniteError
	var known *NotFiniteError
	switch {
	case errors.As(err, &gradient):
		return &NotFiniteError{Step: step, What: "the gradient of " + gradient.Tensor}
	case errors.As(err, &known):
		known.Step = step
	}
	return err
}

// batch is the sequences of a step. Each has a stream of dropout of its own.
func (t *Trainer) batch(step int) []item {
	batch := make([]item, 0, t.plan[step+1]-t.plan[step])
	for place := t.plan[step]; place < t.plan[step+1]; place++ {
		i := t.at(place)
		s := item{t.train.Sequence(i), t.train.Skip(i), i}
		s.Stream = uint64(step)<<32 | uint64(len(batch))
		batch = append(batch, s)
	}
	return batch
}

// keep stores the weights every SaveEvery steps and drops the oldest of more than KeepLast.
func (t *Trainer) keep(ctx context.Context) error {
	if t.cfg.SaveEvery == 0 || t.step%t.cfg.SaveEvery != 0 || t.Keep == nil {
		return nil
	}
	name, err := t.Keep(ctx, t.step)
	if err != nil {
		return fmt.Errorf("train: keeping step %d: %w", t.step, err)
	}
	t.watch.Kept = append(t.watch.Kept, Kept{t.step, name})
	for len(t.watch.Kept) > t.cfg.KeepLast {
		if err := t.Drop(ctx, t.watch.Kept[0].Name); err != nil {
			return fmt.Errorf("train: dropping step %d: %w", t.watch.Kept[0].Step, err)
		}
		t.watch.Kept = t.watch.Kept[1:]
	}
	return nil
}
