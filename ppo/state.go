package ppo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/kernel"
)

// stateFile is the one file of a saved run.
const stateFile = "state.safetensors"

// identity says which run a state belongs to.
type identity struct {
	Config    string `json:"config"`    // JSON of Config
	Shape     string `json:"shape"`     // of the policy and the critic
	Reference string `json:"reference"` // digest of the weights the KL is measured to
	Scorer    string `json:"scorer"`    // digest of the reward model and its normalisation
	Prompts   string `json:"prompts"`
	Pairs     string `json:"pairs,omitempty"` // of DPO: those of training and those held out
	Ptx       string `json:"ptx"`
	EOS       int32  `json:"eos"`
	Kernel    string `json:"kernel"` // class of kernels: the bits of a run depend on it
}

func identify(cfg any, policy, reference, value *model.Transformer, scorer Scorer, prompts Prompts, eos int32, ptx Ptx) (identity, error) {
	c, err := json.Marshal(cfg)
	if err != nil {
		return identity{}, invalid("config", "%v", err)
	}
	shapes := []any{policy.Config()}
	if value != nil {
		shapes = append(shapes, value.Config(), value.NumParams())
	}
	shape, err := json.Marshal(shapes)
	if err != nil {
		return identity{}, invalid("policy", "%v", err)
	}
	h := sha256.New()
	for i := range prompts.Len() {
		p := prompts.Prompt(uint64(i))
		binary.Write(h, binary.LittleEndian, int32(len(p))) // a hash takes all it is given
		binary.Write(h, binary.LittleEndian, p)
	}
	id := identity{
		Config: string(c), Shape: string(shape), Reference: reference.Digest(), Scorer: scorer.Digest(),
		Prompts: hex.EncodeToString(h.Sum(nil)), EOS: eos, Kernel: kernel.Class(),
	}
	if ptx != nil {
		id.Ptx = ptx.Digest()
	}
	return id, nil
}

// differs names the first thing in which two runs differ, "" where they are the same.
func (a identity) differs(b identity) string {
	for _, f := range []struct{ name, a, b string }{
		{"configuration", a.Config, b.Config}, {"model shapes", a.Shape, b.Shape}, {"reference policy", a.Reference, b.Reference},
		{"reward model", a.Scorer, b.Scorer}, {"prompt set", a.Prompts, b.Prompts}, {"set of pairs", a.Pairs, b.Pairs}, {"pretraining text", a.Ptx, b.Ptx},
		{"end token", fmt.Sprint(a.EOS), fmt.Sprint(b.EOS)}, {"class of kernels", a.Kernel, b.Kernel},
	} {
		if f.a != f.b {
			return fmt.Sprintf("%s: the state has %.80s, this run %.80s", f.name, f.a, f.b)
		}
	}
	return ""
}

// saved is the part of a state that is not tensors.
type saved struct {
	Identity   identity `json:"identity"`
	Iteration  int      `json:"iteration"`
	Unit       int      `json:"unit"`
	KLCoef     float64  `json:"kl_coef"`
	PolicyStep int      `json:"policy_step"`
	ValueStep  int      `json:"value_step"`
	Episodes   int      `json:"episodes"`
	Finished   bool     `json:"finished"` // the batch has its advantages
	Samples    []Sample `json:"samples"`
	PtxCoef    float64  `json:"ptx_coef,omitempty"`
	Moments    moments  `json:"moments,omitzero"`
	Enough     bool     `json:"enough,omitempty"`
	GoodAt     int      `json:"good_at,omitempty"`
}

// Save writes the whole state into dir, as one file that appears whole or not at all.
func (t *Trainer) Save(dir string) error {
	s := saved{
		PtxCoef: t.ptxCoef, Moments: t.scoring.moments, Enough: t.enough,
		Identity: t.ids, Iteration: t.iteration, Unit: t.unit, KLCoef: t.control.Coef(),
		Episodes: len(t.batch.episodes), Finished: t.batch.advantages != nil, Samples: t.samples,
	}
	own := t.batch.tensors()
	if t.value != nil {
		own, s.ValueStep = modelTensors(own, "value", t.value, t.valueOpt)
	}
	return t.save(dir, s, t.policy, t.policyOpt, t.ema, t.weights(), own)
}

