package ppo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Sentinels of this room.
var (
	// ErrNotFinite says that a log-probability, reward, loss or gradient was NaN or infinite. The step was not taken.
	ErrNotFinite = errors.New("ppo: not finite")
	// ErrForeignState says that a saved state belongs to another run: another configuration, reference, reward model,
	// prompt set or class of kernels.
	ErrForeignState = errors.New("ppo: the saved state belongs to another run")

	errAfterLast = errors.New("ppo: step after the last")
)

// Streams of randomness: one per purpose, so that none disturbs another.
const (
	streamSample  = 0x70706f0000000001
	streamPrompts = 0x70706f0000000002
	streamOrder   = 0x70706f0000000003
	streamProbe   = 0x70706f0000000004
)

// Trainer moves a policy towards a reward. A unit of work (Step) is a chunk of rollouts or one optimizer step of policy and
// critic. It satisfies model/run's Trainer.
type Trainer struct {
	// AnyKernel lets Load accept a state that was written under another class of kernels. The run then goes on, but is
	// not the run that an undisturbed one would have been.
	AnyKernel bool

	actor
	cfg Config
	ptx Ptx
	ids identity

	// what a saved state holds, besides the policy
	guard
	value               *model.Transformer // nil where the critic is shared
	policyOpt, valueOpt *model.AdamW
	ema                 [][]float32 // in the order of policy.Params(); nil = none
	control             KLController
	scoring             scoring
	ptxCoef             float64 // of the pretraining mix; 0 = not chosen yet
	iteration           int     // 0-based; cfg.Iterations when done
	unit                int     // within the iteration: chunks, then optimizer steps
	enough              bool    // the iteration's remaining optimizer steps are left out
	batch               batch
	samples             []Sample
}

// NewTrainer makes a trainer.
//
// policy is what training starts from and reference what the KL penalty holds it to; they may be one model. value is the
// critic with a value head, see Critic; where cfg.Critic is CriticShared it is not looked at, and the policy's copy gets a
// value head that says 0, unless it has one. policy, reference and value are copied.
// eos is the token that ends a response, -1 where there is none: then every response counts as ended. ptx may be nil
// where there is no mix.
func NewTrainer(cfg Config, policy, reference, value *model.Transformer, scorer Scorer, prompts Prompts, eos int32, ptx Ptx) (*Trainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.shared() {
		value = nil
	} else if value.ScalarHead() != model.HeadValue {
		return nil, invalid("value", "the critic has no value head")
	}
	if cfg.Ptx.on() && ptx == nil {
		return nil, invalid("ptx", "a mix is wanted, but there is no text")
	}
	shape := policy.Config()
	longest := min(shape.Context, reference.Config().Context)
	same := reference.Config().Vocab == shape.Vocab
	if value != nil {
		longest, same = min(longest, value.Config().Context), same && value.Config().Vocab == shape.Vocab
	}
	if !same {
		return nil, invalid("reference", "policy, reference and critic must share one vocabulary")
	}
	if err := checkPrompts(prompts, cfg.MaxTokens, longest, shape.Vocab); err != nil {
		return nil, err
	}
	if cfg.Truncate != nil && int(cfg.Truncate.Token) >= shape.Vocab {
		return nil, invalid("truncate.token", "%d is outside the vocabulary of %d", cfg.Truncate.Token, shape.Vocab)
	}
	t := &Trainer{
		actor: newActor(cfg.sampling(), cfg.mixed(), policy, reference, scorer, prompts, eos), cfg: cfg, ptx: ptx,
		scoring: scoring{score: cfg.Score, eos: cfg.EOS}, ptxCoef: cfg.Ptx.Coef,
	}
	if value != nil {
		t.value = value.Clone()
	} else if t.policy.ScalarHead() != model.HeadValue {
		t.policy.AddHead(model.HeadValue, 0)
		clear(t.policy.Param("value.weight").Data)
		t.policy.AddHeadBias()
	}
	if t.value != nil {
		t.value.SetMixed(cfg.mixed())
	}
	var err error
	if t.ids, err = identify(cfg, policy, reference, value, scorer, prompts, eos, ptx); err != nil {
		return nil, err
	}
	t.same = policy.Digest() == t.ids.Reference
	t.policyOpt, t.valueOpt = newOptimizer(cfg), newOptimizer(cfg)
	t.ema = average(cfg.EMA, t.policy)
	t.control = &FixedKL{Value: cfg.KL.Coef}
	if cfg.KL.Target > 0 {
		t.control = &AdaptiveKL{Value: cfg.KL.Coef, Target: cfg.KL.Target, Horizon: cfg.KL.Horizon}
	}
	return t, nil
}

func newOptimizer(cfg Config) *model.AdamW {
	return cfg.optimizer(cfg.AdamEps, cfg.Decay, cfg.ClipNorm)
}

