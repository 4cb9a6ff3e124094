package ppo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

	cfg       Config
	reference *model.Transformer
	scorer    Scorer
	prompts   Prompts
	ptx       Ptx
	eos       int32
	ids       identity
	same      bool // the policy started as the reference
	better    []model.Sequence
	worse     []model.Sequence
	fault     Fault
	extra     Extra
	times     Times
	reader    *model.Transformer // the policy, packed for sampling; nil when its weights have moved on
	order     []int              // of the prompts, in pass orderPass
	orderPass int

	// what a saved state holds
	policy, value       *model.Transformer // value is nil where the critic is shared
	policyOpt, valueOpt *model.AdamW
	ema                 [][]float32 // in the order of policy.Params(); nil = none
	control             KLController
	iteration           int // 0-based; cfg.Iterations when done
	unit                int // within the iteration: chunks, then optimizer steps
	batch               batch
	samples             []Sample
}

// NewTrainer makes a trainer.
//
// policy is what training starts from and reference what the KL penalty holds it to; they may be one model. value is the
// critic with a value head, see Critic; where cfg.Critic is CriticShared it is not looked at, and the policy's copy gets a
// value head that says 0, unless it has one. policy, reference and value are copied.
// eos is the token that ends a response, -1 where there is none: then every response counts as ended. ptx may be nil
// where cfg.Ptx.Coef is 0.
func NewTrainer(cfg Config, policy, reference, value *model.Transformer, scorer Scorer, prompts Prompts, eos int32, ptx Ptx) (*Trainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.shared() {
		value = nil
	} else if value.ScalarHead() != model.HeadValue {
		return nil, invalid("value", "the critic has no value head")
	}
	if cfg.Ptx.Coef > 0 && ptx == nil {
		return nil, invalid("ptx", "the mix has a coefficient of %g, but there is no text", cfg.Ptx.Coef)
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
	if prompts.Len() < 1 {
		return nil, invalid("prompts", "there are none")
	}
	room := longest - cfg.MaxTokens
	for i := range prompts.Len() {
		p := prompts.Prompt(uint64(i))
		if len(p) < 1 || len(p) > room {
			return nil, invalid("prompts", "prompt %d has %d tokens; with responses of %d there is room for 1 to %d", i, len(p), cfg.MaxTokens, room)
		}
		for _, id := range p {
			if id < 0 || int(id) >= shape.Vocab {
				return nil, invalid("prompts", "prompt %d has the token id %d outside the vocabulary of %d", i, id, shape.Vocab)
			}
		}
	}
	t := &Trainer{
		cfg: cfg, policy: policy.Clone(), reference: reference.PackedCopy(cfg.weights()), scorer: scorer, prompts: prompts, ptx: ptx, eos: eos, orderPass: -1,
	}
	if value != nil {
		t.value = value.Clone()
	} else if t.policy.ScalarHead() != model.HeadValue {
		t.policy.AddHead(model.HeadValue, 0)
		clear(t.policy.Param("value.weight").Data)
		t.policy.AddHeadBias()
	}
	t.policy.SetMixed(cfg.mixed())
	if t.value != nil {
		t.value.SetMixed(cfg.mixed())
	}
	var err error
	if t.ids, err = identify(cfg, policy, reference, value, scorer, prompts, eos, ptx); err != nil {
		return nil, err
	}
	t.same = policy.Digest() == t.ids.Reference
	t.policyOpt, t.valueOpt = newOptimizer(cfg), newOptimizer(cfg)
	if cfg.EMA > 0 {
		for _, p := range t.policy.Params() {
			t.ema = append(t.ema, slices.Clone(p.Data))
		}
	}
	t.control = &FixedKL{Value: cfg.KL.Coef}
	if cfg.KL.Target > 0 {
		t.control = &AdaptiveKL{Value: cfg.KL.Coef, Target: cfg.KL.Target, Horizon: cfg.KL.Horizon}
	}
	return t, nil
}

func newOptimizer(cfg Config) *model.AdamW {
	o := model.NewAdamW()
	o.Eps, o.Decay, o.Clip = float32(cfg.AdamEps), float32(cfg.Decay), float32(cfg.ClipNorm)
	return o
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
// a unit does not measure are absent; iteration is always there. The last chunk of an iteration tells of its episodes
//
//	score      mean score per episode, after the end-token rule
//	reward     mean of score - kl_coef*KL per episode: what PPO maximises
//	kl         mean over episodes of the sum of log pi - log ref, nats: an estimate of KL(pi || ref)
//	kl_coef    coefficient of the penalty in this iteration
//	entropy    mean of -log pi over the sampled tokens, nats: an unbiased estimate of the policy's entropy per token
//	eos_rate   share of episodes that ended with the end token
//	length     mean response tokens, the end token included
//	repeat_rate         share of the response's neighbouring token pairs that it had said before
//	explained_variance  of the returns by the critic, before its update
//
// and each optimizer step of policy_loss, clipfrac, approxkl, kl_k3, ratio_mean, ratio_max (see PolicyStats), value_loss and
// value_clipfrac (see ValueStats), grad_norm and value_grad_norm (before clipping; a shared critic has no norm of its own), lr, and where there is a pretraining mix
// ptx_loss (nats per token) and ptx_grad_norm (of the mix alone, its coefficient included).
//
// An error leaves the state of the last unit behind, which can be saved; the step itself has not happened.
func (t *Trainer) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.Done() {
		return nil, errors.New("ppo: step after the last")
	}
	var metrics map[string]float64
	var err error
	if t.unit < t.cfg.chunks() {
		metrics, err = t.rollout(ctx, t.unit)
	} else {
		metrics, err = t.update(t.unit - t.cfg.chunks())
	}
	if err != nil {
		return nil, fmt.Errorf("iteration %d: %w", t.iteration, err)
	}
	metrics["iteration"] = float64(t.iteration)
	t.unit++
	if t.unit == t.cfg.chunks()+t.cfg.updates() {
		t.control.Update(t.batch.kl, len(t.batch.episodes))
		t.iteration, t.unit, t.batch = t.iteration+1, 0, batch{}
	}
	return metrics, nil
}

// Policy returns the policy as trained so far, without the value head of a shared critic: the averaged weights where cfg.EMA
// is set, a copy in any case, in float32.
func (t *Trainer) Policy() *model.Transformer {
	m := t.policy.Clone()
	m.SetMixed(false)
	if t.ema != nil {
		for i, p := range m.Params() {
			copy(p.Data, t.ema[i])
		}
	}
	if t.cfg.shared() {
		m.DropHead()
	}
	return m
}

// Value returns a copy of the critic in float32: of the policy with its value head where it is shared.
func (t *Trainer) Value() *model.Transformer {
	m := t.value
	if t.cfg.shared() {
		m = t.policy
	}
	m = m.Clone()
	m.SetMixed(false)
	return m
}

// Samples returns the episodes kept for people to read, oldest first.
func (t *Trainer) Samples() []Sample { return slices.Clone(t.samples) }

// prompt returns the prompt of the n-th episode of the run: the prompts in a new order each time round.
func (t *Trainer) prompt(n int) []int32 {
	size := t.prompts.Len()
	if pass := n / size; pass != t.orderPass {
		t.order = rand.New(rand.NewPCG(t.cfg.Seed, streamPrompts+uint64(pass)<<8)).Perm(size)
		t.orderPass = pass
	}
	return t.prompts.Prompt(uint64(t.order[n%size]))
}
