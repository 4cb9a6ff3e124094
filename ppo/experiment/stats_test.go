package experiment

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rankloop/rankloop/model/eval"
	"github.com/rankloop/rankloop/ppo"
)

func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if !(math.Abs(got-want) <= by) {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

func TestWilson(t *testing.T) {
	for _, c := range [][2]int{{0, 10}, {3, 10}, {500, 1000}, {1000, 1000}} {
		want := eval.Proportion(c[0], c[1])
		got := wilson(float64(c[0])/float64(c[1]), c[1])
		near(t, "low", got.low, want.Low, 1e-12)
		near(t, "high", got.high, want.High, 1e-12)
	}
}

// TestStudent: 1 ... 5 have mean 3, standard error sqrt(0.5) and 2.776 as quantile of 4 degrees of freedom.
func TestStudent(t *testing.T) {
	mean, low, high := student([]float64{1, 2, 3, 4, 5})
	near(t, "mean", mean, 3, 1e-12)
	near(t, "low", low, 3-2.776*math.Sqrt(0.5), 1e-9)
	near(t, "high", high, 3+2.776*math.Sqrt(0.5), 1e-9)
	if mean, low, high = student([]float64{7}); mean != 7 || low != 7 || high != 7 {
		t.Errorf("one seed: %g [%g, %g]", mean, low, high)
	}
}

func TestMeanOf(t *testing.T) {
	e := meanOf([]float64{1, 2, 3, 4})
	want := eval.Mean([]float64{1, 2, 3, 4})
	near(t, "mean", e.mean, want.Mean, 1e-12)
	near(t, "low", e.low, want.Low, 0.2) // that one divides by n
	if !(e.low < e.mean && e.mean < e.high) || e.n != 4 {
		t.Errorf("%+v", e)
	}
}

// TestFitCurve: both forms find their own numbers again, and each explains the other's curve worse.
func TestFitCurve(t *testing.T) {
	for _, rl := range []bool{false, true} {
		want := curve{a: 1.7, b: 0.4, rl: rl}
		var d, gold []float64
		for i := range 30 {
			d = append(d, float64(i)/8)
			gold = append(gold, want.at(d[i]))
		}
		got := fitCurve(d, gold, rl)
		near(t, "a", got.a, 1.7, 1e-9)
		near(t, "b", got.b, 0.4, 1e-9)
		near(t, "explained variance", got.r2, 1, 1e-9)
		if other := fitCurve(d, gold, !rl); !(other.r2 < got.r2-1e-4) {
			t.Errorf("the other form explains %g", other.r2)
		}
	}
	if c := fitCurve([]float64{0, 0}, []float64{1, 2}, true); c.a != 0 || c.b != 0 || c.r2 != 0 {
		t.Errorf("nothing to fit: %+v", c)
	}
}

// TestBestWeights compares with every way to draw n of m.
func TestBestWeights(t *testing.T) {
	const m = 6
	for n := 1; n <= m; n++ {
		want, all := make([]float64, m), 0.0
		for set := range 1 << m {
			k, best := 0, 0
			for i := range m {
				if set>>i&1 == 1 {
					k, best = k+1, i
				}
			}
			if k == n {
				want[best]++
				all++
			}
		}
		for i, w := range bestWeights(m, n) {
			near(t, "weight", w, want[i]/all, 1e-12)
		}
	}
}

// TestBestKL measures the divergence of the best of 4 of 400 values that are equally likely, from its exact distribution.
func TestBestKL(t *testing.T) {
	const m, n = 4000, 4
	kl := 0.0
	for i := 1; i <= m; i++ {
		p := math.Pow(float64(i)/m, n) - math.Pow(float64(i-1)/m, n)
		kl += p * math.Log(p*m)
	}
	near(t, "KL of the best of 4", ppo.BestOfNKL(n), kl, 1e-3)
	near(t, "KL of one", ppo.BestOfNKL(1), 0, 0)
}

func TestSmooth(t *testing.T) {
	got := smooth([]float64{1, 2, 6, 3}, 1)
	for i, want := range []float64{1.5, 3, 11.0 / 3, 4.5} {
		near(t, "smooth", got[i], want, 1e-12)
	}
}

func TestSummarise(t *testing.T) {
	rows := func(values ...float64) (out []Row) {
		for i, v := range values {
			out = append(out, Row{Seed: i, What: "x", Value: v, Holds: atLeast(1).holds(v)})
		}
		return out
	}
	four := rows(2, 2, 2, 2, 0)
	for _, c := range []struct {
		name    string
		demands []demand
		holds   bool
	}{
		{"every seed", nil, false},
		{"four of five", []demand{{what: "x", share: 0.8}}, true},
		{"all but for the share of something else", []demand{{what: "y", share: 0.8}}, false},
	} {
		if s := summarise("x", atLeast(1), four, c.demands); s.Holds != c.holds || s.Held != 4 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	for bound, holds := range map[float64]bool{1.6: true, 1.7: false} {
		if s := summarise("x", boundless, four, []demand{{what: "x", mean: atLeast(bound)}}); s.Holds != holds {
			t.Errorf("mean at least %g: %+v", bound, s)
		}
	}
	if atLeast(1).holds(math.NaN()) || within(0, 1).holds(math.Inf(1)) {
		t.Error("what is no number keeps a bound")
	}
}

var boundless bound

// TestLabels: the share of rankings turned upside down and of those by chance.
func TestLabels(t *testing.T) {
	l := shared()
	rng := rand.New(rand.NewPCG(5, 6))
	first := func(who labeler) float64 {
		n := 0.0
		for range 4000 {
			if l.label(rng, []float64{0, 8, 3, 1}, who)[1] == 1 {
				n++
			}
		}
		return n / 4000
	}
	near(t, "honest", first(labeler{}), 1, 0.01)
	near(t, "a quarter flipped", first(labeler{flip: 0.25}), 0.75, 0.03)
	near(t, "by chance", first(labeler{random: true}), 0.25, 0.03)
	if noisy := first(labeler{noise: 8}); noisy > 0.8 || noisy < 0.3 {
		t.Errorf("noise of 8: %g", noisy)
	}
}

// TestGoldAt reads between the steps of a way.
func TestGoldAt(t *testing.T) {
	way := []step{{kl: 0, gold: 1}, {kl: 1, gold: 2}, {kl: 3, gold: 4}, {kl: 2.5, gold: 0}}
	gold, reached := goldAt(way, 2)
	near(t, "gold at 2", gold, 3, 1e-12)
	if !reached {
		t.Error("not reached")
	}
	if gold, reached = goldAt(way, 9); reached || gold != 4 {
		t.Errorf("beyond the end: %g %v", gold, reached)
	}
}

// TestToyDemands: what was calibrated in the toy world is asked for there alone.
func TestToyDemands(t *testing.T) {
	for world, holds := range map[string]bool{WorldToy: false, WorldStarter: true} {
		r := &recorder{log: func(string) {}}
		r.show("x", 1)
		l := &lab{recipe: recipe{World: world}, log: func(string) {}}
		res := l.result(spec{demands: []demand{{what: "x", mean: atLeast(2), toy: true}}}, []int{0}, []*recorder{r})
		if res.Holds != holds || len(res.Summary) != 1 || (res.Summary[0].Bound == "") != holds {
			t.Errorf("world %s: %+v", world, res)
		}
	}
}
