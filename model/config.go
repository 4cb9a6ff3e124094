package model

import (
	"fmt"
	"math"
	"slices"
)

// Config is the shape of a transformer. The zero value of a field means the
// family's default where one is named, otherwise it is invalid. Fields that a
// family does not know must be zero.
type Config struct {
	Family      string      // row of the table of families: "gpt1", "gpt2", "gpt3", "llama"
	Vocab       int         // V, size of the vocabulary
	Context     int         // largest number of tokens fed at once (learned positions; bound of the cache)
	Layers      int         // L
	Width       int         // C
	Heads       int         // H; Width is a multiple of it
	KVHeads     int         // KV; 0 = Heads; only llama knows another value
	Hidden      int         // F, width inside the MLP; 0 = 4*Width; gpt1 knows no other value
	NormEps     float64     // inside the root of every norm; 0 = 1e-5
	RopeTheta   float64     // base of the rotary frequencies (llama); 0 = 10000
	Tied        bool        // the LM head is the token embedding (always so in gpt1, gpt2, gpt3)
	BOS, EOS    int         // token ids, -1 = none
	Window      int         `json:",omitempty"` // positions that a banded layer sees, its own included (gpt3); 0 = 256 there
	QKVBias     bool        `json:",omitempty"` // biases on queries, keys and values (llama, as Qwen2 has them)
	RopeScaling RopeScaling `json:",omitzero"`  // how the rotary frequencies are stretched beyond the trained context (llama)
}

// InvalidError says which field of a configuration or an input is wrong, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "model: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// WithDefaults fills the fields whose zero value means a default.
func (c Config) WithDefaults() Config {
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.Hidden == 0 {
		c.Hidden = 4 * min(c.Width, math.MaxInt/4)
	}
	if c.NormEps == 0 {
		c.NormEps = 1e-5
	}
	if c.RopeTheta == 0 {
		c.RopeTheta = defaultTheta
	}
	if f := families[c.Family].defaults; f != nil {
		f(&c)
	}
	return c
}

// Bounds of what a configuration may ask for, so that a hostile file cannot make
// the sizes overflow.
const (
	maxDim    = 1 << 24
	maxParams = 1 << 40
)

// defaultTheta is RopeTheta where a Config does not say, also in families without rotary positions.
const defaultTheta = 10000

// Validate reports the first field that no transformer can have, as *InvalidError.
func (c Config) Validate() error {
	c = c.WithDefaults()
	fam, ok := families[c.Family]
	if !ok {
		return invalid("Family", "%q is not a known family; there are %v", c.Family, familyNames())
	}
	for _, d := range []struct {
		name  string
		value int
	}{{"Vocab", c.Vocab}, {"Context", c.Context}, {"Layers", c.Layers}, {"Width", c.Width},
		{"Heads", c.Heads}, {"KVHeads", c.KVHeads}, {"Hidden", c.Hidden}} {
		if d.value < 1 || d.value > maxDim {
			return invalid(d.name, "%d is not in 1..%d", d.value, maxDim)
		}
	}
	if c.Width%c.Heads != 0 {
		return invalid("Heads", "Width %d is not a multiple of Heads %d", c.Width, c.Heads)
	}
	if c.Heads%c.KVHeads != 0 {
		return invalid("KVHeads", "Heads %d is not a multiple of KVHeads %d", c.Heads, c.KVHeads)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return invalid("NormEps", "%g is not in (0,1)", c.NormEps)
	}
	if !(c.RopeTheta > 0 && c.RopeTheta < 1e12) {
		return invalid("RopeTheta", "%g is not in (0,1e12)", c.RopeTheta)
	}
	for _, s := range []struct {
		name string
		id   int
	}{{"BOS", c.BOS}, {"EOS", c.EOS}} {
		if s.id < -1 || s.id >= c.Vocab {
			return invalid(s.name, "%d is not a token id below %d, nor -1", s.id, c.Vocab)
		}
	}
	per := float64(c.Width) * float64(4*c.Width+3*c.Hidden)
	if total := per*float64(c.Layers) + 2*float64(c.Vocab+c.Context)*float64(c.Width); total > maxParams {
		return invalid("Width", "the model would have more than %d parameters", int64(maxParams))
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"KVHeads", c.KVHeads != c.Heads}, {"RopeTheta", c.RopeTheta != defaultTheta}, {"Window", c.Window != 0}, {"QKVBias", c.QKVBias}, {"RopeScaling", c.RopeScaling != RopeScaling{}}} {
		if f.set && !slices.Contains(fam.takes, f.name) {
			return invalid(f.name, "the family %s does not have it; leave it out", c.Family)
		}
	}
	return fam.validate(c)
}

// headDim is D.
func (c Config) headDim() int { return c.Width / c.Heads }
