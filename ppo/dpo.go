package ppo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/kernel"
)

// Losses of DPO.
const (
	DPOSigmoid = "sigmoid" // Rafailov et al. 2023, eq. 7; with smoothing that of cDPO (Mitchell 2023)
	DPOIPO     = "ipo"     // Azar et al. 2024, eq. 17: a margin of 1/(2 beta) instead of an ever larger one
)

// DPOConfig says how a policy is trained by direct preference optimisation (Rafailov et al. 2023): on pairs of responses, without a
// reward model and without sampling.
type DPOConfig struct {
	Epochs int `json:"epochs"` // passes over the pairs
	Batch  int `json:"batch"`  // pairs of an optimizer step

	Beta      float64 `json:"beta"`                // strength of the hold to the reference (the paper: 0.1)
	Loss      string  `json:"loss,omitempty"`      // DPOSigmoid (also "") or DPOIPO
	Smoothing float64 `json:"smoothing,omitempty"` // share of pairs whose label is taken to be wrong, 0 to 0.5 (cDPO); sigmoid only

	LR       float64 `json:"lr"`
	Warmup   int     `json:"warmup"`    // optimizer steps of linear warm-up from a tenth of the rate
	Schedule string  `json:"schedule"`  // "constant", "linear" (to 0) or "cosine" (to a tenth)
	AdamEps  float64 `json:"adam_eps"`  // Adam's epsilon
	Decay    float64 `json:"decay"`     // AdamW's weight decay
	ClipNorm float64 `json:"clip_norm"` // largest gradient norm; 0 = no clipping
	AdamConfig

	Precision string  `json:"precision,omitempty"` // model.PrecisionFloat32 (also "") or model.PrecisionMixed
	EMA       float64 `json:"ema"`                 // decay of the averaged weights per optimizer step; 0 = none
	Seed      uint64  `json:"seed"`                // of the order
	Micro     int     `json:"micro_tokens"`
}

// DefaultDPO suits small models.
func DefaultDPO() DPOConfig {
	return DPOConfig{Epochs: 1, Batch: 32, Beta: 0.1, LR: 5e-4, Schedule: "linear", AdamEps: 1e-5, ClipNorm: 1, Micro: 8192}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c DPOConfig) Validate() error {
	err := positive(count{"epochs", c.Epochs}, count{"batch", c.Batch}, count{"micro_tokens", c.Micro})
	if err == nil {
		err = within(span{"beta", c.Beta, 1e-6, 1e6}, span{"smoothing", c.Smoothing, 0, 0.5}, span{"lr", c.LR, 0, 1}, span{"adam_eps", c.AdamEps, 1e-30, 1},
			span{"decay", c.Decay, 0, 1}, span{"clip_norm", c.ClipNorm, 0, math.MaxFloat32}, span{"ema", c.EMA, 0, 1})
	}
	if err == nil {
		err = c.AdamConfig.validate()
	}
	if err == nil {
		err = checkCommon(c.Warmup, c.Schedule, c.Precision, c.EMA)
	}
	switch {
	case err != nil:
		return err
	case c.Loss != "" && c.Loss != DPOSigmoid && c.Loss != DPOIPO:
		return invalid("loss", "%q is none of sigmoid, ipo", c.Loss)
	case c.Loss == DPOIPO && c.Smoothing > 0:
		return invalid("smoothing", "is of the sigmoid loss only")
	}
	return nil
}

// DPOStats describes a batch of pairs. Implicit rewards are beta*(log pi - log ref), summed over the response's tokens.
type DPOStats struct {
	Loss             float64
	Accuracy         float64 // share of pairs whose chosen response has the higher implicit reward; a tie counts half
	Margin           float64 // mean implicit reward of the chosen minus that of the rejected
	Chosen, Rejected float64 // mean implicit rewards
	Pairs            int
}

