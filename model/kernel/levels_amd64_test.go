//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// eachLevel runs f for every instruction set of this machine; exact says that its products are to equal the reference to the bit.
func eachLevel(t *testing.T, f func(t *testing.T, exact bool)) {
	before := level
	defer func() { level = before }()
	for l, name := range []string{"portable", "avx2", "avx512"} {
		if l > supported() {
			t.Logf("this processor has no %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			level = l
			f(t, l > portable)
		})
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		env        string
		have, want int
	}{{"", avx512, avx512}, {"", portable, portable}, {"portable", avx512, portable}, {"avx2", avx512, avx2}, {"avx2", portable, portable}, {"avx512", avx2, avx2}, {"avx512", avx512, avx512}} {
		if got := choose(c.env, c.have); got != c.want {
			t.Errorf("choose(%q, %d) = %d, want %d", c.env, c.have, got, c.want)
		}
	}
	if class := Class(); class != "fma" && level > portable || class != "portable" && level == portable {
		t.Errorf("class %q at level %d", class, level)
	}
}

// AVX2 and AVX-512 give the same bits, whatever the numbers.
func TestLevelsAgree(t *testing.T) {
	if supported() < avx512 {
		t.Log("this processor has no AVX-512: nothing to compare")
		return
	}
	before := level
	defer func() { level = before }()
	var results [2][]float32
	for i := range results {
		level = avx2 + i
		rng := rand.New(rand.NewPCG(51, 52))
		keep := func(x ...float32) { results[i] = append(results[i], x...) }
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
			keep(expTotal(x, .1, 3), expSum(dst, dy, 2, 1), LogSumExp(x), LogSumExp(dy))
			keep(dst...)
			Softmax(dst, dy, 3)
			keep(dst...)
		}
		for _, z := range headSizes {
			s := newHeads(rng, z[0], z[1], z[2], z[3])
			dq, dk, dv := make([]float32, len(s.q)), make([]float32, len(s.k)), make([]float32, len(s.v))
			Attention(s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.scale)
			AttentionBackward(dq, s.ldq, dk, s.ldk, dv, s.ldv, s.o, s.ldo, s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.H, s.KV, s.D, s.scale)
			for _, y := range [][]float32{s.o, s.lse, dq, dk, dv} {
				keep(y...)
			}
		}
	}
	for i, v := range results[0] {
		if !same(v, results[1][i]) {
			t.Fatalf("number %d is %v by AVX2 and %v by AVX-512", i, v, results[1][i])
		}
	}
}
