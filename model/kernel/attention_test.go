package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// heads are the arguments of an attention, all rows longer than they need to be.
type heads struct {
	T, H, KV, D        int
	window             int // 0 = all
	ldq, ldk, ldv, ldo int
	q, k, v, o, lse    []float32
	scale              float32
}

func newHeads(rng *rand.Rand, T, H, KV, D int) *heads {
	s := &heads{T: T, H: H, KV: KV, D: D, ldq: H*D + 3, ldk: KV*D + 1, ldv: KV*D + 2, ldo: H*D + 5, scale: float32(1 / math.Sqrt(float64(D)))}
	s.q, s.k, s.v = randoms(rng, T*s.ldq), randoms(rng, T*s.ldk), randoms(rng, T*s.ldv)
	s.o, s.lse = make([]float32, T*s.ldo), make([]float32, H*T)
	return s
}

// forward is attention in float64 by the definition.
func (s *heads) forward(q, k, v []float64) (o, lse []float64) {
	o, lse = make([]float64, s.T*s.ldo), make([]float64, s.H*s.T)
	for h := range s.H {
		g := h / (s.H / s.KV)
		for i := range s.T {
			p := make([]float64, i+1)
			largest, total := math.Inf(-1), 0.0
			for j := range p {
				if s.window > 0 && j <= i-s.window {
					p[j] = math.Inf(-1)
					continue
				}
				for d := range s.D {
					p[j] += q[i*s.ldq+h*s.D+d] * k[j*s.ldk+g*s.D+d]
				}
				p[j] *= float64(s.scale)
				largest = max(largest, p[j])
			}
			for j := range p {
				p[j] = math.Exp(p[j] - largest)
				total += p[j]
			}
			lse[h*s.T+i] = largest + math.Log(total)
			for j := range p {
				for d := range s.D {
					o[i*s.ldo+h*s.D+d] += p[j] / total * v[j*s.ldv+g*s.D+d]
				}
			}
		}
	}
	return o, lse
}

// headSizes are T, H, KV, D and the window; the first denseSizes have none.
var headSizes = [][5]int{{1, 1, 1, 1, 0}, {2, 1, 1, 3, 0}, {5, 2, 2, 8, 0}, {17, 4, 2, 24, 0}, {33, 3, 1, 32, 0}, {50, 4, 4, 16, 0}, {70, 2, 1, 20, 0},
	{5, 2, 2, 8, 1}, {33, 3, 1, 32, 7}, {50, 4, 4, 16, 16}, {70, 2, 1, 20, 17}, {70, 4, 2, 8, 33}, {133, 2, 1, 8, 40}}

const denseSizes = 7

// sized are heads of one of headSizes.
func sized(rng *rand.Rand, z [5]int) *heads {
	s := newHeads(rng, z[0], z[1], z[2], z[3])
	s.window = z[4]
	return s
}

func TestAttention(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(41, 42))
		for _, z := range headSizes {
			s := sized(rng, z)
			o, intact := guarded(t, len(s.o), 1)
			Attention(o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			intact()
			want, lse := s.forward(wide(s.q), wide(s.k), wide(s.v))
			for i, v := range o {
				if i%s.ldo >= s.H*s.D {
					if v != guard {
						t.Fatalf("%v: o was written between its rows", z)
					}
				} else if math.Abs(float64(v)-want[i]) > 2e-6 {
					t.Fatalf("%v: o[%d] = %v, want %v", z, i, v, want[i])
				}
			}
			for i, v := range s.lse {
				if math.Abs(float64(v)-lse[i]) > 4e-6 {
					t.Fatalf("%v: lse[%d] = %v, want %v", z, i, v, lse[i])
				}
			}
		}
	})
}

