package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// layouts are the three products; each reads element (i,k) of A at i*ars+k*aks and (k,j) of B at k*bks+j*bns.
var layouts = []struct {
	name   string
	run    func(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool)
	ta, tb bool
}{{"NN", NN, false, false}, {"NT", NT, false, true}, {"TN", TN, true, false}}

// problem is one product with random matrices whose rows are longer than they need to be.
type problem struct {
	layout             int
	M, N, K            int
	lda, ldb, ldc      int
	a, b, c            []float32
	ars, aks, bks, bns int
	acc                bool
}

func newProblem(rng *rand.Rand, layout, M, N, K int, acc bool) *problem {
	p := &problem{layout: layout, M: M, N: N, K: K, acc: acc}
	rowsA, colsA, rowsB, colsB := M, K, K, N
	if layouts[layout].ta {
		rowsA, colsA = K, M
	}
	if layouts[layout].tb {
		rowsB, colsB = N, K
	}
	p.lda, p.ldb, p.ldc = colsA+rng.IntN(5), colsB+rng.IntN(5), N+rng.IntN(5)
	fill := func(rows, cols, ld int) []float32 {
		m := make([]float32, max(0, (rows-1)*ld+cols))
		for i := range m {
			m[i] = float32(math.NaN()) // between the rows: nothing may depend on it
			if i%ld < cols {
				m[i] = float32(rng.NormFloat64())
			}
		}
		return m
	}
	p.a, p.b, p.c = fill(rowsA, colsA, p.lda), fill(rowsB, colsB, p.ldb), fill(M, N, p.ldc)
	p.ars, p.aks, p.bks, p.bns = p.lda, 1, p.ldb, 1
	if layouts[layout].ta {
		p.ars, p.aks = 1, p.lda
	}
	if layouts[layout].tb {
		p.bks, p.bns = 1, p.ldb
	}
	return p
}

func (p *problem) String() string {
	return fmt.Sprintf("%s M=%d N=%d K=%d lda=%d ldb=%d ldc=%d acc=%v", layouts[p.layout].name, p.M, p.N, p.K, p.lda, p.ldb, p.ldc, p.acc)
}

// run computes into a copy of C at an odd place and returns it.
func (p *problem) run(t testing.TB) []float32 {
	c, intact := guarded(t, len(p.c), p.K&7)
	copy(c, p.c)
	layouts[p.layout].run(p.M, p.N, p.K, p.a, p.lda, p.b, p.ldb, c, p.ldc, p.acc)
	intact()
	return c
}

// check compares C with the chain of multiply-adds to the bit, fused or, in the portable class, rounded twice.
func (p *problem) check(t testing.TB, c []float32, fused bool) {
	t.Helper()
	for i := range c {
		if i%p.ldc >= p.N {
			if c[i] == c[i] {
				t.Fatalf("%v: C was written between its rows", p)
			}
			continue
		}
		r, j := i/p.ldc, i%p.ldc
		var s float32
		if p.acc {
			s = p.c[i]
		}
		for k := range p.K {
			x, y := p.a[r*p.ars+k*p.aks], p.b[k*p.bks+j*p.bns]
			if fused {
				s = fma(x, y, s)
			} else {
				s += float32(x * y)
			}
		}
		if !same(c[i], s) {
			t.Fatalf("%v: C[%d,%d] = %v, want %v", p, r, j, c[i], s)
		}
	}
}

func TestProductSizes(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(5, 6))
		for layout := range layouts {
			for M := range 10 { // every remainder of a tile
				for N := range 52 {
					p := newProblem(rng, layout, M, N, rng.IntN(20), rng.IntN(2) == 0)
					p.check(t, p.run(t), fused)
				}
			}
			for range 60 {
				p := newProblem(rng, layout, 1+rng.IntN(90), 1+rng.IntN(120), 1+rng.IntN(90), rng.IntN(2) == 0)
				p.check(t, p.run(t), fused)
			}
			for _, s := range [][3]int{{300, 20, 7}, {7, 500, 9}, {9, 50, 1000}, {70, 49, 385}, {65, 97, 97}, {1, 4500, 29}, {1, 21, 500}, {8, 33, 401}} { // beyond every block
				p := newProblem(rng, layout, s[0], s[1], s[2], rng.IntN(2) == 0)
				p.check(t, p.run(t), fused)
			}
		}
	})
}