// DPOLoss is the mean loss over pairs and its gradient with respect to the policy's log-probabilities of whole responses, chosen and
// rejected, given those of the reference; all in nats. With h = (chosen - refChosen) - (rejected - refRejected):
//
//	sigmoid  -(1-smoothing)*log sigma(beta*h) - smoothing*log sigma(-beta*h)
//	ipo      (h - 1/(2*beta))^2
func DPOLoss(chosen, rejected, refChosen, refRejected []float64, c DPOConfig) (loss float64, dChosen, dRejected []float64, stats DPOStats) {
	n := len(chosen)
	dChosen, dRejected = make([]float64, n), make([]float64, n)
	stats.Pairs = n
	for i := range chosen {
		inv := 1 / float64(n)
		up, down := chosen[i]-refChosen[i], rejected[i]-refRejected[i]
		h := up - down
		var l, g float64 // g = dl/dh
		if c.Loss == DPOIPO {
			d := h - 1/(2*c.Beta)
			l, g = d*d, 2*d
		} else {
			x := c.Beta * h
			l = (1-c.Smoothing)*softplus(-x) + c.Smoothing*softplus(x)
			g = c.Beta * (c.Smoothing*sigmoid(x) - (1-c.Smoothing)*sigmoid(-x))
		}
		loss += l * inv
		dChosen[i], dRejected[i] = g*inv, -g*inv
		switch {
		case h > 0:
			stats.Accuracy += inv
		case h == 0:
			stats.Accuracy += inv / 2
		}
		stats.Chosen += c.Beta * up * inv
		stats.Rejected += c.Beta * down * inv
	}
	stats.Loss, stats.Margin = loss, stats.Chosen-stats.Rejected
	return loss, dChosen, dRejected, stats
}

// softplus is log(1 + e^x) = -log sigma(-x).
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func sigmoid(x float64) float64 {
	if x < 0 {
		return math.Exp(x) / (1 + math.Exp(x))
	}
	return 1 / (1 + math.Exp(-x))
}

// Pair is two responses to one prompt; the chosen one is better.
type Pair struct {
	Chosen   model.Sequence `json:"chosen"`
	Rejected model.Sequence `json:"rejected"`
}

// DPO trains a policy on pairs. A unit of work (Step) is a batch of pairs through the reference, as long as not all have been, then
// an optimizer step; after each epoch a unit measures the held-out pairs. It satisfies model/run's Trainer.
type DPO struct {
	// AnyKernel lets Load accept a state that was written under another class of kernels.
	AnyKernel bool

	cfg          DPOConfig
	reference    *model.Transformer // packed: it is only read
	train, valid []Pair
	ids          identity

	// what a saved state holds
	guard
	policy *model.Transformer
	opt    *model.AdamW
	ema    [][]float32
	refs   []float64 // log-probabilities of the reference: chosen and rejected of each pair, train first, as far as they are known
	unit   int
}

// NewDPO makes a trainer. policy is what training starts from and reference what it is held to; they may be one model, and are
// copied. valid may be empty.
func NewDPO(cfg DPOConfig, policy, reference *model.Transformer, train, valid []Pair) (*DPO, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	switch {
	case reference.Config().Vocab != policy.Config().Vocab:
		return nil, invalid("reference", "policy and reference must share one vocabulary")
	case len(train) == 0:
		return nil, invalid("pairs", "there are none to learn from")
	case cfg.Batch > len(train):
		return nil, invalid("batch", "%d is more than the %d pairs", cfg.Batch, len(train))
	}
	t := &DPO{cfg: cfg, policy: policy.Clone(), reference: reference.PackedCopy(weightsFor(cfg.Precision)), train: train, valid: valid,
		opt: cfg.optimizer(cfg.AdamEps, cfg.Decay, cfg.ClipNorm)}
	for i, p := range t.all() {
		for name, s := range map[string]model.Sequence{"chosen": p.Chosen, "rejected": p.Rejected} {
			if err := policy.Check(s, model.WantLogprobs); err != nil {
				return nil, invalid("pairs", "pair %d, %s: %v", i, name, err)
			}
			if s.Start == len(s.IDs) {
				return nil, invalid("pairs", "pair %d, %s: the response is empty", i, name)
			}
			if err := reference.Check(s, model.WantLogprobs); err != nil {
				return nil, invalid("reference", "pair %d, %s: %v", i, name, err)
			}
		}
	}
	t.policy.SetMixed(cfg.Precision == model.PrecisionMixed)
	t.ema = average(cfg.EMA, t.policy)
	c, err := json.Marshal(cfg)
	if err != nil {
		return nil, invalid("config", "%v", err)
	}
	shape, err := json.Marshal(policy.Config())
	if err != nil {
		return nil, invalid("policy", "%v", err)
	}
	t.ids = identity{Config: string(c), Shape: string(shape), Reference: reference.Digest(), Pairs: PairsDigest(train) + " " + PairsDigest(valid), Kernel: kernel.Class()}
	return t, nil
}

