//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/cpu"
)

// atLevels runs f for every instruction set of this machine, the portable one first; fused says that its products are fused
// multiply-adds.
func atLevels(f func(name string, fused bool)) {
	before, dotsBefore := level, dots
	defer func() { level, dots = before, dotsBefore }()
	_, has := choose("", supported(), cpu.X86.HasAVX512BF16 && cpu.X86.HasAVX512VNNI)
	for l, name := range []string{"portable", "avx2", "avx512", "dots"} {
		if l <= supported() || name == "dots" && has {
			level, dots = min(l, avx512), name == "dots"
			f(name, l > portable)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		env        string
		have, want int
		dots       bool
	}{{"", avx512, avx512, true}, {"", portable, portable, false}, {"portable", avx512, portable, false}, {"avx2", avx512, avx2, false}, {"avx2", portable, portable, false},
		{"avx512", avx2, avx2, false}, {"avx512", avx512, avx512, false}, {"", avx2, avx2, false}} {
		if got, dots := choose(c.env, c.have, true); got != c.want || dots != c.dots {
			t.Errorf("choose(%q, %d, true) = %d, %v; want %d, %v", c.env, c.have, got, dots, c.want, c.dots)
		}
	}
	if _, dots := choose("", avx512, false); dots {
		t.Error("dots were chosen that the processor does not have")
	}
	if class := Class(); class != "fma2" && level > portable || class != "portable" && level == portable {
		t.Errorf("class %q at level %d", class, level)
	}
}

// pinned is the digest of what the class "fma2" computes in TestBits. Where it changes on purpose the class needs a new name,
// because a run that was begun with the old arithmetic must not be continued with the new one.
const pinned = 0x2a1d43facab00232

// pinnedBands is the same with banded attention on top.
const pinnedBands = 0x6d21067c160b268d

// AVX2 and AVX-512 give the same bits, whatever the numbers, and the same as ever.
func TestBits(t *testing.T) {
	before := level
	defer func() { level = before }()
	for _, level = range []int{avx2, avx512} {
		if level > supported() {
			t.Logf("this processor has no instruction set %d", level)
			continue
		}
		digest := fnv.New64a()
		keep := func(x ...float32) {
			for _, v := range x {
				bits := math.Float32bits(v)
				if v != v {
					bits = 0x7fc00000
				}
				digest.Write(binary.LittleEndian.AppendUint32(nil, bits))
			}
		}
		rng := rand.New(rand.NewPCG(51, 52))
		for layout := range layouts {
			for n := range 30 {
				keep(newProblem(rng, layout, n, 3*n+1, 20*n, n%2 == 0).run(t)...)
			}
		}
		for n := range 70 {
			x, dy, dst := make([]float32, n), randoms(rng, n), make([]float32, n)
			for j := range x {
				x[j] = math.Float32frombits(rng.Uint32())
				if n%2 == 0 {
					x[j] = float32(rng.NormFloat64() * 50)
				}
			}
			for _, m := range maps {
				m.run(dst, x, dy)
				keep(dst...)
			}
			keep(expTotal(x, .1, 3), expSum(dst, dy, 2, 1), LogSumExp(x), LogSumExp(dy), Dot(dy, dst), float32(SumSquares(dy)))
			keep(dst...)
			Softmax(dst, dy, 3)
			keep(dst...)
			if n == 0 {
				continue
			}
			w, b, mean, rstd, dw, db := randoms(rng, n), randoms(rng, n), make([]float32, 1), make([]float32, 1), make([]float32, n), make([]float32, n)
			LayerNorm(dst, mean, rstd, dy, w, b, 1, n, 1e-5)
			keep(dst...)
			LayerNormBackward(dst, dw, db, b, dy, mean, rstd, w, 1, n)
			keep(dst...)
			RMSNorm(dst, rstd, dy, w, 1, n, 1e-5)
			keep(dst...)
			RMSNormBackward(dst, dw, b, dy, rstd, w, 1, n)
			AdamW(w, dst, dw, dy, .01, .9, .95, 1e-8, .1, .1, .05, 1)
			for _, y := range [][]float32{mean, rstd, dst, db, w, dw, dy} {
				keep(y...)
			}
		}
		for n, z := range headSizes {
			if n == denseSizes {
				if got := digest.Sum64(); got != pinned {
					t.Errorf("instruction set %d: digest %#x, pinned is %#x", level, got, uint64(pinned))
				}
			}
			s := sized(rng, z)
			dq, dk, dv := make([]float32, len(s.q)), make([]float32, len(s.k)), make([]float32, len(s.v))
			Attention(s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			AttentionBackward(dq, s.ldq, dk, s.ldk, dv, s.ldv, s.o, s.ldo, s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.H, s.KV, s.D, s.window, s.scale)
			for _, y := range [][]float32{s.o, s.lse, dq, dk, dv} {
				keep(y...)
			}
		}
		if got := digest.Sum64(); got != pinnedBands {
			t.Errorf("instruction set %d: digest with banded attention %#x, pinned is %#x", level, got, uint64(pinnedBands))
		}
	}
}
