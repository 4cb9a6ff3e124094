package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rankloop/rankloop/model/kernel"
)

type benchKernelsCmd struct {
	benchFlags
	Rows []int `default:"1,32,256,1024" help:"Rows M of the products, tokens of a batch."`
}

func (benchKernelsCmd) Help() string {
	return `The products are those of GPT-2 124M: NN is y = x·W, NT y = x·Wᵀ, TN dW = xᵀ·dy, in float32 and in mixed precision (factors rounded to
bfloat16). The limits are measured in the same run: fused multiply-adds in registers, products of bfloat16 pairs in registers,
and reading 256 MB.

Example:
  rankloop bench kernels --threads 1`
}

func (c benchKernelsCmd) Run(ctx context.Context, std streams) error {
	if err := c.prepare(); err != nil {
		return err
	}
	for _, m := range c.Rows {
		if m < 1 || m > 1<<16 {
			return usageError{fmt.Errorf("--rows %d: 1 to 65536 is wanted", m)}
		}
	}
	show := newProgress(std.err)
	defer show.end()
	var out []figure
	done, total := 0, 2*len(c.Rows)*len(benchMatrices)*len(benchProducts)+len(benchVectors)
	for _, M := range c.Rows {
		for _, s := range benchMatrices {
			for i, p := range slices.Concat(benchProducts, benchMixed) {
				peak := peakFLOPS
				if i >= len(benchProducts) {
					peak = peakMixed
				}
				f, err := c.product(ctx, p, M, s[0], s[1], peak)
				if err != nil {
					return err
				}
				out = append(out, f)
				done++
				show.show("kernels", done, total, "figures  "+f.Name)
			}
		}
	}
	read := bandwidth()
	for _, v := range benchVectors {
		f, err := c.vector(ctx, v, read)
		if err != nil {
			return err
		}
		out = append(out, f)
		done++
		show.show("kernels", done, total, "figures  "+f.Name)
	}
	show.end()
	return c.report(std, map[string]any{"peak_flops": peakFLOPS(), "peak_mixed_flops": peakMixed(), "bytes_per_s": read()}, out...)
}

// benchMatrices are [N,K] of the products in GPT-2 124M.
var benchMatrices = [][2]int{{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}, {50257, 768}}

type benchProduct struct {
	name string
	run  func(M, N, K int, x, w, y []float32)
}

var benchProducts = []benchProduct{
	{"NN", func(M, N, K int, x, w, y []float32) { kernel.NN(M, N, K, x, K, w, N, y, N, false) }},
	{"NT", func(M, N, K int, x, w, y []float32) { kernel.NT(M, N, K, x, K, w, K, y, N, false) }},
	{"TN", func(M, N, K int, x, w, y []float32) { kernel.TN(K, N, M, x, K, y, N, w, N, false) }},
}

// benchMixed are the same in mixed precision.
var benchMixed = []benchProduct{
	{"NN/mixed", func(M, N, K int, x, w, y []float32) { kernel.NNMixed(M, N, K, x, K, w, N, y, N, false) }},
	{"NT/mixed", func(M, N, K int, x, w, y []float32) { kernel.NTMixed(M, N, K, x, K, w, K, y, N, false) }},
	{"TN/mixed", func(M, N, K int, x, w, y []float32) { kernel.TNMixed(K, N, M, x, K, y, N, w, N, false) }},
}

func (c benchKernelsCmd) product(ctx context.Context, p benchProduct, M, N, K int, peak func() float64) (figure, error) {
	x, w, y := benchNumbers(M*K), benchNumbers(N*K), benchNumbers(M*N)
	flop := 2 * float64(M) * float64(N) * float64(K)
	return sample(ctx, fmt.Sprintf("%s/M=%d/N=%d/K=%d", p.name, M, N, K), "GFLOP/s", c.Repeats,
		func() float64 { return peak() / 1e9 },
		func() float64 { return rate(30*time.Millisecond, func() { p.run(M, N, K, x, w, y) }) * flop / 1e9 })
}

// benchVector is an elementwise kernel; bytes are those that an element costs, read and written.
type benchVector struct {
	name  string
	bytes float64
	run   func(x, y, z, w []float32)
}

var benchVectors = []benchVector{
	{"Add", 12, func(x, y, z, w []float32) { kernel.Add(x, y) }},
	{"GELU", 8, func(x, y, z, w []float32) { kernel.GELU(x, y) }},
	{"GELUBackward", 12, func(x, y, z, w []float32) { kernel.GELUBackward(x, y, z) }},
	{"SiLU", 8, func(x, y, z, w []float32) { kernel.SiLU(x, y) }},
	{"LayerNorm", 8, func(x, y, z, w []float32) {
		n := len(x) / benchWidth
		kernel.LayerNorm(x, w[:n], w[n:2*n], y, z[:benchWidth], z[benchWidth:2*benchWidth], n, benchWidth, 1e-5)
	}},
	{"AdamW", 28, func(x, y, z, w []float32) { kernel.AdamW(x, y, z, w, 1e-9, 0.9, 0.95, 1e-8, 0.1, 1, 1, 1) }},
}

const benchWidth = 768

// vector measures an elementwise kernel on 8 million elements, cut over the threads.
func (c benchKernelsCmd) vector(ctx context.Context, v benchVector, read func() float64) (figure, error) {
	const n, part = 8192 * benchWidth, 64 * benchWidth
	x, y, z, w := benchNumbers(n), benchNumbers(n), benchNumbers(n), benchNumbers(n)
	for i := range w {
		w[i] *= w[i] // a second moment
	}
	return sample(ctx, v.name, "GB/s", c.Repeats, func() float64 { return read() / 1e9 }, func() float64 {
		return rate(30*time.Millisecond, func() {
			kernel.Parallel(n/part, 1, func(lo, hi int) {
				lo, hi = lo*part, hi*part
				v.run(x[lo:hi], y[lo:hi], z[lo:hi], w[lo:hi])
			})
		}) * n * v.bytes / 1e9
	})
}

// benchNumbers are n numbers as they occur in a network.
func benchNumbers(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	x := kernel.Floats(n)
	for i := range x {
		x[i] = rng.Float32() - 0.5
	}
	return x
}
