package ppo

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
)

// GroupConfig is what the objectives share that draw several responses to each prompt and have no critic: GRPO, RLOO and rejection
// sampling.
type GroupConfig struct {
	Iterations int `json:"iterations"` // rollout batches
	Prompts    int `json:"prompts"`    // prompts of an iteration
	Samples    int `json:"samples"`    // responses to each prompt: the group
	Minibatch  int `json:"minibatch"`  // episodes of an optimizer step
	Epochs     int `json:"epochs"`     // passes over what is learned from
	MaxTokens  int `json:"max_tokens"` // longest response, the end token included
	Chunk      int `json:"chunk"`      // episodes sampled in one unit of work

	LR       float64 `json:"lr"`
	Warmup   int     `json:"warmup"`    // iterations of linear warm-up from a tenth of the rate
	Schedule string  `json:"schedule"`  // "constant", "linear" (to 0) or "cosine" (to a tenth)
	AdamEps  float64 `json:"adam_eps"`  // Adam's epsilon
	Decay    float64 `json:"decay"`     // AdamW's weight decay
	ClipNorm float64 `json:"clip_norm"` // largest gradient norm; 0 = no clipping
	AdamConfig

	Precision   string          `json:"precision,omitempty"`   // model.PrecisionFloat32 (also "") or model.PrecisionMixed
	Temperature float64         `json:"temperature,omitempty"` // of sampling, and of every log-probability with it; 0 = 1
	Truncate    *TruncateConfig `json:"truncate,omitempty"`    // where a response ends besides its end token

	EOS   EOSConfig   `json:"eos"`
	Score ScoreConfig `json:"score,omitzero"`
	Guard GuardConfig `json:"guard,omitzero"`
	KLMin float64     `json:"kl_min"` // the run stops below this KL per episode, nats
	KLMax float64     `json:"kl_max"` // the run stops above; 0 = no limit
	EMA   float64     `json:"ema"`    // decay of the averaged weights per optimizer step; 0 = none
	Seed  uint64      `json:"seed"`   // of sampling and of every order
	Micro int         `json:"micro_tokens"`
}

// defaultGroups suits small models, as DefaultConfig does, with the same number of episodes.
func defaultGroups() GroupConfig {
	return GroupConfig{
		Iterations: 24, Prompts: 48, Samples: 4, Minibatch: 64, Epochs: 1, MaxTokens: 48, Chunk: 64,
		LR: 1e-3, Schedule: "constant", AdamEps: 1e-5, ClipNorm: 1,
		EOS: EOSConfig{Missing: EOSSet, Value: -1}, Guard: GuardConfig{Ratio: 10}, KLMin: -0.5, KLMax: 50, Micro: 8192,
	}
}

func (c GroupConfig) episodes() int { return c.Prompts * c.Samples }
func (c GroupConfig) mixed() bool   { return c.Precision == model.PrecisionMixed }

func (c GroupConfig) validate() error {
	err := positive(
		count{"iterations", c.Iterations}, count{"prompts", c.Prompts}, count{"samples", c.Samples}, count{"minibatch", c.Minibatch},
		count{"epochs", c.Epochs}, count{"max_tokens", c.MaxTokens}, count{"chunk", c.Chunk}, count{"micro_tokens", c.Micro})
	if err == nil {
		err = within(span{"lr", c.LR, 0, 1}, span{"adam_eps", c.AdamEps, 1e-30, 1}, span{"decay", c.Decay, 0, 1},
			span{"clip_norm", c.ClipNorm, 0, math.MaxFloat32}, span{"temperature", c.Temperature, 0, 100},
			span{"kl_min", c.KLMin, -1e6, 0}, span{"kl_max", c.KLMax, 0, 1e9}, span{"ema", c.EMA, 0, 1})
	}
	for _, part := range []interface{ validate() error }{c.AdamConfig, c.EOS, c.Score, c.Guard, c.Truncate} {
		if err == nil {
			err = part.validate()
		}
	}
	if err == nil {
		err = checkCommon(c.Warmup, c.Schedule, c.Precision, c.EMA)
	}
	if err == nil && c.Samples < 2 {
		err = invalid("samples", "%d: a group needs at least 2 responses to be compared", c.Samples)
	}
	return err
}