// PairsDigest names a list of pairs.
func PairsDigest(pairs []Pair) string {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(pairs); err != nil {
		panic(err) // numbers only
	}
	return hex.EncodeToString(h.Sum(nil))
}

// all lists the pairs, those of training first.
func (t *DPO) all() []Pair { return append(t.train[:len(t.train):len(t.train)], t.valid...) }

func (t *DPO) steps() int { return (len(t.train) + t.cfg.Batch - 1) / t.cfg.Batch } // of an epoch
func (t *DPO) ahead() int { return (len(t.train) + len(t.valid) + t.cfg.Batch - 1) / t.cfg.Batch }

// epoch is the number of units of an epoch.
func (t *DPO) epoch() int {
	if len(t.valid) > 0 {
		return t.steps() + 1
	}
	return t.steps()
}

// Progress counts units of work.
func (t *DPO) Progress() (step, total int) { return t.unit, t.ahead() + t.cfg.Epochs*t.epoch() }

// Done says whether all epochs are through.
func (t *DPO) Done() bool { step, total := t.Progress(); return step == total }

// Policy returns a copy of the policy as trained so far, in float32: the averaged weights where there are some. After a guard has
// stopped the run it is the last good one.
func (t *DPO) Policy() *model.Transformer { return finished(t.policy, t.ema) }

func (t *DPO) weights() [][]float32 { return trained(t.ema, t.policy) }

// Step does one unit of work. Metrics says what its figures mean. An error leaves the state of the last unit behind; ErrNotFinite
// or a *HealthError stops the run at its last good weights, those before the epoch.
func (t *DPO) Step(ctx context.Context) (map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.Done() {
		return nil, errAfterLast
	}
	if t.stopped != nil {
		return nil, fmt.Errorf("%w: %w", ErrStopped, t.stopped)
	}
	u := t.unit - t.ahead()
	if u < 0 {
		lo := t.unit * t.cfg.Batch
		t.refs = append(t.refs, t.reads(t.reference, t.all()[lo:min(lo+t.cfg.Batch, len(t.train)+len(t.valid))])...)
		t.unit++
		return map[string]float64{}, finite(t.refs[2*lo:])
	}
	epoch, k := u/t.epoch(), u%t.epoch()
	if k == 0 {
		t.keep(t.weights(), epoch)
	}
	var metrics map[string]float64
	var err error
	if k < t.steps() {
		metrics, err = t.update(epoch, k)
	} else {
		metrics, err = t.measure()
	}
	if err != nil {
		t.policy.ZeroGrad()
		return nil, fmt.Errorf("epoch %d, step %d: %w", epoch, k, t.judge(err, t.weights()))
	}
	metrics["epoch"] = float64(epoch)
	t.unit++
	return metrics, nil
}

func finite(x []float64) error {
	for _, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: a log-probability of the reference", ErrNotFinite)
		}
	}
	return nil
}

// reads gives the log-probability of each response, chosen and rejected in turn.
func (t *DPO) reads(m *model.Transformer, pairs []Pair) (sums []float64) {
	for _, part := range parts(sequences(pairs), t.cfg.Micro) {
		for _, row := range m.Score(part, model.WantLogprobs).Logprobs {
			sums = append(sums, total(row))
		}
	}
	return sums
}

func sequences(pairs []Pair) (seqs []model.Sequence) {
	for _, p := range pairs {
		seqs = append(seqs, p.Chosen, p.Rejected)
	}
	return seqs
}

func total(row []float32) (s float64) {
	for _, x := range row {
		s += float64(x)
	}
	return s
}

// split takes apart what reads gives.
func split(sums []float64) (chosen, rejected []float64) {
	for i := 0; i < len(sums); i += 2 {
		chosen, rejected = append(chosen, sums[i]), append(rejected, sums[i+1])
	}
	return chosen, rejected
}