// save writes what every trainer has, the policy with its moments and averages and the last good weights, and what is a trainer's
// own. A run that was stopped is not saved.
func (g *guard) save(dir string, s saved, policy *model.Transformer, opt *model.AdamW, ema, now [][]float32, own []checkpoint.Tensor) error {
	defer runtime.KeepAlive(g) // it is part of the trainer: weights may be mapped pages that go with their model
	if g.stopped != nil {
		return fmt.Errorf("%w: %w", ErrStopped, g.stopped)
	}
	var tensors []checkpoint.Tensor
	tensors, s.PolicyStep = modelTensors(tensors, "policy", policy, opt)
	s.GoodAt = g.at
	tensors = append(tensors, averageTensors(policy, ema)...)
	tensors = append(tensors, g.goodTensors(now)...)
	if err := checkpoint.WriteState(filepath.Join(dir, stateFile), s, append(tensors, own...)); err != nil {
		return fmt.Errorf("ppo: save: %w", err)
	}
	return nil
}

// Load takes up a saved state. The trainer must have been made with the same inputs as the one that saved it; otherwise the
// error wraps ErrForeignState and nothing changes.
func (t *Trainer) Load(dir string) error {
	s, r, err := readState(dir, t.ids, t.AnyKernel)
	if err != nil {
		return err
	}
	if s.Iteration < 0 || s.Iteration > t.cfg.Iterations || s.Unit < 0 || s.Unit >= t.cfg.chunks()+t.cfg.updates() {
		return fmt.Errorf("ppo: load: %w: iteration %d, unit %d", checkpoint.ErrCorrupt, s.Iteration, s.Unit)
	}
	policy, policyOpt := t.policy.Clone(), newOptimizer(t.cfg)
	value, valueOpt := t.value, newOptimizer(t.cfg)
	if value != nil {
		value = value.Clone()
		r.model("value", value, valueOpt, s.ValueStep)
	}
	ema, good := r.shared(s, policy, policyOpt, t.ema != nil, value)
	b := r.batch(s.Episodes, s.Finished, true)
	if r.err != nil {
		return fmt.Errorf("ppo: load: %w", r.err)
	}
	t.policy, t.policyOpt, t.value, t.valueOpt, t.ema, t.batch = policy, policyOpt, value, valueOpt, ema, b
	t.reader = nil
	t.iteration, t.unit, t.samples = s.Iteration, s.Unit, s.Samples
	t.control.Restore(s.KLCoef)
	t.good, t.at, t.ptxCoef, t.scoring.moments, t.enough = good, s.GoodAt, s.PtxCoef, s.Moments, s.Enough
	return nil
}

// readState reads a state that belongs to the run ids.
func readState(dir string, ids identity, anyKernel bool) (s saved, r tensorReader, err error) {
	if r.all, err = checkpoint.ReadState(filepath.Join(dir, stateFile), &s); err != nil {
		return s, r, fmt.Errorf("ppo: load: %w", err)
	}
	if anyKernel {
		s.Identity.Kernel = ids.Kernel
	}
	if d := s.Identity.differs(ids); d != "" {
		return s, r, fmt.Errorf("%w: %s", ErrForeignState, d)
	}
	return s, r, nil
}

// modelTensors adds weights and moments, and tells how many steps the optimizer has taken.
func modelTensors(to []checkpoint.Tensor, prefix string, m *model.Transformer, o *model.AdamW) ([]checkpoint.Tensor, int) {
	step, m1, m2 := o.State()
	for i, p := range m.Params() {
		to = append(to, f32(prefix+".w."+p.Name, p.Data))
		if step > 0 {
			to = append(to, f32(prefix+".m."+p.Name, m1[i]), f32(prefix+".v."+p.Name, m2[i]))
		}
	}
	return to, step
}