// average makes averaged weights, nil where decay is 0.
func average(decay float64, m *model.Transformer) (ema [][]float32) {
	if decay > 0 {
		for _, p := range m.Params() {
			ema = append(ema, slices.Clone(p.Data))
		}
	}
	return ema
}

// Critic makes a value model from a reward model, as InstructGPT does: the same weights, the score head turned into a value
// head whose values are the normalised rewards (r - mean) / std.
func Critic(reward *model.Transformer, mean, std float64) (*model.Transformer, error) {
	if reward.ScalarHead() != model.HeadScore {
		return nil, invalid("value", "the model has no score head to make a critic of")
	}
	if std == 0 {
		std = 1
	}
	v := reward.Clone()
	v.TurnHead(model.HeadValue)
	v.AddHeadBias()
	for i, w := range v.Param("value.weight").Data {
		v.Param("value.weight").Data[i] = float32(float64(w) / std)
	}
	bias := v.Param("value.bias").Data
	bias[0] = float32((float64(bias[0]) - mean) / std)
	return v, nil
}

// chunks and updates are the units of an iteration.
func (c Config) chunks() int  { return (c.Rollouts + c.Chunk - 1) / c.Chunk }
func (c Config) updates() int { return c.Epochs * ((c.Rollouts + c.Minibatch - 1) / c.Minibatch) }

// Done says whether all iterations are through.
func (t *Trainer) Done() bool { return t.iteration == t.cfg.Iterations }

// Progress counts units of work.
func (t *Trainer) Progress() (step, total int) {
	n := t.cfg.chunks() + t.cfg.updates()
	return t.iteration*n + t.unit, t.cfg.Iterations * n
}

// Iteration is the number of rollout batches that are through.
func (t *Trainer) Iteration() int { return t.iteration }

// Step does one unit of work: it samples a chunk of episodes, or takes one optimizer step of policy and critic. Metrics that
// a unit does not measure are absent; iteration is always there. Metrics says what each means.
//
// An error leaves the state of the last unit behind, which can be saved; the step itself has not happened. A *HealthError or
// ErrNotFinite stops the run: the policy goes back to its last good weights, see Stopped, and no further step is taken.
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.Done() {
		return nil, errAfterLast
	}
	if t.stopped != nil {
		return nil, fmt.Errorf("%w: %w", ErrStopped, t.stopped)
	}
	var metrics map[string]float64
	var err error
	if t.unit < t.cfg.chunks() {
		metrics, err = t.rollout(ctx, t.unit)
	} else {
		metrics, err = t.update(t.unit - t.cfg.chunks())
	}
	if err != nil {
		return nil, fmt.Errorf("iteration %d: %w", t.iteration, t.judge(err, t.weights()))
	}
	metrics["iteration"] = float64(t.iteration)
	t.unit++
	if t.unit == t.cfg.chunks()+t.cfg.updates() {
		t.control.Update(t.batch.kl, len(t.batch.episodes))
		t.iteration, t.unit, t.batch, t.enough = t.iteration+1, 0, batch{}, false
	}
	return metrics, nil
}

// weights are those that the run changes.
func (t *Trainer) weights() [][]float32 { return trained(t.ema, t.policy, t.value) }

// Policy returns the policy as trained so far, without the value head of a shared critic: the averaged weights where cfg.EMA
// is set, a copy in any case, in float32 and at temperature 1. After a guard has stopped the run it is the last good one.
func (t *Trainer) Policy() *model.Transformer {
	m := finished(t.policy, t.ema)
	if t.cfg.shared() {
		m.DropHead()
	}
	return m
}

// finished is a copy of a model in training, for use: the averaged weights where there are some.
func finished(m *model.Transformer, ema [][]float32) *model.Transformer {
	m = m.Clone()
	m.SetMixed(false)
	m.SetTemperature(1)
	for i, p := range m.Params() {
		if ema != nil {
			copy(p.Data, ema[i])
		}
	}
	return m
}

// Value returns a copy of the critic in float32: of the policy with its value head where it is shared.
func (t *Trainer) Value() *model.Transformer {
	m := t.value
	if t.cfg.shared() {
		m = t.policy
	}
	return finished(m, nil)
}

// Allow replaces the limits of the guards on the KL per episode and on the ratio, for a run that a person lets go on past them. 0 is no
// limit of high and ratio. What is saved stays the run's.
func (t *Trainer) Allow(low, high, ratio float64) {
	t.cfg.KL.Min, t.cfg.KL.Max, t.cfg.Guard.Ratio = low, high, ratio
}

// Samples returns the episodes kept for people to read, oldest first.
func (t *Trainer) Samples() []Sample { return slices.Clone(t.samples) }