// The bits of a query's row do not depend on how many are worked on at once, nor on threads.
func TestAttentionBits(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(43, 44))
		for _, z := range append(headSizes, [5]int{130, 4, 2, 24, 0}) {
			s := sized(rng, z)
			Attention(s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			threaded(t, func(t *testing.T, threads int) {
				for Tk := 1; Tk <= s.T; Tk++ {
					Tq := 1 // one by one, and now and then several at the end
					if Tk%7 == 0 {
						Tq = 1 + rng.IntN(Tk)
					}
					first := Tk - Tq
					o, lse := make([]float32, Tq*s.ldo), make([]float32, s.H*Tq)
					Attention(o, s.ldo, lse, s.q[first*s.ldq:], s.ldq, s.k, s.ldk, s.v, s.ldv, Tq, Tk, s.H, s.KV, s.D, s.window, s.scale)
					for i := range Tq {
						for c := range s.H * s.D {
							if !same(o[i*s.ldo+c], s.o[(first+i)*s.ldo+c]) {
								t.Fatalf("%v, %d threads, queries %d of %d: o[%d,%d] = %v, not %v", z, threads, Tq, Tk, i, c, o[i*s.ldo+c], s.o[(first+i)*s.ldo+c])
							}
						}
						for h := range s.H {
							if !same(lse[h*Tq+i], s.lse[h*s.T+first+i]) {
								t.Fatalf("%v: lse differs", z)
							}
						}
					}
				}
			})
		}
	})
}

// difference is one element of a gradient, by differences in float64: row, column and value.
type difference struct {
	row, col int
	value    float64
}

// differences returns about 40 elements of the gradients of the sum of do·o with respect to q, k and v.
func (s *heads) differences(rng *rand.Rand, do []float32) (d [3][]difference) {
	q, k, v := wide(s.q), wide(s.k), wide(s.v)
	loss := func() (sum float64) {
		o, _ := s.forward(q, k, v)
		for i := range s.T {
			for c := range s.H * s.D {
				sum += o[i*s.ldo+c] * float64(do[i*s.ldo+c])
			}
		}
		return sum
	}
	for n, m := range []struct {
		x         []float64
		width, ld int
	}{{q, s.H * s.D, s.ldq}, {k, s.KV * s.D, s.ldk}, {v, s.KV * s.D, s.ldv}} {
		for range min(40, s.T*m.width) {
			i, c := rng.IntN(s.T), rng.IntN(m.width)
			const h = 1e-5
			x := &m.x[i*m.ld+c]
			kept := *x
			*x = kept + h
			up := loss()
			*x = kept - h
			down := loss()
			*x = kept
			d[n] = append(d[n], difference{i, c, (up - down) / (2 * h)})
		}
	}
	return d
}

func TestAttentionBackward(t *testing.T) {
	rng := rand.New(rand.NewPCG(45, 46))
	for _, z := range headSizes {
		s := sized(rng, z)
		do := randoms(rng, s.T*s.ldo)
		differences := s.differences(rng, do)
		lddq, lddk, lddv := s.H*s.D+1, s.KV*s.D+2, s.KV*s.D+3
		start := [][]float32{randoms(rng, s.T*lddq), randoms(rng, s.T*lddk), randoms(rng, s.T*lddv)}
		eachLevel(t, func(t *testing.T, fused bool) {
			Attention(s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, s.H, s.KV, s.D, s.window, s.scale)
			var first [][]float32
			threaded(t, func(t *testing.T, threads int) {
				var got [][]float32
				for i := range start {
					g, intact := guarded(t, len(start[i]), i+1)
					defer intact()
					copy(g, start[i])
					got = append(got, g)
				}
				AttentionBackward(got[0], lddq, got[1], lddk, got[2], lddv, do, s.ldo, s.o, s.ldo, s.lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.H, s.KV, s.D, s.window, s.scale)
				if first == nil {
					first = got
				}
				for i := range got {
					for j := range got[i] {
						if !same(got[i][j], first[i][j]) {
							t.Fatalf("%v: gradients depend on the threads", z)
						}
					}
				}
			})
			for n, ld := range []int{lddq, lddk, lddv} {
				width := []int{s.H, s.KV, s.KV}[n] * s.D
				for i, v := range first[n] {
					if i%ld >= width && v != start[n][i] {
						t.Fatalf("%v: gradient %d was written between its rows", z, n)
					}
				}
				for _, d := range differences[n] {
					at := d.row*ld + d.col
					if got := float64(first[n][at]) - float64(start[n][at]); math.Abs(got-d.value) > 1e-5*(1+math.Abs(d.value)) {
						t.Fatalf("%v: gradient %d [%d,%d] = %v, want %v", z, n, d.row, d.col, got, d.value)
					}
				}
			}
		})
	}
}

