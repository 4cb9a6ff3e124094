package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
)

// Sentinels of this room.
var (
	// ErrNotFinite says that a loss, a gradient or a reward was NaN or infinite. The weights were not touched.
	ErrNotFinite = errors.New("reward: not finite")
	// ErrNotDone says that something was asked of a trainer that only its last step makes.
	ErrNotDone = errors.New("reward: training is not done")
	// ErrForeignState says that a saved state belongs to another run: other data, configuration, model or kernels.
	ErrForeignState = errors.New("reward: the saved state belongs to another run")
)

// Streams of randomness: one per purpose, so that none disturbs another.
const (
	streamHead  = 0x7265776172640001
	streamOrder = 0x7265776172640002
	streamDraw  = 0x7265776172640004
)

// Trainer trains reward models one after the other from the same start, as many as the larger of Config.Seeds and
// Config.Members, and keeps the best of them: one, or as many as an ensemble has members. A unit of work (Step) is one
// optimizer step, or the judging of a model that is finished. It satisfies model/run's Trainer.
type Trainer struct {
	// AnyKernel lets Load accept a state that was written under another class of kernels. The run then goes on, but is
	// not the run that an undisturbed one would have been.
	AnyKernel bool

	cfg                Config
	start              *model.Transformer // what every model starts from; head drawn anew for each
	train, valid       []Group            // train: only groups whose rankings decide a pair
	reference          []model.Sequence
	dataDigest, origin string
	perModel           int   // optimizer steps of one model
	drawn              []int // of Bootstrap: the prompts of the model being trained, places in train; nil = all

	// what a saved state holds
	m      *model.Transformer
	opt    *model.AdamW
	member int    // model being trained, 0-based; cfg.models() when done
	step   int    // optimizer steps it has done
	kept   []kept // best first, at most cfg.members()
	whole  *whole // of an ensemble that is done
}

// kept is a finished model and what is known of it.
type kept struct {
	m *model.Transformer
	judged
}

// judged is what is known of a finished model.
type judged struct {
	Member int    `json:"member"`
	Report Report `json:"report"`
	Norm   Norm   `json:"norm"` // over the reference answers, raw rewards
}

// whole is what is known of an ensemble.
type whole struct {
	Report Report `json:"report"`
	Norm   Norm   `json:"norm"` // over the reference answers, combined rewards
}

// NewTrainer makes a trainer. m is the model to start from (the SFT policy's weights, with or without a score head); it is
// not changed. valid are held-out groups, of other prompts than train; reference are the answers whose mean reward becomes
// 0, demonstrations as a rule.
func NewTrainer(cfg Config, m *model.Transformer, train, valid []Group, reference []model.Sequence) (*Trainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Loss = cfg.Loss.plain()
	t := &Trainer{cfg: cfg, valid: valid, reference: reference, opt: newOptimizer(cfg)}
	shape := m.Config()
	for i, g := range train {
		if err := g.check(i, shape); err != nil {
			return nil, err
		}
		if g.pairs(cfg.Loss) > 0 {
			t.train = append(t.train, g)
		}
	}
	if len(t.train) == 0 {
		return nil, invalid("train", "no ranking of the %d groups decides a pair: check that the data have the ranks that you think", len(train))
	}
	for i, g := range valid {
		if err := g.check(i, shape); err != nil {
			return nil, err
		}
	}
	if len(reference) == 0 {
		return nil, invalid("reference", "there are no reference answers to set the mean by")
	}
	for i, s := range reference {
		if err := checkSequence(s, shape); err != nil {
			return nil, invalid("reference", "answer %d: %s", i, err.(*InvalidError).Reason)
		}
	}
	if cfg.models() > cfg.members() && len(valid) == 0 {
		return nil, invalid("valid", "choosing among %d models needs held-out rankings", cfg.models())
	}
	t.perModel = cfg.steps(len(t.train))
	t.start = m.Clone()
	t.start.SetMixed(cfg.Precision == model.PrecisionMixed)
	t.origin = m.Digest()
	t.dataDigest = digestData(t.train, valid, reference)
	t.begin(0)
	return t, nil
}

func newOptimizer(cfg Config) *model.AdamW {
	o := model.NewAdamW()
	o.Decay, o.Clip = float32(cfg.Decay), float32(cfg.Clip)
	return o
}

// begin sets up model i.
func (t *Trainer) begin(i int) {
	t.member, t.step = i, 0
	t.m, t.opt = t.Start(i), newOptimizer(t.cfg)
	t.drawn = nil
	if t.cfg.Bootstrap {
		rng := rand.New(rand.NewPCG(t.cfg.Seed+uint64(i), streamDraw))
		for range t.train {
			t.drawn = append(t.drawn, rng.IntN(len(t.train)))
		}
	}
}

// Start returns model i, 0-based, as it is before its first step.
func (t *Trainer) Start(i int) *model.Transformer {
	m := t.start.Clone()
	m.AddHead(model.HeadScore, t.cfg.Seed+uint64(i)^streamHead)
	return m
}

