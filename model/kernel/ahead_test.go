package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAhead: what is ahead is taken in order, a part of a run at a time, and once.
func TestAhead(t *testing.T) {
	x, y := make([]float32, 100), make([]float32, 32)
	var a Ahead
	a.Add(x)
	a.Add(nil)
	a.Add(y)
	for i, want := range []*float32{&x[0], &x[32], &x[64], &x[96], &y[0], nil, nil} {
		if got := a.take(32); got != want {
			t.Errorf("take %d began somewhere else", i)
		}
	}
	a.Add(y)
	a.Clear()
	if a.take(1) != nil {
		t.Error("something is left behind Clear")
	}
	if none := (*Ahead)(nil); none.take(1) != nil {
		t.Error("nothing at all is ahead, and it was taken")
	}
}

// TestMulAhead: what a product fetches meanwhile changes none of its bits, and products of many rows do fetch.
func TestMulAhead(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, form := range []Form{FormFloat32, FormBF16, FormInt8} {
		for _, s := range []struct{ M, N, K int }{{1, 64, 8}, {6, 70, 96}, {7, 32, 3}, {20, 64, 0}, {20, 200, 300}, {33, 96, 384}} {
			b, a := randoms(rng, s.K*s.N), randoms(rng, s.M*s.K)
			w := PanelsNN(form, s.K, s.N, b, s.N, nil)
			want, got := make([]float32, s.M*s.N), make([]float32, s.M*s.N)
			w.Mul(s.M, a, s.K, want, s.N, false)
			var far Ahead
			far.Add(make([]float32, 5000))
			w.MulAhead(s.M, a, s.K, got, s.N, false, &far)
			if !slices.Equal(got, want) {
				t.Errorf("form %d, %+v: other bits", form, s)
			}
			if s.M > 12 && s.K > 0 && far.at == 0 && len(far.runs[0]) == 5000 {
				t.Errorf("form %d, %+v: nothing was fetched", form, s)
			}
		}
	}
}

// BenchmarkMulAhead reads a matrix and 8 MB of other numbers, which products fetch meanwhile or not.
func BenchmarkMulAhead(b *testing.B) {
	const M, K, N, numbers = 32, 96, 12800, 1 << 18
	rng := rand.New(rand.NewPCG(1, 2))
	w := PanelsNN(FormFloat32, K, N, randoms(rng, K*N), N, nil)
	x, y, far := randoms(rng, M*K), make([]float32, M*N), Floats(8*numbers)
	for _, fetch := range []bool{false, true} {
		b.Run(map[bool]string{false: "apart", true: "ahead"}[fetch], func(b *testing.B) {
			var a, none Ahead
			i := 0
			for b.Loop() {
				part := far[i%8*numbers:][:numbers]
				i++
				if a.Clear(); fetch {
					a.Add(part)
					w.MulAhead(M, x, K, y, N, false, &a)
				} else {
					w.MulAhead(M, x, K, y, N, false, &none)
				}
				Dot(part[:numbers/2], part[numbers/2:])
			}
		})
	}
}
