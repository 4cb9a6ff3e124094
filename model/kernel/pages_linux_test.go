package kernel

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// atPageEnd returns n float32 that end where readable memory ends: reading one further kills the test.
func atPageEnd(t *testing.T, n int) []float32 { return endOfPage[float32](t, n) }

func endOfPage[T any](t *testing.T, n int) []T {
	bytes := n * int(unsafe.Sizeof(*new(T)))
	page := syscall.Getpagesize()
	size := (bytes+page-1)/page*page + page
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mprotect(mem[size-page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem[size-page-bytes:]))), n)
}

// No kernel reads beyond its arguments.
func TestReadsNothingBeyond(t *testing.T) {
	eachLevel(t, func(t *testing.T, fused bool) {
		rng := rand.New(rand.NewPCG(11, 12))
		end := func(n int) []float32 {
			x := atPageEnd(t, n)
			copy(x, randoms(rng, n))
			return x
		}
		sizes := [][3]int{{70, 97, 31}, {65, 23, 24}, {2, 100, 3}, {113, 17, 100}, {120, 47, 9}, {52, 300, 390}, {100, 288, 24}}
		for M := 1; M < 9; M++ { // every tile
			for _, N := range []int{1, 7, 10, 16, 19, 31, 38, 47} {
				sizes = append(sizes, [3]int{M, N, 1 + rng.IntN(20)})
			}
		}
		const room = 395 * 310
		memory := [3][]float32{atPageEnd(t, room), atPageEnd(t, room), atPageEnd(t, room)}
		for layout := range layouts {
			for _, s := range sizes {
				p := newProblem(rng, layout, s[0], s[1], s[2], true)
				for i, m := range []*[]float32{&p.a, &p.b, &p.c} {
					x := memory[i][room-len(*m):]
					copy(x, *m)
					*m = x
				}
				c := append([]float32(nil), p.c...)
				layouts[layout].run(p.M, p.N, p.K, p.a, p.lda, p.b, p.ldb, p.c, p.ldc, true)
				got := p.c
				p.c = c
				p.check(t, got, fused)
			}
		}
		for _, s := range sizes {
			M, N, K := s[0], s[1], s[2]
			a, b, c := end(M*K), endOfPage[uint16](t, N*K), end(M*N)
			copy(b, halfOf(rng, N*K))
			for _, f := range []struct {
				run  func(M, N, K int, a []float32, lda int, b []uint16, ldb int, c []float32, ldc int, acc bool)
				wide func(M, N, K int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool)
				ldb  int
			}{{NNBF16, NN, N}, {NTBF16, NT, K}} {
				wide, want := make([]float32, N*K), make([]float32, M*N)
				Widen(wide, b)
				f.wide(M, N, K, a, K, wide, f.ldb, want, N, false)
				f.run(M, N, K, a, K, b, f.ldb, c, N, false)
				for i := range c {
					if !same(c[i], want[i]) {
						t.Fatalf("M=%d N=%d K=%d: element %d of the product in bfloat16 is %v, want %v", M, N, K, i, c[i], want[i])
					}
				}
			}
		}
		for _, n := range []int{1, 3, 7, 8, 9, 15, 17, 31, 33} {
			x, y, z, w := end(n), end(n), end(n), end(n)
			Exp(x, y)
			GELU(x, y)
			GELUBackward(x, y, z)
			SiLU(x, y)
			SiLUBackward(x, y, z)
			Add(x, y)
			Mul(x, y)
			Scale(x, .5)
			Axpy(x, 2, y)
			_ = Dot(x, y) + float32(SumSquares(x)) + LogSumExp(x)
			Softmax(x, y, 2)
			AdamW(x, y, z, w, .1, .9, .99, 1e-8, .1, .1, .01, 1)
			rows := 3
			a, b, d, e, mean, rstd := end(rows*n), end(rows*n), end(rows*n), end(n), end(rows), end(rows)
			LayerNorm(a, mean, rstd, b, x, y, rows, n, 1e-5)
			LayerNormBackward(a, x, y, b, d, mean, rstd, e, rows, n)
			RMSNorm(a, rstd, b, x, rows, n, 1e-5)
			RMSNormBackward(a, x, b, d, rstd, e, rows, n)
			T, H, KV, D := n, 2, 1, 5
			q, k, v, o := end(T*H*D), end(T*KV*D), end(T*KV*D), end(T*H*D)
			lse := end(H * T)
			for _, window := range []int{0, 3, 16} {
				Attention(o, H*D, lse, q, H*D, k, KV*D, v, KV*D, T, T, H, KV, D, window, .4)
				AttentionBackward(end(T*H*D), H*D, end(T*KV*D), KV*D, end(T*KV*D), KV*D, end(T*H*D), H*D, o, H*D, lse, q, H*D, k, KV*D, v, KV*D, T, H, KV, D, window, .4)
			}
		}
	})
}
