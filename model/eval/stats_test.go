package eval

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12 {
		t.Errorf("%s: %.15g, want %.15g", name, got, want)
	}
}

// Mean 2, residuals -1 0 1: se^2 = 3/2 * 2 / 9 = 1/3, which is s^2/n with s^2 = 1.
func TestMean(t *testing.T) {
	e := Mean([]float64{1, 2, 3})
	half := 1.959963984540054 * math.Sqrt(1.0/3)
	near(t, "mean", e.Mean, 2)
	near(t, "low", e.Low, 2-half)
	near(t, "high", e.High, 2+half)
	if e.N != 3 || e.Clusters != 3 {
		t.Errorf("%+v", e)
	}
}

// Two prompts of two answers: mean 2, residual sums p: (1-2)+(1-2) = -2, q: (3-2)+(3-2) = 2;
// se^2 = 2/1 * (4+4) / 16 = 1. Taken as independent it would be 4/3 * 4 / 16 = 1/3.
func TestMeanByPrompt(t *testing.T) {
	e := MeanByPrompt([]float64{1, 3, 1, 3}, []string{"p", "q", "p", "q"})
	near(t, "mean", e.Mean, 2)
	near(t, "low", e.Low, 2-1.959963984540054)
	near(t, "high", e.High, 2+1.959963984540054)
	if e.N != 4 || e.Clusters != 2 {
		t.Errorf("%+v", e)
	}
	near(t, "apart", Mean([]float64{1, 3, 1, 3}).High, 2+1.959963984540054*math.Sqrt(1.0/3))
}

// Wins 1, ties 0.5: 1, 0.5, 0, 1 over three prompts: mean 0.625; residual sums a: 0.375-0.125 = 0.25, b: -0.625,
// c: 0.375; se^2 = 3/2 * (0.0625+0.390625+0.140625) / 16.
func TestWinRate(t *testing.T) {
	e := WinRate([]float64{2, 1, 0, 5}, []float64{1, 1, 3, 4}, []string{"a", "a", "b", "c"})
	near(t, "mean", e.Mean, 0.625)
	half := 1.959963984540054 * math.Sqrt(1.5*0.59375/16)
	near(t, "low", e.Low, 0.625-half)
	near(t, "high", e.High, 0.625+half)
	same := WinRate([]float64{1, 2}, []float64{1, 2}, []string{"a", "b"})
	near(t, "against itself", same.Mean, 0.5)
	near(t, "without doubt", same.High, 0.5)
}

func TestTooFewToKnow(t *testing.T) {
	if e := Mean(nil); !math.IsNaN(e.Mean) || !math.IsNaN(e.Low) || e.N != 0 {
		t.Errorf("of none: %+v", e)
	}
	if e := MeanByPrompt([]float64{1, 2}, []string{"p", "p"}); e.Mean != 1.5 || !math.IsNaN(e.Low) || !math.IsNaN(e.High) || e.Clusters != 1 {
		t.Errorf("of one prompt: %+v", e)
	}
}

func TestIntervalsCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const draws, prompts, each = 2000, 60, 4
	covered := 0
	for range draws {
		var x []float64
		var p []string
		for i := range prompts {
			shift := rng.NormFloat64() // what the answers to one prompt have in common
			for range each {
				x = append(x, shift+0.5*rng.NormFloat64())
				p = append(p, strconv.Itoa(i))
			}
		}
		if e := MeanByPrompt(x, p); e.Low <= 0 && 0 <= e.High {
			covered++
		}
	}
	if rate := float64(covered) / draws; rate < 0.93 || rate > 0.965 {
		t.Errorf("95%% intervals cover the truth %.3f of the time", rate)
	}
}

func TestLengthsMustAgree(t *testing.T) {
	for name, f := range map[string]func(){
		"mean": func() { MeanByPrompt([]float64{1}, nil) },
		"win":  func() { WinRate([]float64{1}, []float64{1, 2}, []string{"a"}) },
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

// Intervals of Newcombe 1998, table I, method 3 (Wilson's score without continuity correction).
func TestProportion(t *testing.T) {
	for _, c := range []struct {
		right, n  int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}, {20, 20, 0.8389, 1}} {
		e := Proportion(c.right, c.n)
		if math.Abs(e.Low-c.low) > 5e-5 || math.Abs(e.High-c.high) > 5e-5 || e.Mean != float64(c.right)/float64(c.n) || e.N != c.n {
			t.Errorf("%d of %d: %+v, want [%g, %g]", c.right, c.n, e, c.low, c.high)
		}
	}
	if e := Proportion(0, 0); !math.IsNaN(e.Mean) {
		t.Errorf("of none: %+v", e)
	}
}

// By hand: 8 items, a alone right in 3, b alone in 1: (3+1)/10 and (1+1)/10, middle 0.2, se^2 = (0.6 - 0.04)/10.
func TestDifference(t *testing.T) {
	a := []bool{true, true, true, true, false, false, false, true}
	b := []bool{false, false, false, true, true, false, false, true}
	e := Difference(a, b)
	near(t, "difference", e.Mean, 0.25)
	near(t, "low", e.Low, 0.2-1.959963984540054*math.Sqrt(0.056))
	near(t, "high", e.High, 0.2+1.959963984540054*math.Sqrt(0.056))
	if back := Difference(b, a); math.Abs(back.Low+e.High) > 1e-12 || back.Mean != -e.Mean {
		t.Errorf("the other way round: %+v", back)
	}
	if same := Difference(a, a); same.Mean != 0 || same.High <= 0 || same.High != -same.Low {
		t.Errorf("of itself: %+v", same)
	}
}

func TestPairedIntervalsCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const draws, n = 2000, 50
	covered := 0
	for range draws {
		a, b := make([]bool, n), make([]bool, n)
		for i := range a {
			hard := rng.Float64() // shared by both: that is why pairing helps
			a[i], b[i] = hard < 0.7, hard < 0.55 && rng.Float64() < 0.9
		}
		if e := Difference(a, b); e.Low <= 0.7-0.495 && 0.7-0.495 <= e.High {
			covered++
		}
	}
	if rate := float64(covered) / draws; rate < 0.93 {
		t.Errorf("95%% intervals cover the truth %.3f of the time", rate)
	}
}

func TestEstimateAsJSON(t *testing.T) {
	b, err := Mean(nil).MarshalJSON()
	if err != nil || string(b) != `{"mean":null,"low":null,"high":null,"n":0}` {
		t.Errorf("%s, %v", b, err)
	}
}