// Done says whether all models are trained and judged.
func (t *Trainer) Done() bool { return t.member == t.cfg.models() }

// Progress counts units: the optimizer steps and the judging of each model.
func (t *Trainer) Progress() (step, total int) {
	return t.member*(t.perModel+1) + t.step, t.cfg.models() * (t.perModel + 1)
}

// Step does one unit. After an optimizer step the metrics are
//
//	loss       mean over the batch's prompts of Loss.Group, by default the mean over their decided pairs, nats (ln 2 = chance)
//	accuracy   share of the batch's decided pairs that the model orders as the labelers did, before the step; left out
//	           where the batch holds ties only
//	grad_norm  of all parameters together, before clipping
//	lr         learning rate of the step
//	answers    sequences that went through the model: the batch's answers, each once
//	tokens     of these sequences
//
// and after the judging of a model heldout_accuracy, heldout_low, heldout_high, heldout_loss, ceiling, reward_mean and
// reward_std (see Report). After the last of an ensemble the same figures of the ensemble follow as ensemble_accuracy and
// so on.
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.Done() {
		return nil, errors.New("reward: step after the last")
	}
	if t.step == t.perModel {
		return t.judge(ctx)
	}
	groups := t.batch(t.step)
	sum := t.accumulate(groups)
	if math.IsNaN(sum.loss) || math.IsInf(sum.loss, 0) {
		t.m.ZeroGrad()
		return nil, fmt.Errorf("%w: loss of step %d", ErrNotFinite, t.step)
	}
	lr := t.cfg.rate(t.step, t.perModel)
	norm, err := t.opt.Step(t.m, float32(lr))
	if err != nil {
		return nil, fmt.Errorf("%w: step %d: %w", ErrNotFinite, t.step, err)
	}
	t.step++
	metrics := map[string]float64{
		"loss": sum.loss, "grad_norm": norm, "lr": lr, "answers": float64(sum.answers), "tokens": float64(sum.tokens), "model": float64(t.member),
	}
	if sum.Decided > 0 {
		metrics["accuracy"] = float64(sum.Correct) / float64(sum.Decided)
	}
	return metrics, nil
}

// batch returns the groups of an optimizer step: consecutive places of an endless row of shuffles of the training
// prompts, or of those drawn for the model, each a function of (seed, model, epoch).
func (t *Trainer) batch(step int) []Group {
	n := len(t.train)
	size := min(t.cfg.Batch, n)
	groups := make([]Group, 0, size)
	var order []int
	epoch := -1
	for at := step * size; len(groups) < size; at++ {
		if at/n != epoch {
			epoch = at / n
			order = rand.New(rand.NewPCG(t.cfg.Seed+uint64(t.member), streamOrder+uint64(epoch))).Perm(n)
		}
		place := order[at%n]
		if t.drawn != nil {
			place = t.drawn[place]
		}
		groups = append(groups, t.train[place])
	}
	return groups
}

// batchSum is what accumulate has seen.
type batchSum struct {
	loss float64
	Count
	answers, tokens int // sequences that went through the model, and their tokens
}

// accumulate adds the gradient of the batch's loss to the model and returns the loss: the mean over the prompts of their
// loss times their weight. Each answer goes through the model once. A batch of more than MicroTokens is taken in parts; the
// numbers are the same but for rounding.
func (t *Trainer) accumulate(groups []Group) (sum batchSum) {
	share := 1 / float64(len(groups)) // every training group has a pair
	for len(groups) > 0 {
		n, tokens := 0, 0
		for n < len(groups) {
			size := 0
			for _, s := range groups[n].Sequences {
				size += len(s.IDs)
			}
			if n > 0 && tokens+size > t.cfg.MicroTokens {
				break
			}
			tokens += size
			n++
		}
		pass := t.m.Forward(flatten(groups[:n]), model.WantScore)
		sum.answers, sum.tokens = sum.answers+len(pass.Score), sum.tokens+tokens
		grad := make([]float32, 0, len(pass.Score))
		rest := pass.Score
		for _, g := range groups[:n] {
			r := widen(rest[:len(g.Sequences)])
			rest = rest[len(g.Sequences):]
			loss, dr, weight, c := t.cfg.Loss.Group(r, g)
			weight *= share
			sum.loss += weight * loss
			sum.Pairs, sum.Decided, sum.Correct = sum.Pairs+c.Pairs, sum.Decided+c.Decided, sum.Correct+c.Correct
			for _, d := range dr {
				grad = append(grad, float32(weight*d))
			}
		}
		pass.Backward(model.Grads{Score: grad})
		groups = groups[n:]
	}
	return sum
}

// flatten lists the answers of all groups: one sequence per answer.
func flatten(groups []Group) []model.Sequence {
	var out []model.Sequence
	for _, g := range groups {
		out = append(out, g.Sequences...)
	}
	return out
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