// groupObjective is what one algorithm adds to the loop below.
type groupObjective interface {
	// judge turns the final scores of an iteration into one advantage for each episode, from the KL per episode too. Episodes of
	// group g are g*samples up to (g+1)*samples. An episode whose advantage is NaN is not learned from; their number is the
	// same in each iteration.
	judge(scores, kl []float64, metrics map[string]float64) (advantages []float64)
	// learned is how many episodes of an iteration are learned from.
	learned() int
	// loss of some episodes, normalised by mass(old), and its gradient with respect to now.
	loss(now, old, ref [][]float64, advantages []float64, metrics map[string]float64, share float64) (grad [][]float64, stats PolicyStats)
	// mass is what the loss is a mean over: episodes or tokens.
	mass(old [][]float64) float64
}

// groupTrainer is the loop round a groupObjective: a unit of work is a chunk of rollouts or one optimizer step.
type groupTrainer struct {
	// AnyKernel lets Load accept a state that was written under another class of kernels.
	AnyKernel bool

	actor
	cfg       GroupConfig
	objective groupObjective
	ids       identity

	// what a saved state holds, besides the policy
	guard
	opt       *model.AdamW
	ema       [][]float32
	scoring   scoring
	iteration int
	unit      int
	batch     batch
	samples   []Sample
}

// newGroups checks the inputs and copies policy and reference. whole is the objective's configuration, for the run's identity.
func newGroups(cfg GroupConfig, whole any, objective groupObjective, policy, reference *model.Transformer, scorer Scorer, prompts Prompts, eos int32) (*groupTrainer, error) {
	shape := policy.Config()
	if reference.Config().Vocab != shape.Vocab {
		return nil, invalid("reference", "policy and reference must share one vocabulary")
	}
	if err := checkPrompts(prompts, cfg.MaxTokens, min(shape.Context, reference.Config().Context), shape.Vocab); err != nil {
		return nil, err
	}
	if cfg.Truncate != nil && int(cfg.Truncate.Token) >= shape.Vocab {
		return nil, invalid("truncate.token", "%d is outside the vocabulary of %d", cfg.Truncate.Token, shape.Vocab)
	}
	if cfg.Minibatch > objective.learned() {
		return nil, invalid("minibatch", "%d is more than the %d episodes that an iteration learns from", cfg.Minibatch, objective.learned())
	}
	how := sampling{cfg.MaxTokens, cfg.Micro, cfg.Seed, weightsFor(cfg.Precision), cfg.Temperature, cfg.Truncate, false}
	t := &groupTrainer{
		actor: newActor(how, cfg.mixed(), policy, reference, scorer, prompts, eos), cfg: cfg, objective: objective,
		opt: cfg.optimizer(cfg.AdamEps, cfg.Decay, cfg.ClipNorm), scoring: scoring{score: cfg.Score, eos: cfg.EOS},
	}
	var err error
	if t.ids, err = identify(whole, policy, reference, nil, scorer, prompts, eos, nil); err != nil {
		return nil, err
	}
	t.same = policy.Digest() == t.ids.Reference
	t.ema = average(cfg.EMA, t.policy)
	return t, nil
}

func (t *groupTrainer) chunks() int { return (t.cfg.episodes() + t.cfg.Chunk - 1) / t.cfg.Chunk }
func (t *groupTrainer) perEpoch() int {
	return (t.objective.learned() + t.cfg.Minibatch - 1) / t.cfg.Minibatch
}
func (t *groupTrainer) units() int { return t.chunks() + t.cfg.Epochs*t.perEpoch() }

// Done says whether all iterations are through.
func (t *groupTrainer) Done() bool { return t.iteration == t.cfg.Iterations }

// Progress counts units of work.
func (t *groupTrainer) Progress() (step, total int) {
	return t.iteration*t.units() + t.unit, t.cfg.Iterations * t.units()
}

// Iteration is the number of rollout batches that are through.
func (t *groupTrainer) Iteration() int { return t.iteration }

// Samples returns the episodes kept for people to read, oldest first.
func (t *groupTrainer) Samples() []Sample { return slices.Clone(t.samples) }

// Policy returns a copy of the policy as trained so far: the averaged weights where there are some, in float32 and at temperature
// 1. After a guard has stopped the run it is the last good one.
func (t *groupTrainer) Policy() *model.Transformer { return finished(t.policy, t.ema) }