func averageTensors(m *model.Transformer, ema [][]float32) (to []checkpoint.Tensor) {
	for i, p := range m.Params() {
		if ema != nil {
			to = append(to, f32("ema.w."+p.Name, ema[i]))
		}
	}
	return to
}

// goodTensors are the last good weights, where they are not those in training.
func (g *guard) goodTensors(now [][]float32) (to []checkpoint.Tensor) {
	if g.good == nil || sameWeights(g.good, now) {
		return nil
	}
	for i, w := range g.good {
		to = append(to, f32(fmt.Sprintf("good.%d", i), w))
	}
	return to
}

func f32(name string, data []float32) checkpoint.Tensor {
	return checkpoint.Tensor{Name: name, DType: "F32", Shape: []int{len(data)}, F32: data}
}

func f64(name string, data []float64) checkpoint.Tensor {
	return checkpoint.Tensor{Name: name, DType: "F64", Shape: []int{len(data)}, F64: data}
}

func i64(name string, data []int64) checkpoint.Tensor {
	return checkpoint.Tensor{Name: name, DType: "I64", Shape: []int{len(data)}, I64: data}
}

// tensors packs a batch: all rows one after the other, with the lengths beside them.
func (b batch) tensors() []checkpoint.Tensor {
	if len(b.episodes) == 0 {
		return nil
	}
	var ids, index []int64 // index: [episode] tokens, start, ended
	var scores []float64
	for _, e := range b.episodes {
		ended := int64(0)
		if e.ended {
			ended = 1
		}
		index = append(index, int64(len(e.seq.IDs)), int64(e.seq.Start), ended)
		for _, id := range e.seq.IDs {
			ids = append(ids, int64(id))
		}
		scores = append(scores, e.score)
	}
	out := []checkpoint.Tensor{
		i64("batch.index", index), i64("batch.ids", ids), f64("batch.scores", scores),
		f64("batch.logp", flat(b.rows(logpOf))), f64("batch.ref", flat(b.rows(refOf))),
	}
	if values := flat(b.rows(valueOf)); len(values) > 0 {
		out = append(out, f64("batch.value", values))
	}
	if b.each != nil {
		out = append(out, f64("batch.each", b.each))
	}
	if b.advantages != nil {
		out = append(out, f64("batch.rewards", flat(b.rewards)), f64("batch.advantages", flat(b.advantages)), f64("batch.returns", flat(b.returns)))
	}
	return out
}

func flat(rows [][]float64) []float64 {
	out := make([]float64, 0, Count(rows))
	for _, row := range rows {
		out = append(out, row...)
	}
	return out
}

// tensorReader takes tensors out of a state and remembers the first thing that is not as it should be.
type tensorReader struct {
	all map[string]checkpoint.Tensor
	err error
}

func (r *tensorReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{checkpoint.ErrCorrupt}, args...)...)
	}
}

func (r *tensorReader) f32(name string, n int) []float32 {
	t, ok := r.all[name]
	if !ok || len(t.F32) != n {
		r.fail("tensor %s: %d elements instead of %d", name, len(t.F32), n)
		return make([]float32, n)
	}
	return t.F32
}

func (r *tensorReader) f64(name string, n int) []float64 {
	t, ok := r.all[name]
	if !ok || len(t.F64) != n {
		r.fail("tensor %s: %d elements instead of %d", name, len(t.F64), n)
		return make([]float64, n)
	}
	return t.F64
}

func (r *tensorReader) i64(name string, n int) []int64 {
	t, ok := r.all[name]
	if !ok || len(t.I64) != n {
		r.fail("tensor %s: %d elements instead of %d", name, len(t.I64), n)
		return make([]int64, n)
	}
	return t.I64
}