// The bits of a row depend neither on the other rows nor on the threads nor on how the factors are stored.
func TestProductBits(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(7, 8))
		for _, s := range [][3]int{{37, 100, 70}, {270, 130, 400}, {600, 96, 96}, {33, 1030, 64}} {
			M, N, K := s[0], s[1], s[2]
			a, b := randoms(rng, M*K), randoms(rng, K*N)
			at, bt := make([]float32, M*K), make([]float32, K*N)
			transposeGo(at, M, a, K, M, K)
			transposeGo(bt, K, b, N, K, N)
			var want []float32
			compare := func(what string, got []float32, from int) {
				t.Helper()
				for i, v := range got {
					if !same(v, want[from*N+i]) {
						t.Fatalf("%v %s: element %d is %v, not %v", s, what, i, v, want[from*N+i])
					}
				}
			}
			threaded(t, func(t *testing.T, threads int) {
				c := make([]float32, M*N)
				NN(M, N, K, a, K, b, N, c, N, false)
				if want == nil {
					want = append(want, c...)
				}
				compare("NN", c, 0)
				NT(M, N, K, a, K, bt, K, c, N, false)
				compare("NT", c, 0)
				TN(M, N, K, at, M, b, N, c, N, false)
				compare("TN", c, 0)
				for _, rows := range []int{1, 2, 5, 32} {
					i := rng.IntN(M - rows)
					c = c[:rows*N]
					NN(rows, N, K, a[i*K:], K, b, N, c, N, false)
					compare("NN rows", c, i)
					NT(rows, N, K, a[i*K:], K, bt, K, c, N, false)
					compare("NT rows", c, i)
				}
			})
		}
	})
}

func TestProductNotFinite(t *testing.T) {
	odd := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), math.MaxFloat32, math.SmallestNonzeroFloat32, 1e-38}
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(9, 10))
		for layout := range layouts {
			for range 50 {
				p := newProblem(rng, layout, 1+rng.IntN(20), 1+rng.IntN(60), 1+rng.IntN(20), rng.IntN(2) == 0)
				for _, m := range [][]float32{p.a, p.b} {
					for range 1 + rng.IntN(3) {
						if i := rng.IntN(len(m)); m[i] == m[i] {
							m[i] = odd[rng.IntN(len(odd))]
						}
					}
				}
				p.check(t, p.run(t), fused)
			}
		}
	})
}

// FuzzProduct compares the assembly with the reference on numbers of any size and kind.
func FuzzProduct(f *testing.F) {
	f.Add(uint8(0), uint8(3), uint8(17), uint8(5), []byte("\x00\x00\x80\x3f\xff\xff\x7f\x7f\x01\x00\x00\x00"))
	f.Add(uint8(1), uint8(9), uint8(49), uint8(33), []byte("\x00\x00\x80\xff\x00\x00\x00\x80\xcd\xcc\xcc\x3d\x00\x00\xc0\x7f"))
	f.Add(uint8(2), uint8(13), uint8(31), uint8(18), []byte("a number or two and some more of them to be multiplied"))
	f.Fuzz(func(t *testing.T, layout, M, N, K uint8, data []byte) {
		p := newProblem(rand.New(rand.NewPCG(uint64(len(data)), 1)), int(layout%3), int(M%40), int(N%110), int(K%70), layout > 127)
		for _, m := range [][]float32{p.a, p.b} {
			for i := range m {
				if len(data) >= 4 && m[i] == m[i] && i%3 != 0 {
					m[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[i%(len(data)-3):]))
				}
			}
		}
		p.check(t, p.run(t), Class() != "portable")
	})
}

func TestProductRefuses(t *testing.T) {
	x := make([]float32, 100)
	for name, f := range map[string]func(){
		"short A":  func() { NN(10, 2, 11, x, 11, x, 2, x, 2, false) },
		"short B":  func() { NT(2, 11, 10, x, 10, x, 10, x, 11, false) },
		"short C":  func() { TN(11, 10, 2, x, 11, x, 10, x, 10, false) },
		"narrow":   func() { NN(2, 2, 4, x, 3, x, 2, x, 2, false) },
		"negative": func() { NN(-1, 2, 4, x, 4, x, 2, x, 2, false) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestTranspose(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(13, 14))
		for n := 1; n < 40; n++ {
			for k := 1; k < 40; k += 1 + rng.IntN(3) {
				ld := k + rng.IntN(4)
				src := randoms(rng, n*ld)
				stride := roundUp(n, 16)
				dst, intact := guarded(t, k*stride, 1)
				transpose(dst, stride, src, ld, n, k)
				intact()
				for q := range k {
					for r := range stride {
						var want float32
						if r < n {
							want = src[r*ld+q]
						}
						if dst[q*stride+r] != want {
							t.Fatalf("n %d, k %d: [%d,%d] = %v, want %v", n, k, q, r, dst[q*stride+r], want)
						}
					}
				}
			}
		}
	})
}