func (t *groupTrainer) weights() [][]float32 { return trained(t.ema, t.policy) }

// Step does one unit of work. Metrics says what its figures mean. An error leaves the state of the last unit behind; a *HealthError
// or ErrNotFinite stops the run at its last good weights.
func (t *groupTrainer) Step(ctx context.Context) (map[string]float64, error) {
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
	if t.unit < t.chunks() {
		metrics, err = t.rollout(ctx, t.unit)
	} else {
		metrics, err = t.update(t.unit - t.chunks())
	}
	if err != nil {
		return nil, fmt.Errorf("iteration %d: %w", t.iteration, t.judge(err, t.weights()))
	}
	metrics["iteration"] = float64(t.iteration)
	t.unit++
	if t.unit == t.units() {
		t.iteration, t.unit, t.batch = t.iteration+1, 0, batch{}
	}
	return metrics, nil
}

// rollout samples chunk c of the iteration's episodes; the last one gives them advantages.
func (t *groupTrainer) rollout(ctx context.Context, c int) (map[string]float64, error) {
	if t.iteration == 0 && c == 0 {
		if err := t.checkStart(ctx); err != nil {
			return nil, err
		}
	}
	lo := c * t.cfg.Chunk
	hi := min(lo+t.cfg.Chunk, t.cfg.episodes())
	prompts := make([][]int32, hi-lo)
	for i := range prompts {
		prompts[i] = t.prompt(t.iteration*t.cfg.Prompts + (lo+i)/t.cfg.Samples)
	}
	episodes, err := t.sample(ctx, t.packed(), prompts, t.chunkSeed(t.iteration, c))
	if err != nil {
		return nil, err
	}
	if err := t.annotate(ctx, episodes, nil); err != nil {
		return nil, err
	}
	before := t.batch
	t.batch.episodes = append(t.batch.episodes[:lo:lo], episodes...)
	if hi < t.cfg.episodes() {
		return map[string]float64{}, nil
	}
	metrics, err := t.finish()
	if err != nil {
		t.batch = before
		return nil, err
	}
	return metrics, nil
}

// finish judges the episodes of an iteration and checks their health.
func (t *groupTrainer) finish() (map[string]float64, error) {
	b := &t.batch
	metrics, scores := b.describe(&t.scoring)
	logp, ref := b.rows(logpOf), b.rows(refOf)
	if t.fault == FaultKLSign {
		logp, ref = ref, logp
	}
	kl := KL(logp, ref, KLK1)
	sums := make([]float64, len(kl))
	for i, row := range kl {
		for _, x := range row {
			sums[i] += x
		}
	}
	b.kl = meanRowSum(kl)
	metrics["kl"] = b.kl
	metrics["best_score"] = 0
	for g := range t.cfg.Prompts {
		metrics["best_score"] += slices.Max(scores[g*t.cfg.Samples:(g+1)*t.cfg.Samples]) / float64(t.cfg.Prompts)
	}
	b.each = t.objective.judge(scores, sums, metrics)
	for _, name := range []string{"score", "kl", "reward"} {
		if math.IsNaN(metrics[name]) || math.IsInf(metrics[name], 0) {
			return nil, fmt.Errorf("%w: %s", ErrNotFinite, name)
		}
	}
	if err := t.checkKL(b.kl, t.iteration, t.cfg.KLMin, t.cfg.KLMax); err != nil {
		return nil, err
	}
	t.keep(t.weights(), t.iteration)
	t.samples = remember(t.samples, t.iteration, b.episodes, scores, kl)
	return metrics, nil
}

// minibatch lists the episodes of optimizer step u: each epoch walks through those to be learned from in an order of its own.
func (t *groupTrainer) minibatch(u int) []int {
	var learned []int
	for i, a := range t.batch.each {
		if !math.IsNaN(a) {
			learned = append(learned, i)
		}
	}
	epoch, k := u/t.perEpoch(), u%t.perEpoch()
	rng := rand.New(rand.NewPCG(t.cfg.Seed^streamOrder, uint64(t.iteration)<<16|uint64(epoch)))
	rng.Shuffle(len(learned), func(i, j int) { learned[i], learned[j] = learned[j], learned[i] })
	return learned[k*t.cfg.Minibatch : min((k+1)*t.cfg.Minibatch, len(learned))]
}

