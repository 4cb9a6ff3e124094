package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/starter"
)

type modelInspectCmd struct {
	Model  string `arg:"" optional:"" help:"A model folder, base or sft for the starter model, or a published shape such as gpt2-xl."`
	Tokens int    `default:"0" help:"Length of the sequence that memory and arithmetic are given for; 0 = the whole context."`
	List   bool   `help:"List the published shapes instead."`
	JSON   bool   `name:"json" help:"As JSON."`
}

func (modelInspectCmd) Help() string {
	return `Prints shape and parameters of a model, the memory that answering and training take, and the arithmetic of a token. Of a folder
only headers are read and of a published shape nothing is allocated, so neither needs to fit into this machine.

Example:
  rankloop model inspect sft
  rankloop model inspect gpt3-175b
  rankloop model inspect --list`
}

// inspection is what inspect says, as JSON.
type inspection struct {
	Model      string                `json:"model"`
	Config     model.Config          `json:"config"`
	Parameters int64                 `json:"parameters"`
	Tokens     int                   `json:"tokens"` // that memory and arithmetic are given for
	Memory     map[string]memorySize `json:"memory_bytes"`
	FLOPs      flopsPerToken         `json:"flops_per_token"`
	Head       string                `json:"head,omitempty"`
	Weights    *weightsInfo          `json:"weights,omitempty"`
	Card       *checkpoint.Card      `json:"card,omitempty"`
}

type memorySize struct {
	Weights     int64 `json:"weights"`
	Gradients   int64 `json:"gradients"`
	Moments     int64 `json:"moments"`
	Activations int64 `json:"activations"`
	Cache       int64 `json:"cache"`
	Total       int64 `json:"total"`
}

type flopsPerToken struct {
	Forward float64 `json:"forward"`
	Train   float64 `json:"train"`
}

type weightsInfo struct {
	DTypes []string `json:"dtypes"`
	Bytes  int64    `json:"bytes"`
	Digest string   `json:"digest,omitempty"` // of the folder, from SHA256SUMS
}

// memoryPlans are the rows of the table of memory, each for one sequence.
var memoryPlans = []struct {
	key, title string
	plan       model.MemoryPlan
}{
	{"infer_float32", "answer, float32", model.MemoryPlan{}},
	{"infer_bf16", "answer, BF16", model.MemoryPlan{BF16: true}},
	{"train_float32", "train, float32", model.MemoryPlan{Train: true}},
	{"train_bf16", "train, BF16 weights", model.MemoryPlan{Train: true, BF16: true}},
	{"train_bf16_recompute", "  and recomputation", model.MemoryPlan{Train: true, BF16: true, Recompute: true}},
	{"lora8_float32", "LoRA rank 8, float32", model.MemoryPlan{Train: true, LoRA: &model.LoRA{Rank: 8, Alpha: 16}}},
	{"lora8_bf16_recompute", "LoRA rank 8, BF16 weights, recomputation", model.MemoryPlan{Train: true, BF16: true, Recompute: true, LoRA: &model.LoRA{Rank: 8, Alpha: 16}}},
}

func (c modelInspectCmd) Run(std streams) error {
	if c.List {
		return c.list(std)
	}
	in, err := c.inspect()
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(in)
	}
	return in.write(std.out)
}

// inspect finds the model by its name and measures it.
func (c modelInspectCmd) inspect() (inspection, error) {
	in := inspection{Model: c.Model, Tokens: c.Tokens, Memory: map[string]memorySize{}}
	if err := in.find(); err != nil {
		return in, err
	}
	switch {
	case c.Tokens == 0:
		in.Tokens = in.Config.Context
	case c.Tokens < 0 || c.Tokens > in.Config.Context:
		return in, usageError{fmt.Errorf("--tokens %d: the model reads 1 to %d", c.Tokens, in.Config.Context)}
	}
	in.FLOPs.Forward, in.FLOPs.Train = in.Config.FLOPs(in.Tokens)
	for _, p := range memoryPlans {
		p.plan.Tokens = in.Tokens
		m := in.Config.Memory(p.plan)
		in.Memory[p.key] = memorySize{m.Weights, m.Gradients, m.Moments, m.Activations, m.Cache, m.Total()}
	}
	return in, nil
}

