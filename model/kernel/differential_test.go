package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// operands are what a kernel of the table below may read (x, y, z, w: n numbers; h: n halves) and must write (dst, n numbers, and
// sum, for what it returns); panels are the weights of the race for them.
type operands struct {
	n          int
	x, y, z, w []float32
	h          []uint16
	dst        []float32
	sum        float64
	panels     *Panels
}

// differential are the kernels that exist in several forms, but the products: each form against the portable one, and those of
// one class against each other to the bit. A kernel that is added belongs here.
var differential = []struct {
	name     string
	run      func(o *operands)
	rel, abs float64 // how far an element may be off; a sum of n numbers, 1+n times abs
	sums     bool    // adds up: another order or rounding is compared for numbers of like size only
}{
	{"Exp", func(o *operands) { Exp(o.dst, o.x) }, 4e-7, 3e-45, false},
	{"GELU", func(o *operands) { GELU(o.dst, o.x) }, 1e-5, 4e-7, false},
	{"GELUBackward", func(o *operands) { GELUBackward(o.dst, o.x, o.y) }, 1e-5, 1e-6, true},
	{"SiLU", func(o *operands) { SiLU(o.dst, o.x) }, 1e-5, 1e-36, false},
	{"SiLUBackward", func(o *operands) { SiLUBackward(o.dst, o.x, o.y) }, 1e-5, 1e-6, true},
	{"Add", func(o *operands) { Add(o.dst, o.x) }, 0, 0, false},
	{"Mul", func(o *operands) { Mul(o.dst, o.x) }, 0, 0, false},
	{"Scale", func(o *operands) { Scale(o.dst, .3) }, 0, 0, false},
	{"Axpy", func(o *operands) { Axpy(o.dst, .3, o.x) }, 0, 1e-6, true},
	{"Dot", func(o *operands) { o.sum = float64(Dot(o.x, o.y)) }, 0, 1e-6, true},
	{"Sum", func(o *operands) { o.sum = float64(Sum(o.x)) }, 0, 0, false},
	{"SumSquares", func(o *operands) { o.sum = SumSquares(o.x) }, 0, 0, false},
	{"Softmax", func(o *operands) { Softmax(o.dst, o.x, .7) }, 1e-5, 1e-12, true},
	{"Exponents", func(o *operands) { o.sum = float64(Exponents(o.dst, o.x, .7)) }, 1e-5, 1e-12, true},
	{"LogSumExp", func(o *operands) { o.sum = float64(LogSumExp(o.x)) }, 1e-6, 1e-6, true},
	{"expSum", func(o *operands) { o.sum = float64(expSum(o.dst, o.x, .5, 2)) }, 1e-5, 1e-12, true},
	{"expTotal", func(o *operands) { o.sum = float64(expTotal(o.x, .5, 2)) }, 1e-5, 0, true},
	{"maximum", func(o *operands) { o.sum = float64(maximum(o.x)) }, 0, 0, false},
	{"sum", func(o *operands) { o.sum = float64(sum(o.x)) }, 0, 0, false},
	{"sumDeviations", func(o *operands) { o.sum = float64(sumDeviations(o.x, .25)) }, 1e-6, 1e-6, true},
	{"softmaxGrad", func(o *operands) { softmaxGrad(o.dst, o.x, o.y, .1, .3) }, 1e-6, 1e-6, true},
	{"Widen", func(o *operands) { Widen(o.dst, o.h) }, 0, 0, false},
	{"AddWidened", func(o *operands) { AddWidened(o.dst, o.h) }, 0, 0, false},
	{"AdamW", func(o *operands) {
		for i, v := range o.w {
			o.w[i] = float32(math.Abs(float64(v)))
		}
		AdamW(o.dst, o.x, o.z, o.w, .01, .9, .95, 1e-8, .1, .1, .05, .5)
		Add(o.dst, o.z)
		Add(o.dst, o.w)
	}, 1e-5, 1e-5, true},
}

// norms are the normalisations, on rows of C elements.
var norms = []struct {
	name string
	run  func(o *operands, rows, C int)
}{
	{"LayerNorm", func(o *operands, rows, C int) {
		LayerNorm(o.dst, o.z, o.w, o.x, o.y[:C], o.y[len(o.y)-C:], rows, C, 1e-5)
		Add(o.dst[:rows], o.z)
		Add(o.dst[:rows], o.w)
	}},
	{"RMSNorm", func(o *operands, rows, C int) {
		RMSNorm(o.dst, o.w, o.x, o.y[:C], rows, C, 1e-5)
		Add(o.dst[:rows], o.w)
	}},
	{"LayerNormBackward", func(o *operands, rows, C int) {
		LayerNormBackward(o.dst, o.z[:C], o.w[:C], o.y, o.x, o.x[:rows], o.y[:rows], o.y[:C], rows, C)
		Add(o.dst[:C], o.z)
		Add(o.dst[:C], o.w)
	}},
	{"RMSNormBackward", func(o *operands, rows, C int) {
		RMSNormBackward(o.dst, o.z[:C], o.y, o.x, o.y[:rows], o.y[:C], rows, C)
		Add(o.dst[:C], o.z)
	}},
}

// numbers are n numbers of like size or, where wild is given, of the bits that stand there: any kind of number.
func numbers(rng *rand.Rand, n int, wild []byte) []float32 {
	x := randoms(rng, n)
	if len(wild) >= 4 {
		for i := range x {
			if rng.IntN(3) > 0 {
				x[i] = math.Float32frombits(binary.LittleEndian.Uint32(wild[rng.IntN(len(wild)-3):]))
			}
		}
	}
	return x
}