// update is optimizer step k of an epoch, whose order is its own. A pair's loss needs both responses, so the log-probabilities are
// read before any gradient is known where the batch does not fit one pass.
func (t *DPO) update(epoch, k int) (map[string]float64, error) {
	order := rand.New(rand.NewPCG(t.cfg.Seed^streamOrder, uint64(epoch))).Perm(len(t.train))
	var pairs []Pair
	var refs []float64
	for _, j := range order[k*t.cfg.Batch : min((k+1)*t.cfg.Batch, len(t.train))] {
		pairs, refs = append(pairs, t.train[j]), append(refs, t.refs[2*j], t.refs[2*j+1])
	}
	all := parts(sequences(pairs), t.cfg.Micro)
	var pass *model.Pass
	var sums []float64
	if len(all) == 1 {
		pass = t.policy.Forward(all[0], model.WantLogprobs)
		for _, row := range pass.Logprobs {
			sums = append(sums, total(row))
		}
	} else {
		sums = t.reads(t.policy, pairs)
	}
	chosen, rejected := split(sums)
	refChosen, refRejected := split(refs)
	_, up, down, stats := DPOLoss(chosen, rejected, refChosen, refRejected, t.cfg)
	if math.IsNaN(stats.Loss) || math.IsInf(stats.Loss, 0) {
		return nil, fmt.Errorf("%w: loss", ErrNotFinite)
	}
	if epoch == 0 && k == 0 && t.policy.Digest() == t.ids.Reference {
		if d := largest([][]float64{sums}, [][]float64{refs}); !(d <= samplerDrift) {
			return nil, &HealthError{"reference", d, "the policy is still its reference, and its log-probabilities differ from those of the reference"}
		}
	}
	at := 0
	for _, part := range all {
		if pass == nil {
			pass = t.policy.Forward(part, model.WantLogprobs)
		}
		grads := make([][]float32, len(part))
		for i, s := range part {
			g := up[(at+i)/2]
			if (at+i)%2 == 1 {
				g = down[(at+i)/2]
			}
			grads[i] = make([]float32, len(s.IDs)-s.Start)
			for j := range grads[i] {
				grads[i][j] = float32(g)
			}
		}
		pass.Backward(model.Grads{Logprobs: grads})
		pass = nil
		at += len(part)
	}
	step := epoch*t.steps() + k
	lr := rate(t.cfg.LR, t.cfg.Schedule, t.cfg.Warmup, step, t.cfg.Epochs*t.steps())
	norm, err := t.cfg.step(t.opt, t.policy, t.cfg.AdamEps, lr)
	if err != nil {
		return nil, fmt.Errorf("%w: policy: %w", ErrNotFinite, err)
	}
	follow(t.ema, t.policy, t.cfg.EMA)
	return map[string]float64{"loss": stats.Loss, "accuracy": stats.Accuracy, "margin": stats.Margin, "chosen_reward": stats.Chosen,
		"rejected_reward": stats.Rejected, "grad_norm": norm, "lr": lr}, nil
}

// measure looks at the held-out pairs, with the weights that Policy returns.
func (t *DPO) measure() (map[string]float64, error) {
	m := t.policy
	if t.ema != nil {
		m = t.Policy()
	}
	chosen, rejected := split(t.reads(m, t.valid))
	refChosen, refRejected := split(t.refs[2*len(t.train):])
	_, _, _, s := DPOLoss(chosen, rejected, refChosen, refRejected, t.cfg)
	if math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) {
		return nil, fmt.Errorf("%w: held-out loss", ErrNotFinite)
	}
	return map[string]float64{"heldout_loss": s.Loss, "heldout_accuracy": s.Accuracy, "heldout_margin": s.Margin}, nil
}

// Save writes the whole state into dir, as one file that appears whole or not at all.
func (t *DPO) Save(dir string) error {
	return t.save(dir, saved{Identity: t.ids, Unit: t.unit}, t.policy, t.opt, t.ema, t.weights(), []checkpoint.Tensor{f64("refs", t.refs)})
}

// Load takes up a saved state. The trainer must have been made with the same inputs as the one that saved it; otherwise the
// error wraps ErrForeignState and nothing changes.
func (t *DPO) Load(dir string) error {
	s, r, err := readState(dir, t.ids, t.AnyKernel)
	if err != nil {
		return err
	}
	if _, total := t.Progress(); s.Unit < 0 || s.Unit > total {
		return fmt.Errorf("ppo: load: %w: unit %d of %d", checkpoint.ErrCorrupt, s.Unit, total)
	}
	policy, opt := t.policy.Clone(), t.cfg.optimizer(t.cfg.AdamEps, t.cfg.Decay, t.cfg.ClipNorm)
	ema, good := r.shared(s, policy, opt, t.ema != nil, nil)
	refs := r.f64("refs", 2*min(s.Unit*t.cfg.Batch, len(t.train)+len(t.valid)))
	if r.err != nil {
		return fmt.Errorf("ppo: load: %w", r.err)
	}
	t.policy, t.opt, t.ema, t.good, t.at, t.refs, t.unit = policy, opt, ema, good, s.GoodAt, refs, s.Unit
	return nil
}
