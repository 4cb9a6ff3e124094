package main

import (
	"context"
	"fmt"

	"github.com/rankloop/rankloop/model"
)

type benchDecodeCmd struct {
	benchFlags
	shapeFlags
	estimateFlags
	Batch  int `default:"1" help:"Sequences that are written at the same time."`
	Prompt int `default:"64" help:"Tokens of a prompt."`
	Tokens int `default:"32" help:"Tokens written after it."`
	weightsFlag
}

func (benchDecodeCmd) Help() string {
	return `Prompts are read in one pass, the last logits only; then tokens are written one a sequence and step. One sequence is limited by
reading all weights for each token in the form that they are kept in, and the keys and values before it, a batch and the prompt by the 2N operations that a token costs.

Example:
  rankloop bench decode --shape gpt2 --batch 32
  rankloop bench decode --shape gpt2 --weights int8`
}

func (c benchDecodeCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if c.Batch < 1 || c.Prompt < 1 || c.Tokens < 1 {
		return usageError{fmt.Errorf("--batch %d --prompt %d --tokens %d: at least 1 each is wanted", c.Batch, c.Prompt, c.Tokens)}
	}
	if c.Estimate {
		return c.estimate(std)
	}
	m, err := benchModel(c.shapeFlags, c.Prompt+c.Tokens)
	if err != nil {
		return err
	}
	m.Pack(c.Weights)
	d := newDecoder(m, c.Batch, c.Prompt, c.Tokens)
	n := float64(m.NumParams())
	peak := peakFLOPS
	if c.Weights == model.WeightsBF16 {
		peak = peakMixed
	}
	arithmetic := func() float64 { return peak() / (2 * n) }
	prefill, err := sample(ctx, fmt.Sprintf("prompts/%s/%dx%d", c.Shape, c.Batch, c.Prompt), "tokens/s", c.Repeats, arithmetic,
		func() float64 { return float64(c.Batch*c.Prompt) * rate(0, d.read) })
	if err != nil {
		return err
	}
	limit := arithmetic
	memory, bytes := bandwidth(), tokenBytes(m)+pastBytes(m, c.Prompt+c.Tokens/2)
	if c.Batch == 1 {
		limit = func() float64 { return memory() / bytes }
	}
	write, err := sample(ctx, fmt.Sprintf("decode/%s/%dx1", c.Shape, c.Batch), "tokens/s", c.Repeats, limit, func() float64 {
		d.read()
		return float64(c.Batch*c.Tokens) * rate(0, d.write)
	})
	if err != nil {
		return err
	}
	return c.report(std, map[string]any{"shape": c.Shape, "batch": c.Batch, "weights": c.Weights, "prefill_tokens_per_s": prefill.Value, "tokens_per_s": write.Value, "ratio": write.Ratio}, prefill, write)
}

// decoder reads prompts and writes tokens after them, with a cache for each.
type decoder struct {
	m             *model.Transformer
	tokens        int
	caches        []*model.Cache
	prompts, next [][]int32
}

func newDecoder(m *model.Transformer, batch, prompt, tokens int) *decoder {
	d := &decoder{m: m, tokens: tokens}
	sequences, _ := benchBatch(m, batch, prompt-1)
	for i, s := range sequences {
		c := m.NewCache()
		c.Reserve(prompt + tokens)
		d.caches, d.prompts, d.next = append(d.caches, c), append(d.prompts, s.IDs), append(d.next, []int32{int32(i % m.Config().Vocab)})
	}
	return d
}

// read reads all prompts anew.
func (d *decoder) read() {
	for _, c := range d.caches {
		c.Reset()
	}
	d.m.ExtendFunc(d.caches, d.prompts, func(int, []float32) {})
}

// write writes all tokens after what was read.
func (d *decoder) write() {
	for range d.tokens {
		d.m.ExtendFunc(d.caches, d.next, func(int, []float32) {})
	}
}

// decodeWorks are reading the prompts and writing a token of each, in the middle of what is to be written, for the cost model.
func decodeWorks(batch, prompt, tokens int, weights model.Weights) (read, write model.Work) {
	read = model.Work{Sequences: batch, Tokens: prompt, Heads: 1, Packed: true, Weight: weightBytes(weights)}
	write = read
	write.Tokens, write.Past = 1, prompt+tokens/2
	return read, write
}

// weightBytes is what a weight of that form takes.
func weightBytes(w model.Weights) int {
	switch w {
	case model.WeightsInt8:
		return 1
	case model.WeightsBF16:
		return 2
	}
	return 4
}

// tokenBytes is the memory that one token reads: every tensor, in the form that it is kept in.
func tokenBytes(m *model.Transformer) float64 {
	var n int64
	for _, p := range m.Params() {
		n += p.Bytes()
	}
	return float64(n)
}

// pastBytes is the memory that one token reads of a cache of so many positions: their keys and values.
func pastBytes(m *model.Transformer, positions int) float64 {
	cfg := m.Config()
	return 4 * 2 * float64(positions) * float64(cfg.Layers*cfg.KVHeads*(cfg.Width/cfg.Heads))
}

// estimate prints both on paper.
func (c benchDecodeCmd) estimate(std streams) error {
	cfg, err := c.fitting(c.Prompt + c.Tokens)
	if err != nil {
		return err
	}
	read, write := decodeWorks(c.Batch, c.Prompt, c.Tokens, c.Weights)
	on, err := c.machine(cfg, read, write)
	if err != nil {
		return err
	}
	return c.printEstimates(std, on, cfg,
		on.estimate(fmt.Sprintf("prompts/%s/%dx%d", c.Shape, c.Batch, c.Prompt), cfg, read),
		on.estimate(fmt.Sprintf("decode/%s/%dx1", c.Shape, c.Batch), cfg, write))
}
