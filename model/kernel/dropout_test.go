package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Drop zeroes the share that is asked for, keeps the mean, and gives an element the same fate however the row is cut.
func TestDrop(t *testing.T) {
	const n = 1 << 18
	for _, p := range []float64{0.1, 0.5, 0.9} {
		limit, scale := uint32(p*(1<<32)), float32(1/(1-p))
		x, parts := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i], parts[i] = 3, 3
		}
		Drop(x, 7, 0, limit, scale)
		for i, end := 0, 0; i < n; i = end {
			end = min(n, i+1+i%7)
			Drop(parts[i:end], 7, i, limit, scale)
		}
		gone, sum := 0, 0.0
		for i, v := range x {
			if !same(v, parts[i]) {
				t.Fatalf("p=%g: element %d depends on how the row is cut", p, i)
			}
			if v == 0 {
				gone++
			} else if v != 3*scale {
				t.Fatalf("p=%g: %g", p, v)
			}
			sum += float64(v)
		}
		if d := math.Abs(float64(gone)/n - p); d > 4*math.Sqrt(p*(1-p)/n) {
			t.Errorf("p=%g: %d of %d are gone", p, gone, n)
		}
		if mean := sum / n; math.Abs(mean-3) > 4*3*math.Sqrt(p/(1-p)/n) {
			t.Errorf("p=%g: the mean became %g", p, mean)
		}
		again := []float32{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}
		Drop(again, 8, 0, limit, scale)
		equal := true
		for i, v := range again {
			equal = equal && v == x[i]
		}
		if equal {
			t.Errorf("p=%g: two streams drop the same elements", p)
		}
	}
	whole := []float32{1, 2, 3}
	Drop(whole, 1, 5, 0, 1)
	if whole[0] != 1 || whole[1] != 2 || whole[2] != 3 {
		t.Errorf("p=0 changes %v", whole)
	}
}

// Masked attention and its gradients against float64: the weights are those of softmax, then times the mask's factors.
func TestAttentionMasked(t *testing.T) {
	eachLevel(t, func(t *testing.T, _ bool) {
		const T, H, KV, D = 40, 4, 2, 5
		for _, window := range []int{0, 9} {
			rng := rand.New(rand.NewPCG(1, uint64(window)))
			factor := func(h, i, j int) float64 { return float64(Random(uint64(h*T+i), uint64(j))>>62) * 0.5 } // 0 to 1.5
			mask := func(h, i, j int, w []float32) {
				for e := range w {
					w[e] *= float32(factor(h, i, j+e))
				}
			}
			q, k, v, do := randoms(rng, T*H*D), randoms(rng, T*KV*D), randoms(rng, T*KV*D), randoms(rng, T*H*D)
			scale := 1 / math.Sqrt(D)
			naive := func(out []float64) (loss float64) {
				for h := range H {
					g := h / (H / KV)
					for i := range T {
						var w [T]float64
						total := 0.0
						for j := bandStart(i, window); j <= i; j++ {
							s := 0.0
							for d := range D {
								s += float64(q[(i*H+h)*D+d]) * float64(k[(j*KV+g)*D+d])
							}
							w[j] = math.Exp(s * scale)
							total += w[j]
						}
						for d := range D {
							o := 0.0
							for j := bandStart(i, window); j <= i; j++ {
								o += w[j] / total * factor(h, i, j) * float64(v[(j*KV+g)*D+d])
							}
							loss += o * float64(do[(i*H+h)*D+d])
							if out != nil {
								out[(i*H+h)*D+d] = o
							}
						}
					}
				}
				return loss
			}
			want, o, lse := make([]float64, T*H*D), make([]float32, T*H*D), make([]float32, H*T)
			naive(want)
			AttentionMasked(mask, o, H*D, lse, q, H*D, k, KV*D, v, KV*D, T, T, H, KV, D, window, float32(scale))
			for i := range o {
				if math.Abs(float64(o[i])-want[i]) > 1e-5 {
					t.Fatalf("window %d: o[%d] is %g, want %g", window, i, o[i], want[i])
				}
			}
			dq, dk, dv := make([]float32, len(q)), make([]float32, len(k)), make([]float32, len(v))
			AttentionMaskedBackward(mask, dq, H*D, dk, KV*D, dv, KV*D, do, H*D, o, H*D, lse, q, H*D, k, KV*D, v, KV*D, T, H, KV, D, window, float32(scale))
			for _, x := range []struct {
				name    string
				x, grad []float32
			}{{"q", q, dq}, {"k", k, dk}, {"v", v, dv}} {
				for range 12 {
					i, h := rng.IntN(len(x.x)), float32(1./64)
					old := x.x[i]
					x.x[i] = old + h
					up := naive(nil)
					x.x[i] = old - h
					down := naive(nil)
					step := float64(old+h) - float64(old-h)
					x.x[i] = old
					if slope := (up - down) / step; math.Abs(slope-float64(x.grad[i])) > 2e-3*(1+math.Abs(slope)) {
						t.Errorf("window %d: d%s[%d] is %g, the slope %g", window, x.name, i, x.grad[i], slope)
					}
				}
			}
		}
	})
}
