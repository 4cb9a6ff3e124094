package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The cached form equals Attention to the bit, position by position and in runs,
// whatever the size of the pages, and whatever lies beyond the last position.
func TestAttentionCached(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(51, 52))
		for _, z := range headSizes {
			s := sized(rng, z)
			Attention(s.o, s.ldo, nil, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			size := 16 * (1 + rng.IntN(roundUp(s.T, 16)/16+1)) // of a page, up to more than all
			kv := Paged{Size: size, Keys: rng.IntN(9), LDV: s.KV*s.D + rng.IntN(3)}
			kv.Values = kv.Keys + s.KV*s.D*size
			for range (s.T + size - 1) / size {
				page := make([]float32, kv.Values+size*kv.LDV)
				for i := range page {
					page[i] = float32(math.NaN())
				}
				kv.Pages = append(kv.Pages, page)
			}
			for Tk, Tq := 0, 0; Tk < s.T; {
				Tq = 1 + rng.IntN(2)*rng.IntN(s.T-Tk)
				for range Tq {
					for c := range s.KV * s.D {
						kv.Pages[Tk/size][kv.Keys+c*size+Tk%size] = s.k[Tk*s.ldk+c]
						kv.Pages[Tk/size][kv.Values+Tk%size*kv.LDV+c] = s.v[Tk*s.ldv+c]
					}
					Tk++
				}
				o, intact := guarded(t, (Tq-1)*s.ldo+s.H*s.D, 1)
				AttentionCached(o, s.ldo, s.q[(Tk-Tq)*s.ldq:], s.ldq, kv, Tq, Tk, s.H, s.KV, s.D, s.window, s.scale)
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
