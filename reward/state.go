package reward

import (
	"crypto/sha256"
	"encoding/hex"
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
	Config string `json:"config"` // JSON of Config
	Start  string `json:"start"`  // digest of the model that training starts from
	Data   string `json:"data"`   // digest of groups and reference answers
	Kernel string `json:"kernel"` // class of kernels: the bits of a run depend on it
}

// saved is the part of a state that is not tensors.
type saved struct {
	Identity identity `json:"identity"`
	Member   int      `json:"member"`
	Step     int      `json:"step"`
	OptStep  int      `json:"opt_step"`
	Kept     []judged `json:"kept"`            // of the models, best first
	Whole    *whole   `json:"whole,omitempty"` // of an ensemble that is done
}

func (t *Trainer) identity() (identity, error) {
	c, err := json.Marshal(t.cfg)
	return identity{Config: string(c), Start: t.origin, Data: t.dataDigest, Kernel: kernel.Class()}, err
}

// Save writes the whole state into dir, as one file that appears whole or not at all.
func (t *Trainer) Save(dir string) error {
	id, err := t.identity()
	if err != nil {
		return fmt.Errorf("reward: save: %w", err)
	}
	defer runtime.KeepAlive(t) // weights may be mapped pages that go with the model
	s := saved{Identity: id, Member: t.member, Step: t.step, Whole: t.whole}
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
	for i, k := range t.kept {
		s.Kept = append(s.Kept, k.judged)
		for _, p := range k.m.Params() {
			add(keptName(i, p.Name), p.Data)
		}
	}
	if err := checkpoint.WriteState(filepath.Join(dir, stateFile), s, tensors); err != nil {
		return fmt.Errorf("reward: save: %w", err)
	}
	return nil
}

// Load takes up a saved state. The trainer must have been made with the same inputs as the one that saved it; otherwise the
// error wraps ErrForeignState and nothing changes.
func (t *Trainer) Load(dir string) error {
	var s saved
	all, err := checkpoint.ReadState(filepath.Join(dir, stateFile), &s)
	if err != nil {
		return fmt.Errorf("reward: load: %w", err)
	}
	id, err := t.identity()
	if err != nil {
		return fmt.Errorf("reward: load: %w", err)
	}
	if t.AnyKernel {
		s.Identity.Kernel = id.Kernel
	}
	for _, f := range []struct{ name, a, b string }{
		{"configuration", s.Identity.Config, id.Config}, {"starting model", s.Identity.Start, id.Start},
		{"rankings or reference answers", s.Identity.Data, id.Data}, {"class of kernels", s.Identity.Kernel, id.Kernel},
	} {
		if f.a != f.b {
			return fmt.Errorf("%w: %s: the state has %.80s, this run %.80s", ErrForeignState, f.name, f.a, f.b)
		}
	}
	models := t.cfg.models()
	if s.Member < 0 || s.Member > models || s.Step < 0 || s.Step > t.perModel || len(s.Kept) != min(s.Member, t.cfg.members()) ||
		(s.Whole != nil) != (s.Member == models && t.cfg.members() > 1) {
		return fmt.Errorf("reward: load: %w: model %d, step %d, %d kept", checkpoint.ErrCorrupt, s.Member, s.Step, len(s.Kept))
	}
	fresh := *t
	fresh.begin(min(s.Member, models-1))
	fresh.member, fresh.step, fresh.kept, fresh.whole = s.Member, s.Step, nil, s.Whole
	for _, j := range s.Kept {
		fresh.kept = append(fresh.kept, kept{fresh.m.Clone(), j})
	}
	var m1, m2 [][]float32
	for i, p := range fresh.m.Params() {
		take := func(name string) []float32 {
			x, ok := all[name]
			if (!ok || len(x.F32) != len(p.Data)) && err == nil {
				err = fmt.Errorf("reward: load: %w: tensor %s", checkpoint.ErrCorrupt, name)
			}
			return x.F32
		}
		copy(p.Data, take("w."+p.Name))
		if s.OptStep > 0 {
			m1, m2 = append(m1, take("m."+p.Name)), append(m2, take("v."+p.Name))
		}
		for j, k := range fresh.kept {
			copy(k.m.Params()[i].Data, take(keptName(j, p.Name)))
		}
	}
	if err != nil {
		return err
	}
	if s.OptStep > 0 {
		fresh.opt.SetState(s.OptStep, m1, m2)
	}
	*t = fresh
	return nil
}

// keptName is the name of a tensor of the i-th best model.
func keptName(i int, param string) string { return fmt.Sprintf("kept%d.%s", i, param) }

// digestData names the data of a run: another split, order or label gives another digest.
func digestData(train, valid []Group, reference []model.Sequence) string {
	h := sha256.New()
	e := json.NewEncoder(h)
	for _, part := range [][]Group{train, valid} {
		for _, g := range part {
			if err := e.Encode([]any{g.Sequences, g.Rankings, g.Strengths, g.Weights}); err != nil {
				panic(err) // numbers only
			}
		}
		h.Write([]byte{0})
	}
	if err := e.Encode(reference); err != nil {
		panic(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}