// update is optimizer step u of the iteration.
func (t *groupTrainer) update(u int) (map[string]float64, error) {
	defer clock(&t.times.Update)()
	metrics, err := t.gradients(u)
	if err == nil {
		t.reader = nil
		lr := rate(t.cfg.LR, t.cfg.Schedule, t.cfg.Warmup, t.iteration, t.cfg.Iterations)
		metrics["lr"] = lr
		if metrics["grad_norm"], err = t.cfg.step(t.opt, t.policy, t.cfg.AdamEps, lr); err != nil {
			err = fmt.Errorf("%w: policy: %w", ErrNotFinite, err)
		}
	}
	if err != nil {
		t.policy.ZeroGrad()
		return nil, err
	}
	follow(t.ema, t.policy, t.cfg.EMA)
	return metrics, nil
}

// gradients accumulates the gradient of minibatch u.
func (t *groupTrainer) gradients(u int) (map[string]float64, error) {
	var seqs []model.Sequence
	var old, ref [][]float64
	var each []float64
	for _, j := range t.minibatch(u) {
		e := t.batch.episodes[j]
		seqs, old, ref, each = append(seqs, e.seq), append(old, e.logp), append(ref, e.ref), append(each, t.batch.each[j])
	}
	metrics := map[string]float64{}
	total := t.objective.mass(old)
	var stats PolicyStats
	at, drift := 0, 0.0
	for _, part := range parts(seqs, t.cfg.Micro) {
		end := at + len(part)
		pass := t.policy.Forward(t.positions(part), model.WantLogprobs)
		now, o := responses(pass.Logprobs, part), old[at:end]
		share := t.objective.mass(o) / total
		grad, s := t.objective.loss(now, o, ref[at:end], each[at:end], metrics, share)
		pass.Backward(model.Grads{Logprobs: t.narrow(grad, share, part)})
		stats = stats.add(s, share)
		drift = math.Max(drift, largest(now, o))
		at = end
	}
	for name, v := range map[string]float64{"policy_loss": stats.Loss, "clipfrac": stats.ClipFrac, "approxkl": stats.ApproxKL,
		"kl_k3": stats.K3, "ratio_mean": stats.RatioMean, "ratio_max": stats.RatioMax} {
		metrics[name] = v
	}
	return metrics, checkStep(u, drift, stats.RatioMean, t.cfg.Guard, stats.Loss, metrics["kl_loss"])
}

// Save writes the whole state into dir, as one file that appears whole or not at all.
func (t *groupTrainer) Save(dir string) error {
	s := saved{Identity: t.ids, Iteration: t.iteration, Unit: t.unit, Episodes: len(t.batch.episodes), Finished: t.batch.each != nil,
		Samples: t.samples, Moments: t.scoring.moments}
	return t.save(dir, s, t.policy, t.opt, t.ema, t.weights(), t.batch.tensors())
}

// Load takes up a saved state. The trainer must have been made with the same inputs as the one that saved it; otherwise the
// error wraps ErrForeignState and nothing changes.
func (t *groupTrainer) Load(dir string) error {
	s, r, err := readState(dir, t.ids, t.AnyKernel)
	if err != nil {
		return err
	}
	if s.Iteration < 0 || s.Iteration > t.cfg.Iterations || s.Unit < 0 || s.Unit >= t.units() {
		return fmt.Errorf("ppo: load: %w: iteration %d, unit %d", checkpoint.ErrCorrupt, s.Iteration, s.Unit)
	}
	policy, opt := t.policy.Clone(), t.cfg.optimizer(t.cfg.AdamEps, t.cfg.Decay, t.cfg.ClipNorm)
	ema, good := r.shared(s, policy, opt, t.ema != nil, nil)
	b := r.batch(s.Episodes, s.Finished, false)
	if r.err != nil {
		return fmt.Errorf("ppo: load: %w", r.err)
	}
	t.policy, t.opt, t.ema, t.good, t.at, t.batch, t.reader = policy, opt, ema, good, s.GoodAt, b, nil
	t.iteration, t.unit, t.samples, t.scoring.moments = s.Iteration, s.Unit, s.Samples, s.Moments
	return nil
}
