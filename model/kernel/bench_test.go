package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchThreads runs f with one and with all threads.
func benchThreads(b *testing.B, f func(b *testing.B)) {
	before := Threads()
	defer SetThreads(before)
	for _, n := range []int{1, 2} {
		if n > before {
			continue
		}
		SetThreads(n)
		b.Run(fmt.Sprintf("%dT", n), f)
	}
}

// BenchmarkProduct measures the shapes of a model 96 wide: 4096 tokens in training, 32, 8 and 1 in decoding.
func BenchmarkProduct(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ layout, M, N, K int }{
		{0, 4096, 288, 96}, {0, 4096, 96, 96}, {0, 4096, 384, 96}, {0, 4096, 96, 384}, {0, 4096, 768, 96}, {0, 256, 384, 96}, {0, 256, 128, 128}, {0, 256, 512, 128},
		{1, 4096, 96, 288}, {1, 4096, 384, 96}, {1, 4096, 96, 384}, {1, 4096, 768, 96}, {1, 4096, 512, 128}, {1, 256, 384, 96},
		{2, 96, 288, 4096}, {2, 96, 384, 4096}, {2, 384, 96, 4096}, {2, 768, 96, 4096}, {2, 128, 512, 4096},
		{0, 32, 288, 96}, {0, 32, 384, 96}, {0, 32, 96, 384}, {1, 32, 768, 96}, {1, 32, 384, 96}, {0, 8, 384, 96}, {1, 8, 768, 96}, {0, 1, 384, 96}, {1, 1, 768, 96},
		{0, 256, 3072, 768}, {1, 256, 2304, 768}, {2, 768, 3072, 256}, {0, 1024, 2304, 768}, {1, 1024, 768, 3072}, {2, 768, 3072, 1024}, {0, 1, 2304, 768}, {1, 1, 2304, 768},
		{0, 64, 24, 64}, {0, 32, 64, 24},
	} {
		p := newProblem(rng, s.layout, s.M, s.N, s.K, false)
		l, run := layouts[s.layout], []func(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool){NN, NT, TN}[s.layout]
		rowsA, colsA, colsB := s.M, s.K, s.N
		if l.ta {
			rowsA, colsA = s.K, s.M
		}
		if l.tb {
			colsB = s.K
		}
		p.a, p.b, p.c = randoms(rng, rowsA*colsA), randoms(rng, s.N*s.K), randoms(rng, s.M*s.N)
		b.Run(fmt.Sprintf("%s_M%d_N%d_K%d", l.name, s.M, s.N, s.K), func(b *testing.B) {
			benchThreads(b, func(b *testing.B) {
				for b.Loop() {
					run(s.M, s.N, s.K, p.a, colsA, p.b, colsB, p.c, s.N, false)
				}
				b.ReportMetric(2*float64(s.M*s.N*s.K)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}

// BenchmarkPanels measures products with weights that are only read, in each form, and what it takes to lay them out and read them back.
func BenchmarkPanels(b *testing.B) {
	const K, N = 768, 2304
	rng := rand.New(rand.NewPCG(7, 8))
	wide, half, column := Floats(K*N), halfOf(rng, K*N), make([]float32, K)
	copy(wide, randoms(rng, K*N))
	for form, name := range map[Form]string{FormFloat32: "float32", FormBF16: "bf16", FormInt8: "int8"} {
		w := PanelsNT(form, N, K, wide, K, nil)
		for _, M := range []int{1, 32} {
			x, y := randoms(rng, M*K), make([]float32, M*N)
			b.Run(fmt.Sprintf("%s_M%d", name, M), func(b *testing.B) {
				b.SetBytes(w.Bytes())
				for b.Loop() {
					w.Mul(M, x, K, y, N, false)
				}
			})
		}
		b.Run(name+"_layNN", func(b *testing.B) {
			for b.Loop() {
				PanelsNN(form, K, N, wide, N, nil)
			}
		})
		b.Run(name+"_layNT", func(b *testing.B) {
			for b.Loop() {
				PanelsNT(form, N, K, wide, K, nil)
			}
		})
		room := Floats(PanelsSize(form, K, N))
		b.Run(name+"_layNN_room", func(b *testing.B) {
			for b.Loop() {
				PanelsNN(form, K, N, wide, N, room)
			}
		})
		b.Run(name+"_column", func(b *testing.B) {
			for b.Loop() {
				w.Column(column, N/2)
			}
		})
	}
	x, y := randoms(rng, 32*K), make([]float32, 32*N)
	b.Run("NNBF16_M32", func(b *testing.B) {
		for b.Loop() {
			NNBF16(32, N, K, x, K, half, N, y, N, false)
		}
	})
	b.Run("NTBF16_M32", func(b *testing.B) {
		for b.Loop() {
			NTBF16(32, N, K, x, K, half, K, y, N, false)
		}
	})
}

// BenchmarkLimits measures what the machine can do: multiply-adds on registers, reading from memory.
func BenchmarkLimits(b *testing.B) {
	for name, loop := range map[string]func(int) int64{"FMA": FMALoop, "Mixed": MixedLoop} {
		b.Run(name, func(b *testing.B) {
			n := int64(0)
			for b.Loop() {
				n += loop(1 << 14)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
	b.Run("Read", func(b *testing.B) {
		x := Floats(1 << 24)
		b.SetBytes(int64(4 * len(x)))
		for b.Loop() {
			ReadLoop(x)
		}
	})
}

// BenchmarkVector measures the vector kernels on 4096 elements, in nanoseconds an element.
func BenchmarkVector(b *testing.B) {
	const n, C = 96 * 43, 96
	rng := rand.New(rand.NewPCG(3, 4))
	x, y, z, w, v := randoms(rng, n), randoms(rng, n), randoms(rng, n), randoms(rng, n), make([]float32, n)
	stat, h := randoms(rng, n), halfOf(rng, n)
	for _, f := range []struct {
		name string
		run  func()
	}{
		{"Exp", func() { Exp(y, x) }},
		{"GELU", func() { GELU(y, x) }},
		{"GELUBackward", func() { GELUBackward(y, x, z) }},
		{"SiLU", func() { SiLU(y, x) }},
		{"SiLUBackward", func() { SiLUBackward(y, x, z) }},
		{"Add", func() { Add(y, x) }},
		{"Mul", func() { Mul(y, x) }},
		{"Scale", func() { Scale(y, 1) }},
		{"Axpy", func() { Axpy(y, 1e-9, x) }},
		{"Drop", func() { Drop(y, 1, 0, 1<<30, 1) }},
		{"Widen", func() { Widen(v, h) }},
		{"AddWidened", func() { AddWidened(v, h) }},
		{"Narrow", func() { Narrow(h, x) }},
		{"NarrowStochastic", func() { NarrowStochastic(h, x, 1, 0) }},
		{"Dot", func() { Dot(y, x) }},
		{"Sum", func() { Sum(x) }},
		{"SumSquares", func() { SumSquares(x) }},
		{"Softmax", func() { Softmax(y, x, 1) }},
		{"Exponents", func() { Exponents(y, x, 1) }},
		{"LogSumExp", func() { LogSumExp(x) }},
		{"LayerNorm", func() { LayerNorm(y, stat, stat[C:], x, z, w, n/C, C, 1e-5) }},
		{"LayerNormBackward", func() { LayerNormBackward(y, v, v[C:], z, x, stat, stat[C:], w, n/C, C) }},
		{"RMSNorm", func() { RMSNorm(y, stat, x, z, n/C, C, 1e-5) }},
		{"RMSNormBackward", func() { RMSNormBackward(y, v, z, x, stat, w, n/C, C) }},
		{"AdamW", func() { AdamW(y, x, z, v, 1e-9, .9, .99, 1e-8, .1, 1, 1, 1) }},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				f.run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/elem")
		})
	}
}

// BenchmarkAttention measures one sequence of a model 96 wide with 4 heads, the multiply-adds below the diagonal counted.
func BenchmarkAttention(b *testing.B) {
	defer SetThreads(Threads())
	SetThreads(1)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, z := range [][2]int{{64, 64}, {128, 128}, {1, 64}, {1, 128}} {
		Tq, Tk := z[0], z[1]
		const H, D = 4, 24
		s := newHeads(rng, Tk, H, H, D)
		dq, dk, dv := make([]float32, Tk*s.ldq), make([]float32, Tk*s.ldk), make([]float32, Tk*s.ldv)
		pairs := float64(Tq*Tk) - float64(Tq*(Tq-1))/2
		Attention(s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, Tk, Tk, H, H, D, 0, s.scale)
		b.Run(fmt.Sprintf("forward_Tq%d_Tk%d", Tq, Tk), func(b *testing.B) {
			for b.Loop() {
				Attention(s.o, s.ldo, nil, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, Tq, Tk, H, H, D, 0, s.scale)
			}
			b.ReportMetric(4*pairs*H*D*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
		kv := Paged{Pages: [][]float32{append(randoms(rng, H*D*Tk), s.v...)}, Size: Tk, Values: H * D * Tk, LDV: s.ldv}
		b.Run(fmt.Sprintf("cached_Tq%d_Tk%d", Tq, Tk), func(b *testing.B) {
			for b.Loop() {
				AttentionCached(s.o, s.ldo, s.q, s.ldq, kv, Tq, Tk, H, H, D, 0, s.scale)
			}
			b.ReportMetric(4*pairs*H*D*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
		if Tq != Tk {
			continue
		}
		b.Run(fmt.Sprintf("backward_T%d", Tk), func(b *testing.B) {
			for b.Loop() {
				AttentionBackward(dq, s.ldq, dk, s.ldk, dv, s.ldv, s.o, s.ldo, s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, Tk, H, H, D, 0, s.scale)
			}
			b.ReportMetric(10*pairs*H*D*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
		mask := func(h, i, j int, w []float32) { Drop(w, Random(uint64(i), uint64(h)), j, 1<<30, 1) }
		b.Run(fmt.Sprintf("dropout_T%d", Tk), func(b *testing.B) {
			for b.Loop() {
				AttentionMasked(mask, s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, Tk, Tk, H, H, D, 0, s.scale)
				AttentionMaskedBackward(mask, dq, s.ldq, dk, s.ldk, dv, s.ldv, s.o, s.ldo, s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, Tk, H, H, D, 0, s.scale)
			}
			b.ReportMetric(14*pairs*H*D*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

// BenchmarkParallel measures the cost of a Parallel whose body does nothing.
func BenchmarkParallel(b *testing.B) {
	for b.Loop() {
		Parallel(2, 1, func(lo, hi int) {})
	}
}
