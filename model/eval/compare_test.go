package eval

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func within(t *testing.T, what string, got, want, most float64) {
	t.Helper()
	if !(math.Abs(got-want) <= most) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestLengthControlledGolden: figures of plain gradient ascent on the same posterior, 200,000 steps in Python's own float64.
func TestLengthControlledGolden(t *testing.T) {
	d := []float64{120, -30, 40, -80, 200, 10, 55, -5, -60, 90, 0, -140}
	w := []float64{1, 1, .5, 0, 1, 0, .75, 1, .25, 1, .5, 0}
	within(t, "ties and shares", LengthControlled(w, d), 0.564454617112997, 1e-9)
	within(t, "phi", func() float64 { _, phi := lengthFit(w, lengthTerm(d), everyIndex(12), 0, 0); return phi }(), 2.365525779464094, 1e-8)
	for i := range w {
		w[i] = 1
	}
	within(t, "all won", LengthControlled(w, d), 0.9954627835334553, 1e-9)
}

// TestLengthControlledProperties: exchanging the sides exchanges the figure, the order of prompts does not matter, equal lengths
// leave the plain win rate, and a judge who looks at length alone leaves nothing.
func TestLengthControlledProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		n := 30 + random.IntN(100)
		w, d, otherW, otherD, byLength, same := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		plain := 0.0
		for i := range w {
			w[i], d[i] = float64(random.IntN(3))/2, float64(random.IntN(400)-200)
			otherW[i], otherD[i] = 1-w[i], -d[i]
			plain += w[i] / float64(n)
			if d[i] > 0 {
				byLength[i] = 1
			} else if d[i] == 0 {
				byLength[i] = .5
			}
		}
		got := LengthControlled(w, d)
		within(t, "the other way round", LengthControlled(otherW, otherD), 1-got, 1e-9)
		within(t, "equal lengths", LengthControlled(w, same), plain, .002) // the prior draws a little
		order := random.Perm(n)
		for i, j := range order {
			otherW[i], otherD[i] = w[j], d[j]
		}
		within(t, "another order", LengthControlled(otherW, otherD), got, 1e-9)
		if plainLength := average(byLength); math.Abs(plainLength-.5) > .03 {
			if lc := LengthControlled(byLength, d); math.Abs(lc-.5) > math.Abs(plainLength-.5)+.2 {
				t.Errorf("a judge of length: %v, plain %v", lc, plainLength)
			}
		}
	}
	// Longer answers win four times of five, and B's are longer nine times of ten.
	var w, d []float64
	for i := range 1000 {
		x := 100.0
		if i%10 == 0 {
			x = -100
		}
		y := 0.0
		if (i/10%5 != 0) == (x > 0) {
			y = 1
		}
		w, d = append(w, y), append(d, x)
	}
	if plain, lc := average(w), LengthControlled(w, d); plain < .7 || math.Abs(lc-.5) > .05 {
		t.Errorf("length alone: plain %v, controlled %v", plain, lc)
	}
}

// TestBootstrap: the interval of a mean is about the normal one, the seed decides it, and few clusters make no nonsense.
func TestBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	x := make([]float64, 400)
	for i := range x {
		x[i] = float64(random.IntN(3)) / 2
	}
	mean := func(index []int) float64 {
		sum := 0.0
		for _, i := range index {
			sum += x[i]
		}
		return sum / float64(len(index))
	}
	got, want := Bootstrap(len(x), 7, mean), Mean(x)
	within(t, "mean", got.Mean, want.Mean, 1e-12)
	within(t, "low", got.Low, want.Low, .01)
	within(t, "high", got.High, want.High, .01)
	if again, other := Bootstrap(len(x), 7, mean), Bootstrap(len(x), 8, mean); again != got || other == got || other.Mean != got.Mean {
		t.Errorf("seeds: %+v, %+v, %+v", got, again, other)
	}
	if e := Bootstrap(1, 1, mean); e.Low != x[0] || e.High != x[0] || e.N != 1 {
		t.Errorf("one cluster: %+v", e)
	}
	if e := Bootstrap(0, 1, mean); !math.IsNaN(e.Mean) || e.N != 0 {
		t.Errorf("no cluster: %+v", e)
	}
	sorted := slices.Sorted(slices.Values([]float64{4, 1, 3, 2, 5}))
	within(t, "quantile", quantile(sorted, .625), 3.5, 1e-12)
}
