package train

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/kernel"
)

// stateFile is the one file of a saved run.
const stateFile = "state.safetensors"

// identity says which run a state belongs to.
type identity struct {
	Config string `json:"config"`          // JSON of Config
	Start  string `json:"start"`           // digest of the model that training starts from
	Data   string `json:"data"`            // digest of the training source
	Valid  string `json:"valid,omitempty"` // digest of the held-out source, where the run's course depends on it
	Kernel string `json:"kernel"`          // class of kernels: the bits of a run depend on it
}

// saved is the part of a state that is not tensors.
type saved struct {
	Identity identity `json:"identity"`
	Step     int      `json:"step"`
	OptStep  int      `json:"opt_step"`
	Tokens   int      `json:"tokens"`
	Watch    watch    `json:"watch,omitzero"`
}

// Prefixes of the tensors of a state, before the names of the trained tensors.
const (
	prefixWeight = "w."
	prefixFirst  = "m." // AdamW's first moment
	prefixSecond = "v."
	prefixMean   = "e." // average
	prefixBest   = "b." // of the lowest held-out loss
)

func (t *Trainer) identity() (identity, error) {
	c, err := json.Marshal(t.cfg)
	id := identity{Config: string(c), Start: t.origin, Data: t.dataDigest, Kernel: kernel.Class()}
	if t.cfg.EvalEvery > 0 {
		id.Valid = t.validDigest
	}
	return id, err
}

// Save writes the whole state into the folder dir, as one file that appears whole or not at all: the trained tensors,
// AdamW's moments, the average, the best weights and what the run remembers. Frozen tensors are not in it, since they are
// those that training starts from.
func (t *Trainer) Save(dir string) error {
	defer runtime.KeepAlive(t) // weights may be mapped pages that go with the model
	id, err := t.identity()
	if err != nil {
		return fmt.Errorf("train: save: %w", err)
	}
	s := saved{Identity: id, Step: t.step, Tokens: t.tokens, Watch: t.watch}
	var m1, m2 [][]float32
	s.OptStep, m1, m2 = t.opt.State()
	var tensors []checkpoint.Tensor
	add := func(name, dtype string, data []float32) {
		tensors = append(tensors, checkpoint.Tensor{Name: name, DType: dtype, Shape: []int{len(data)}, F32: data})
	}
	for i, p := range t.m.Trainable() {
		add(prefixWeight+p.Name, dtypeOf(p), p.Float32())
		for _, x := range []struct {
			prefix string
			dtype  string
			data   [][]float32
		}{{prefixFirst, "F32", m1}, {prefixSecond, "F32", m2}, {prefixMean, "F32", t.ema}, {prefixBest, dtypeOf(p), t.watch.best}} {
			if x.data != nil {
				add(x.prefix+p.Name, x.dtype, x.data[i])
			}
		}
	}
	if err := checkpoint.WriteState(filepath.Join(dir, stateFile), s, tensors); err != nil {
		return fmt.Errorf("train: save: %w", err)
	}
	return nil
}

// dtypeOf is the type in which a tensor's weights are written without loss.
func dtypeOf(p *model.Param) string {
	if p.Half != nil {
		return "BF16"
	}
	return "F32"
}

// Load takes up a saved state. The trainer must have been made with the same inputs as the one that saved it; otherwise the
// error wraps ErrForeignState and nothing changes.
func (t *Trainer) Load(dir string) error {
	var s saved
	all, err := checkpoint.ReadState(filepath.Join(dir, stateFile), &s)
	if err != nil {
		return fmt.Errorf("train: load: %w", err)
	}
	id, err := t.identity()
	if err != nil {
		return fmt.Errorf("train: load: %w", err)
	}
	if t.AnyKernel {
		s.Identity.Kernel = id.Kernel
	}
	for _, f := range []struct{ name, a, b string }{
		{"configuration", s.Identity.Config, id.Config}, {"starting model", s.Identity.Start, id.Start},
		{"data", s.Identity.Data, id.Data}, {"held-out data", s.Identity.Valid, id.Valid},
		{"class of kernels", s.Identity.Kernel, id.Kernel},
	} {
		if f.a != f.b {
			return fmt.Errorf("%w: %s: the state has %.800s, this run %.800s", ErrForeignState, f.name, f.a, f.b)
		}
	}
	if s.Step < 0 || s.Step >= len(t.plan) || s.OptStep != s.Step {
		return fmt.Errorf("train: load: %w: step %d of %d", checkpoint.ErrCorrupt, s.Step, len(t.plan)-1)
	}
	params := t.m.Trainable()
	take := func(prefix string, there bool) (list [][]float32) {
		for _, p := range params {
			if !there {
				return nil
			}
			x, ok := all[prefix+p.Name]
			if (!ok || len(x.F32) != p.Len()) && err == nil {
				err = fmt.Errorf("train: load: %w: tensor %s", checkpoint.ErrCorrupt, prefix+p.Name)
			}
			list = append(list, x.F32)
		}
		return list
	}
	w, m1, m2 := take(prefixWeight, true), take(prefixFirst, s.OptStep > 0), take(prefixSecond, s.OptStep > 0)
	ema, best := take(prefixMean, t.ema != nil), take(prefixBest, t.cfg.KeepBest && s.Watch.BestStep > 0)
	if err != nil {
		return err
	}
	for i, p := range params {
		if p.Half != nil {
			kernel.Narrow(p.Half, w[i])
			continue
		}
		copy(p.Data, w[i])
	}
	t.m.ZeroGrad()
	t.opt.SetState(s.OptStep, m1, m2)
	t.step, t.tokens, t.ema, t.watch = s.Step, s.Tokens, ema, s.Watch
	t.watch.best = best
	return nil
}
