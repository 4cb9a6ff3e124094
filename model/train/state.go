package train

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/kernel"
)

// stateFile is the one file of a saved run.
const stateFile = "state.safetensors"

// identity says which run a state belongs to.
type identity struct {
	Config string `json:"config"` // JSON of Config
	Start  string `json:"start"`  // digest of the model that training starts from
	Data   string `json:"data"`   // digest of the training source
	Kernel string `json:"kernel"` // class of kernels: the bits of a run depend on it
}

// saved is the part of a state that is not tensors.
type saved struct {
	Identity identity `json:"identity"`
	Step     int      `json:"step"`
	OptStep  int      `json:"opt_step"`
	Tokens   int      `json:"tokens"`
}

func (t *Trainer) identity() (identity, error) {
	c, err := json.Marshal(t.cfg)
	return identity{Config: string(c), Start: t.origin, Data: t.dataDigest, Kernel: kernel.Class()}, err
}

// Save writes the whole state into the folder dir, as one file that appears whole or not at all.
func (t *Trainer) Save(dir string) error {
	id, err := t.identity()
	if err != nil {
		return fmt.Errorf("train: save: %w", err)
	}
	s := saved{Identity: id, Step: t.step, Tokens: t.tokens}
	var m1, m2 [][]float32
	s.OptStep, m1, m2 = t.opt.State()
	var tensors []checkpoint.Tensor
	add := func(name string, data []float32) {
		tensors = append(tensors, checkpoint.Tensor{Name: name, DType: "F32", Shape: []int{len(data)}, F32: data})
	}
	for i, p := range t.m.Params() {
		add("w."+p.Name, p.Data)
		if s.OptStep > 0 {
			add("m."+p.Name, m1[i])
			add("v."+p.Name, m2[i])
		}
	}
	if err := checkpoint.WriteState(filepath.Join(dir, stateFile), s, tensors); err != nil {
		return fmt.Errorf("train: save: %w", err)
	}
	return nil
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
		{"data", s.Identity.Data, id.Data}, {"class of kernels", s.Identity.Kernel, id.Kernel},
	} {
		if f.a != f.b {
			return fmt.Errorf("%w: %s: the state has %.80s, this run %.80s", ErrForeignState, f.name, f.a, f.b)
		}
	}
	if s.Step < 0 || s.Step >= len(t.plan) || s.OptStep != s.Step {
		return fmt.Errorf("train: load: %w: step %d of %d", checkpoint.ErrCorrupt, s.Step, len(t.plan)-1)
	}
	params := t.m.Params()
	var w, m1, m2 [][]float32
	for _, p := range params {
		take := func(name string) []float32 {
			x, ok := all[name]
			if (!ok || len(x.F32) != len(p.Data)) && err == nil {
				err = fmt.Errorf("train: load: %w: tensor %s", checkpoint.ErrCorrupt, name)
			}
			return x.F32
		}
		w = append(w, take("w."+p.Name))
		if s.OptStep > 0 {
			m1, m2 = append(m1, take("m."+p.Name)), append(m2, take("v."+p.Name))
		}
	}
	if err != nil {
		return err
	}
	for i, p := range params {
		copy(p.Data, w[i])
	}
	t.m.ZeroGrad()
	t.opt.SetState(s.OptStep, m1, m2)
	t.step, t.tokens = s.Step, s.Tokens
	return nil
}
