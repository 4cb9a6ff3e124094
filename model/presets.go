package model

import "strings"

// preset is a published shape under its name and, after it, other names.
type preset struct {
	names string
	cfg   Config
}

// presets are the shapes of the line of papers, in their order.
var presets = []preset{
	// Radford et al. 2018, section 4.1; 40,478 tokens as in the published checkpoint.
	{"gpt-117m gpt1 openai-gpt", Config{Family: "gpt1", Vocab: 40478, Context: 512, Layers: 12, Width: 768, Heads: 12, BOS: -1, EOS: -1}},

	// Radford et al. 2019, table 2. The table counts 117M, 345M, 762M and 1542M; the
	// names are of the counts that the published checkpoints have.
	{"gpt2 gpt2-124m gpt2-small", gpt2Shape(12, 768, 12)},
	{"gpt2-medium gpt2-355m", gpt2Shape(24, 1024, 16)},
	{"gpt2-large gpt2-774m", gpt2Shape(36, 1280, 20)},
	{"gpt2-xl gpt2-1.5b", gpt2Shape(48, 1600, 25)},

	// Brown et al. 2020, table 2.1, all with 2,048 positions. Two rows of the table do not
	// add up, as their width is not heads times head width: XL has width 2048 with 24 heads
	// of 128 (3,072), 13B has width 5140 with 40 heads of 128 (5,120). They are taken as
	// those who rebuilt the models take them: 16 heads (as GPT-Neo 1.3B), width 5120 (as
	// OPT-13B and Cerebras-GPT 13B). The bands are 256 wide, see family_gpt3.go.
	{"gpt3-125m gpt3-small", gpt3Shape(12, 768, 12)},
	{"gpt3-350m gpt3-medium", gpt3Shape(24, 1024, 16)},
	{"gpt3-760m gpt3-large", gpt3Shape(24, 1536, 16)},
	{"gpt3-1.3b gpt3-xl", gpt3Shape(24, 2048, 16)},
	{"gpt3-2.7b", gpt3Shape(32, 2560, 32)},
	{"gpt3-6.7b", gpt3Shape(32, 4096, 32)},
	{"gpt3-13b", gpt3Shape(40, 5120, 40)},
	{"gpt3-175b gpt3", gpt3Shape(96, 12288, 96)},
}

// The vocabulary of both is GPT-2's, whose last token ends a text.
const (
	gpt2Vocab = 50257
	gpt2End   = gpt2Vocab - 1
)

func gpt2Shape(layers, width, heads int) Config {
	return Config{Family: "gpt2", Vocab: gpt2Vocab, Context: 1024, Layers: layers, Width: width, Heads: heads, BOS: gpt2End, EOS: gpt2End}
}

func gpt3Shape(layers, width, heads int) Config {
	return Config{Family: "gpt3", Vocab: gpt2Vocab, Context: 2048, Layers: layers, Width: width, Heads: heads, BOS: gpt2End, EOS: gpt2End}
}

// Preset returns the published shape of that name, defaults filled in, or false: the
// names of [Presets], and those after the papers' own ("gpt2-124m", "gpt3-xl").
func Preset(name string) (Config, bool) {
	for _, p := range presets {
		for _, n := range strings.Fields(p.names) {
			if n == strings.ToLower(name) {
				return p.cfg.WithDefaults(), true
			}
		}
	}
	return Config{}, false
}

// Presets returns the names of the published shapes, each once, from GPT to GPT-3 and
// there from small to large.
func Presets() []string {
	var out []string
	for _, p := range presets {
		name, _, _ := strings.Cut(p.names, " ")
		out = append(out, name)
	}
	return out
}