// A window that reaches over all positions gives the bits of no window, forward and backward.
func TestAttentionWindowOverAll(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(49, 50))
		for _, T := range []int{1, 16, 33, 130} {
			s := newHeads(rng, T, 4, 2, 24)
			do := randoms(rng, T*s.ldo)
			run := func(window int) (out [][]float32) {
				o, lse := make([]float32, len(s.o)), make([]float32, len(s.lse))
				dq, dk, dv := make([]float32, len(s.q)), make([]float32, len(s.k)), make([]float32, len(s.v))
				Attention(o, s.ldo, lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, T, T, s.H, s.KV, s.D, window, s.scale)
				AttentionBackward(dq, s.ldq, dk, s.ldk, dv, s.ldv, do, s.ldo, o, s.ldo, lse, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, T, s.H, s.KV, s.D, window, s.scale)
				return [][]float32{o, lse, dq, dk, dv}
			}
			all := run(0)
			for _, window := range []int{T, T + 1, T + 100, math.MaxInt} {
				for i, got := range run(window) {
					for j := range got {
						if !same(got[j], all[i][j]) {
							t.Fatalf("T %d, window %d: number %d of output %d is %v, without a window %v", T, window, j, i, got[j], all[i][j])
						}
					}
				}
			}
		}
	})
}

// What lies well before the band is not even read, so the work is that of the window: a NaN there would show.
func TestAttentionReadsItsBandOnly(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(51, 53))
		const T, window = 300, 20
		for _, Tq := range []int{1, 5, 32} {
			s := newHeads(rng, T, 2, 1, 8)
			for i := range T - Tq - window + 1 - 15 {
				for c := range s.KV * s.D {
					s.k[i*s.ldk+c], s.v[i*s.ldv+c] = float32(math.NaN()), float32(math.NaN())
				}
			}
			Attention(s.o, s.ldo, nil, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, Tq, T, s.H, s.KV, s.D, window, s.scale)
			for i := range Tq {
				for c := range s.H * s.D {
					if x := s.o[i*s.ldo+c]; x != x {
						t.Fatalf("%d queries: row %d read what it does not see", Tq, i)
					}
				}
			}
		}
	})
}

// Where every key is the same, attention is the mean of the values seen, however large the scores.
func TestAttentionLargeScores(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(47, 48))
		s := newHeads(rng, 20, 1, 1, 8)
		for i := range s.k {
			s.k[i] = 1e4
		}
		Attention(s.o, s.ldo, nil, s.q, s.ldq, s.k, s.ldk, s.v, s.ldv, s.T, s.T, 1, 1, 8, 0, s.scale)
		var total float64
		for i := range s.T {
			total += float64(s.v[i*s.ldv])
			if want := total / float64(i+1); math.Abs(float64(s.o[i*s.ldo])-want) > 1e-6 {
				t.Fatalf("row %d: %v, want %v", i, s.o[i*s.ldo], want)
			}
		}
	})
}

func ExampleAttention() {
	// Two positions, one head of width 1: the second query sees both values alike, as all scores are zero.
	q, k, v, o := []float32{0, 0}, []float32{5, 7}, []float32{1, 3}, make([]float32, 2)
	Attention(o, 1, nil, q, 1, k, 1, v, 1, 2, 2, 1, 1, 1, 0, 1)
	fmt.Println(o)
	// Output: [1 2]
}
