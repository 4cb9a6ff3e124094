package model

import (
	"math"
	"testing"
)

// The operations add up to FLOPs, and the bytes of matrices to what Memory counts, for every family.
func TestOperationsAddUp(t *testing.T) {
	for _, cfg := range deep {
		cfg = cfg.WithDefaults()
		B, T := 3, min(17, cfg.Context)
		forward, train := cfg.FLOPs(T)
		for _, w := range []Work{{Sequences: B, Tokens: T, Heads: T}, {Sequences: B, Tokens: T, Heads: T, Train: true}} {
			want := forward * float64(B*T)
			if w.Train {
				want = train * float64(B*T)
			}
			got, repeated := 0.0, 0.0
			for _, o := range cfg.Operations(w) {
				if o.Repeats {
					repeated += o.FLOPs
				} else {
					got += o.FLOPs
				}
				if o.Matrix > o.Bytes || o.Bytes < 0 {
					t.Errorf("%s: %+v", cfg.Family, o)
				}
			}
			if math.Abs(got/want-1) > 1e-12 {
				t.Errorf("%s %+v: %g FLOPs, want %g", cfg.Family, w, got, want)
			}
			if w.Train != (repeated > 0) {
				t.Errorf("%s %+v: %g FLOPs repeated", cfg.Family, w, repeated)
			}
		}
		for _, size := range []int{4, 2, 1} { // one row reads every matrix once
			matrices, want := 0.0, 0.0
			for _, o := range cfg.Operations(Work{Sequences: 1, Tokens: 1, Past: 4, Heads: 1, Weight: size}) {
				matrices += o.Matrix
			}
			m, err := NewEmpty(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range m.body.linears() {
				want += float64(size * l.w.size())
			}
			want += float64(size * m.body.head().size())
			if matrices != want {
				t.Errorf("%s: one row reads %g bytes of matrices, want %g", cfg.Family, matrices, want)
			}
		}
	}
}

// Tokens fed one by one to a cache cost the arithmetic of the whole sequence at once.
func TestOperationsWithPast(t *testing.T) {
	for _, cfg := range deep {
		T := min(9, cfg.WithDefaults().Context)
		sum := func(w Work) (flops float64) {
			for _, o := range cfg.Operations(w) {
				flops += o.FLOPs
			}
			return flops
		}
		want, got := sum(Work{Sequences: 2, Tokens: T, Heads: T}), 0.0
		for past := range T {
			got += sum(Work{Sequences: 2, Tokens: 1, Past: past, Heads: 1})
		}
		if math.Abs(got/want-1) > 1e-12 {
			t.Errorf("%s: %g FLOPs one by one, %g at once", cfg.Family, got, want)
		}
	}
	if ops := (Config{}).Operations(Work{Sequences: 1, Tokens: 1}); ops != nil {
		t.Errorf("an impossible shape has operations: %v", ops)
	}
}
