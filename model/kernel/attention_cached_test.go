package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The cached form equals Attention to the bit, position by position and in runs,
// whatever lies beyond the last position.
func TestAttentionCached(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(51, 52))
		for _, z := range headSizes {
			s := sized(rng, z)
			Attention(s.o, s.ldo, nil, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			stride := roundUp(s.T, 16) + 16*rng.IntN(2)
			kt := make([]float32, s.KV*s.D*stride)
			for i := range kt {
				kt[i] = float32(math.NaN())
			}
			for Tk, Tq := 0, 0; Tk < s.T; {
				Tq = 1 + rng.IntN(2)*rng.IntN(s.T-Tk)
				for range Tq {
					for c := range s.KV * s.D {
						kt[c*stride+Tk] = s.k[Tk*s.ldk+c]
					}
					Tk++
				}
				o, intact := guarded(t, (Tq-1)*s.ldo+s.H*s.D, 1)
				AttentionCached(o, s.ldo, s.q[(Tk-Tq)*s.ldq:], s.ldq, kt, stride, s.v, s.ldv, Tq, Tk, s.H, s.KV, s.D, s.window, s.scale)
				intact()
				for i := range o {
					if i%s.ldo < s.H*s.D && o[i] != s.o[(Tk-Tq)*s.ldo+i] {
						t.Fatalf("%v: %d queries over %d positions: o[%d] = %v, want %v", z, Tq, Tk, i, o[i], s.o[(Tk-Tq)*s.ldo+i])
					}
				}
			}
		}
	})
}