func (r *tensorReader) model(prefix string, m *model.Transformer, o *model.AdamW, step int) {
	var m1, m2 [][]float32
	for _, p := range m.Params() {
		copy(p.Data, r.f32(prefix+".w."+p.Name, len(p.Data)))
		if step > 0 {
			m1 = append(m1, r.f32(prefix+".m."+p.Name, len(p.Data)))
			m2 = append(m2, r.f32(prefix+".v."+p.Name, len(p.Data)))
		}
	}
	if step > 0 && r.err == nil {
		o.SetState(step, m1, m2)
	}
}

// shared reads what every trainer has into policy and opt, whose state they become, and returns the averages and the last good
// weights. value is the critic that was read before it, nil where there is none.
func (r *tensorReader) shared(s saved, policy *model.Transformer, opt *model.AdamW, averaged bool, value *model.Transformer) (ema, good [][]float32) {
	r.model("policy", policy, opt, s.PolicyStep)
	ema = r.average(policy, averaged)
	return ema, r.good(trained(ema, policy, value))
}

// average reads averaged weights, where there are any.
func (r *tensorReader) average(m *model.Transformer, wanted bool) (ema [][]float32) {
	for _, p := range m.Params() {
		if wanted {
			ema = append(ema, r.f32("ema.w."+p.Name, len(p.Data)))
		}
	}
	return ema
}

// good reads the last good weights: a copy of those in training where the state has no others.
func (r *tensorReader) good(now [][]float32) [][]float32 {
	_, apart := r.all["good.0"]
	good := make([][]float32, len(now))
	for i, w := range now {
		if apart {
			good[i] = r.f32(fmt.Sprintf("good.%d", i), len(w))
		} else {
			good[i] = slices.Clone(w)
		}
	}
	return good
}

// batch reads episodes, with values where there is a critic. finished says that advantages are there: of tokens with a critic, of
// episodes without.
func (r *tensorReader) batch(episodes int, finished, critic bool) (b batch) {
	if episodes == 0 || r.err != nil {
		return b
	}
	index := r.i64("batch.index", 3*episodes)
	tokens, answers := 0, 0
	for i := range episodes {
		n, start := int(index[3*i]), int(index[3*i+1])
		if start < 1 || start > n {
			r.fail("episode %d starts at %d of %d", i, start, n)
			return b
		}
		tokens, answers = tokens+n, answers+n-start
	}
	ids := r.i64("batch.ids", tokens)
	scores := r.f64("batch.scores", episodes)
	logp, ref := r.f64("batch.logp", answers), r.f64("batch.ref", answers)
	var value, rewards, advantages, returns []float64
	if critic {
		value = r.f64("batch.value", answers)
	} else if finished {
		b.each = r.f64("batch.each", episodes)
	}
	if finished && critic {
		rewards, advantages, returns = r.f64("batch.rewards", answers), r.f64("batch.advantages", answers), r.f64("batch.returns", answers)
	}
	take := func(from *[]float64, n int) []float64 {
		row := (*from)[:n:n]
		*from = (*from)[n:]
		return row
	}
	for i := range episodes {
		n, start := int(index[3*i]), int(index[3*i+1])
		e := episode{seq: model.Sequence{IDs: make([]int32, n), Start: start}, ended: index[3*i+2] == 1, score: scores[i]}
		for j := range n {
			e.seq.IDs[j] = int32(ids[j])
		}
		ids = ids[n:]
		e.logp, e.ref = take(&logp, n-start), take(&ref, n-start)
		if critic {
			e.value = take(&value, n-start)
		}
		b.episodes = append(b.episodes, e)
		if finished && critic {
			b.rewards = append(b.rewards, take(&rewards, n-start))
			b.advantages = append(b.advantages, take(&advantages, n-start))
			b.returns = append(b.returns, take(&returns, n-start))
		}
	}
	if finished {
		b.kl = meanRowSum(KL(b.rows(logpOf), b.rows(refOf), KLK1))
	}
	return b
}