// find reads the shape: of the starter model, of a folder, or a published one.
func (in *inspection) find() error {
	var d checkpoint.Description
	var err error
	switch stat, statErr := os.Stat(in.Model); {
	case in.Model == "":
		return usageError{errors.New("name a model folder, base, sft or a published shape; --list shows those")}
	case in.Model == "base" || in.Model == "sft":
		d, err = starter.Describe(in.Model)
	case statErr == nil && stat.IsDir():
		d, err = checkpoint.Describe(in.Model)
	default:
		cfg, ok := model.Preset(in.Model)
		if !ok {
			return usageError{fmt.Errorf("%s is no model folder, nor base or sft, nor one of the published shapes %s", in.Model, strings.Join(model.Presets(), ", "))}
		}
		in.Config, in.Parameters = cfg, cfg.NumParams()
		return nil
	}
	if err != nil {
		return err
	}
	in.Config, in.Parameters, in.Card = d.Config, d.Parameters, &d.Card
	in.Head = map[model.Head]string{model.HeadScore: "score", model.HeadValue: "value"}[d.Head]
	in.Weights = &weightsInfo{d.DTypes, d.WeightBytes, d.Digest}
	return nil
}

func (in *inspection) write(w io.Writer) error {
	c, tw := in.Config, tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("family", "%s", c.Family)
	row("layers", "%d", c.Layers)
	row("width", "%d, in the MLP %d", c.Width, c.Hidden)
	row("heads", "%d of %d channels; %d for keys and values", c.Heads, c.Width/c.Heads, c.KVHeads)
	row("context", "%d tokens", c.Context)
	if c.Window > 0 {
		row("band", "%d positions in every other layer", c.Window)
	}
	if s := c.RopeScaling; s.Kind != "" {
		row("rotary scaling", "%s by %g", s.Kind, s.Factor)
	}
	if c.QKVBias {
		row("biases", "on queries, keys and values")
	}
	head := map[bool]string{true: "head tied to the embedding", false: "head of its own"}[c.Tied]
	if in.Head != "" {
		head += ", and the scalar head " + in.Head
	}
	row("vocabulary", "%d tokens; %s", c.Vocab, head)
	row("parameters", "%s", grouped(in.Parameters))
	row("arithmetic", "%s per token forward, %s to train, at %d tokens", flops(in.FLOPs.Forward), flops(in.FLOPs.Train), in.Tokens)
	if in.Weights != nil {
		row("weights", "%s, %s", strings.Join(in.Weights.DTypes, " and "), byteSize(in.Weights.Bytes))
		if in.Weights.Digest != "" {
			row("digest", "%s", in.Weights.Digest)
		}
	}
	if in.Card != nil {
		if in.Card.Kind != "" {
			row("kind", "%s", in.Card.Kind)
		}
		if e := in.Card.Ensemble; e != nil {
			row("ensemble", "%d members of that size, combined by %s", len(e.Members)+1, e.Combine)
		}
		for _, name := range slices.Sorted(maps.Keys(in.Card.Metrics)) {
			row(name, "%.4g", in.Card.Metrics[name])
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nmemory for a sequence of %d tokens\n", in.Tokens)
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "weights\tgradients\tmoments\tactivations\tcache\ttotal\t")
	for _, p := range memoryPlans {
		m := in.Memory[p.key]
		for _, n := range []int64{m.Weights, m.Gradients, m.Moments, m.Activations, m.Cache, m.Total} {
			fmt.Fprintf(tw, "%s\t", byteSize(n))
		}
		fmt.Fprintf(tw, "  %s\n", p.title) // the last cell of a line is not aligned
	}
	return tw.Flush()
}

// list prints the published shapes.
func (c modelInspectCmd) list(std streams) error {
	enc, tw := json.NewEncoder(std.out), tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(tw, "NAME\tFAMILY\tLAYERS\tWIDTH\tHEADS\tCONTEXT\tPARAMETERS")
	}
	for _, name := range model.Presets() {
		cfg, _ := model.Preset(name)
		n := cfg.NumParams()
		if c.JSON {
			if err := enc.Encode(map[string]any{"model": name, "config": cfg, "parameters": n}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", name, cfg.Family, cfg.Layers, cfg.Width, cfg.Heads, cfg.Context, grouped(n))
	}
	return tw.Flush()
}

// grouped writes a number with commas: 124,439,808.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// byteSize writes a number of bytes in the largest fitting unit of 1,024.
func byteSize(n int64) string {
	x, unit := float64(n), 0
	for x >= 1000 && unit < 4 {
		x, unit = x/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", x, []string{"", "KiB", "MiB", "GiB", "TiB"}[unit])
}

// flops writes a number of operations in the largest fitting unit of 1,000.
func flops(x float64) string {
	unit := 0
	for x >= 1000 && unit < 4 {
		x, unit = x/1000, unit+1
	}
	return fmt.Sprintf("%.3g %sFLOP", x, []string{"", "K", "M", "G", "T"}[unit])
}