// compareLevels runs one kernel in all its forms on the same numbers, at the given distance from a vector's alignment.
func compareLevels(t *testing.T, name string, seed uint64, n, offset int, wild []byte, rel, abs float64, sums bool, run func(o *operands)) {
	t.Helper()
	var plain, fused *operands
	atLevels(func(level string, _ bool) {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		o := &operands{n: n, x: numbers(rng, n, wild), y: numbers(rng, n, wild), z: numbers(rng, n, wild), w: numbers(rng, n, wild), h: halfOf(rng, n)}
		checks := make([]func(), 5)
		for i, p := range []*[]float32{&o.x, &o.y, &o.z, &o.w, &o.dst} {
			in := *p
			if *p, checks[i] = guarded(t, n, (offset+3*i)%17); i < 4 {
				copy(*p, in)
			} else {
				copy(*p, randoms(rng, n))
			}
		}
		run(o)
		for _, intact := range checks {
			intact()
		}
		if plain == nil {
			plain = o
			return
		}
		near := func(what string, i int, got, want, abs float64) {
			if got == want || got != got && want != want || sums && len(wild) >= 4 {
				return
			}
			if !(math.Abs(got-want) <= abs+rel*math.Abs(want)) {
				t.Fatalf("%s of %d, seed %d, offset %d: %s: %s[%d] is %v, the portable one is %v", name, n, seed, offset, level, what, i, got, want)
			}
		}
		for i := range o.dst {
			near("dst", i, float64(o.dst[i]), float64(plain.dst[i]), abs)
		}
		near("sum", 0, o.sum, plain.sum, abs*float64(1+n))
		if fused == nil {
			fused = o
		}
		for i := range o.dst {
			if !same(o.dst[i], fused.dst[i]) || !(o.sum == fused.sum || o.sum != o.sum && fused.sum != fused.sum) {
				t.Fatalf("%s of %d, seed %d, offset %d: %s has other bits than the one before", name, n, seed, offset, level)
			}
		}
	})
}

// wildNumbers are the seeds of the fuzzing: infinite, undefined, subnormal, largest, negative zero.
var wildNumbers = []byte("\x00\x00\x80\x7f\x00\x00\x80\xff\x00\x00\xc0\x7f\x01\x00\x00\x00\xff\xff\x7f\x7f\x00\x00\x00\x80\xff\xff\x7f\x00\x00\x00\xb1\x42")

func FuzzVec(f *testing.F) {
	for n := range 40 {
		f.Add(uint64(n), uint16(n), uint8(n), []byte(nil))
		f.Add(uint64(n), uint16(7*n), uint8(n), wildNumbers)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, offset uint8, wild []byte) {
		for _, k := range differential {
			compareLevels(t, k.name, seed, int(n%600), int(offset), wild, k.rel, k.abs, k.sums, k.run)
		}
	})
}

func FuzzNorm(f *testing.F) {
	for n := range uint8(40) {
		f.Add(uint64(n), n, 1+n%5, n, []byte(nil))
		f.Add(uint64(n), n, 1+n%5, n, wildNumbers)
	}
	f.Fuzz(func(t *testing.T, seed uint64, C, rows, offset uint8, wild []byte) {
		r, c := 1+int(rows%8), 8+int(C) // no more rows than columns
		for _, k := range norms {
			compareLevels(t, k.name, seed, r*c, int(offset), wild, 5e-5, 1e-5, true, func(o *operands) { k.run(o, r, c) })
		}
	})
}

// FuzzAttention compares attention with its definition, and its gradients in all forms with each other.
func FuzzAttention(f *testing.F) {
	for n := range uint8(20) {
		f.Add(uint64(n), 5*n, n, n/4, 3*n, 2*n)
	}
	f.Fuzz(func(t *testing.T, seed uint64, T, D, group, window, KV uint8) {
		z := [5]int{1 + int(T%80), 0, 1 + int(KV%3), 1 + int(D%40), int(window % 90)}
		z[1] = z[2] * (1 + int(group%3))
		var gradients [][]float32
		atLevels(func(level string, fused bool) {
			rng := rand.New(rand.NewPCG(seed, 77))
			s := sized(rng, z)
			do := randoms(rng, len(s.o))
			o, intact := guarded(t, len(s.o), 1)
			Attention(o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			intact()
			want, lse := s.forward(wide(s.q), wide(s.k), wide(s.v))
			for i, v := range o {
				if i%s.ldo < s.H*s.D && !(math.Abs(float64(v)-want[i]) <= 1e-5) {
					t.Fatalf("%s, %v: o[%d] = %v, want %v", level, z, i, v, want[i])
				}
			}
			for i, v := range s.lse {
				if !(math.Abs(float64(v)-lse[i]) <= 1e-5) {
					t.Fatalf("%s, %v: lse[%d] = %v, want %v", level, z, i, v, lse[i])
				}
			}
			var got [][]float32
			var checks []func()
			for _, like := range [][]float32{s.q, s.k, s.v} {
				d, intact := guarded(t, len(like), 3)
				clear(d)
				got, checks = append(got, d), append(checks, intact)
			}
			AttentionBackward(got[0], s.ldq, got[1], s.ldk, got[2], s.ldv, do, s.ldo, o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.H, s.KV, s.D, s.window, s.scale)
			for _, intact := range checks {
				intact()
			}
			if gradients == nil {
				gradients = got
			}
			for n := range got {
				for i, v := range got[n] {
					if w := gradients[n][i]; !(math.Abs(float64(v-w)) <= 1e-4*(1+math.Abs(float64(w)))) {
						t.Fatalf("%s, %v: gradient %d, element %d is %v, the portable one is %v", level, z, n, i, v, w)
					}
				}
			}
		})
	})
}
