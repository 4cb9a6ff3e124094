package labeling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sampleRanks draws a Plackett-Luce ranking without ties.
func sampleRanks(rng *rand.Rand, u []float64) []int {
	noisy := make([]float64, len(u))
	for i, v := range u {
		noisy[i] = v - math.Log(rng.ExpFloat64())
	}
	ranks := make([]int, len(u))
	for i, v := range noisy {
		ranks[i] = 1
		for _, w := range noisy {
			if w > v {
				ranks[i]++
			}
		}
	}
	return ranks
}

// TestPlackettLuceSumsToOne: over all orders of K answers the likelihoods add up to one, whatever the utilities.
func TestPlackettLuceSumsToOne(t *testing.T) {
	var orders func(k int) [][]int
	orders = func(k int) [][]int {
		if k == 1 {
			return [][]int{{1}}
		}
		var out [][]int
		for _, o := range orders(k - 1) {
			for at := 1; at <= k; at++ {
				next := []int{at}
				for _, r := range o {
					if r >= at {
						r++
					}
					next = append(next, r)
				}
				out = append(out, next)
			}
		}
		return out
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for k := 2; k <= 5; k++ {
		for _, scale := range []float64{0, 1, 5, 300} {
			u := make([]float64, k)
			for i := range u {
				u[i] = scale * rng.NormFloat64()
			}
			sum := 0.0
			for _, ranks := range orders(k) {
				sum += math.Exp(plackettLuce(ranks, u, make([]float64, k)))
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("K %d, utilities %v: sum %g", k, u, sum)
			}
		}
	}
	if got, want := plackettLuce([]int{1, 2}, []float64{1, 0}, make([]float64, 2)), -math.Log(1+math.Exp(-1)); math.Abs(got-want) > 1e-12 {
		t.Errorf("two answers: %g, want the logistic %g", got, want)
	}
}

// TestCurve holds the gradient and the Hessian of an opinion against finite differences of the likelihood.
func TestCurve(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := rapid.IntRange(2, 6).Draw(r, "k")
		s := rapid.SliceOfN(rapid.Float64Range(-2, 2), k, k).Draw(r, "s")
		o := opinion{sense: rapid.Float64Range(-2, 4).Draw(r, "sense")}
		var err error
		if o.ranks, err = Canonical(rapid.SliceOfN(rapid.IntRange(1, k), k, k).Draw(r, "ranks")); err != nil {
			r.Fatal(err)
		}
		at := func(s []float64) (g []float64, h [][]float64) {
			g, h = make([]float64, k), make([][]float64, k)
			for i := range h {
				h[i] = make([]float64, k)
			}
			curve(o, s, g, h, make([]float64, k))
			return
		}
		loss := func(s []float64) float64 {
			u := make([]float64, k)
			for i, v := range s {
				u[i] = o.sense * v
			}
			return -plackettLuce(o.ranks, u, make([]float64, k))
		}
		g, h := at(s)
		const e = 1e-5
		for i := range s {
			up, down := slices.Clone(s), slices.Clone(s)
			up[i], down[i] = s[i]+e, s[i]-e
			if n := (loss(up) - loss(down)) / (2 * e); math.Abs(n-g[i]) > 1e-5*(1+math.Abs(n)) {
				r.Fatalf("gradient %d: %g, finite difference %g", i, g[i], n)
			}
			gu, _ := at(up)
			gd, _ := at(down)
			for j := range s {
				if n := (gu[j] - gd[j]) / (2 * e); math.Abs(n-h[j][i]) > 1e-4*(1+math.Abs(n)) {
					r.Fatalf("Hessian %d %d: %g, finite difference %g", j, i, h[j][i], n)
				}
			}
		}
	})
}

func TestSpreadOfIsTheInverse(t *testing.T) {
	for _, sigma := range []float64{0.3, 1, 2, 4} {
		if got := spreadOf(agreementAt(sigma)); math.Abs(got-sigma) > 1e-3 {
			t.Errorf("spread %g comes back as %g", sigma, got)
		}
	}
	// By simulation: two labelers on answers of that spread.
	rng := rand.New(rand.NewPCG(3, 3))
	agree, n := 0.0, 40000
	for range n {
		u := []float64{1.2 * rng.NormFloat64(), 1.2 * rng.NormFloat64()}
		if slices.Equal(sampleRanks(rng, u), sampleRanks(rng, u)) {
			agree++
		}
	}
	if got := agree / float64(n); math.Abs(got-agreementAt(1.2)) > 0.01 {
		t.Errorf("agreement %.3f, computed %.3f", got, agreementAt(1.2))
	}
}

// crowdOf lets readers rank n tasks each, every task by three of them.
func crowdOf(seed uint64, readers []func(rng *rand.Rand, u []float64, lengths, order []int) []int, n int) []Judged {
	rng := rand.New(rand.NewPCG(seed, 9))
	var tasks []Judged
	for t := range n * len(readers) / 3 {
		j := Judged{}
		u := make([]float64, 4)
		for i := range u {
			u[i] = 1.3 * rng.NormFloat64()
			j.Lengths = append(j.Lengths, 20+rng.IntN(200))
		}
		for _, who := range rng.Perm(len(readers))[:3] {
			order := rng.Perm(4)
			j.Labels = append(j.Labels, Label{Labeler: fmt.Sprint("labeler ", who), Order: order, Ranks: readers[who](rng, u, j.Lengths, order), At: int64(t)})
		}
		tasks = append(tasks, j)
	}
	return tasks
}

func sees(sense float64) func(*rand.Rand, []float64, []int, []int) []int {
	return func(rng *rand.Rand, u []float64, _, _ []int) []int {
		v := make([]float64, len(u))
		for i := range u {
			v[i] = sense * u[i]
		}
		return sampleRanks(rng, v)
	}
}

// TestSuspectNamesTheFault: each fault is found among honest labelers and called what it is, and nobody else is suspected.
func TestSuspectNamesTheFault(t *testing.T) {
	by := func(f func(lengths, order []int, i int) float64) func(*rand.Rand, []float64, []int, []int) []int {
		return func(rng *rand.Rand, u []float64, lengths, order []int) []int {
			v := make([]float64, len(u))
			for i := range v {
				v[i] = f(lengths, order, i)
			}
			return sampleRanks(rng, v)
		}
	}
	for fault, reader := range map[string]func(*rand.Rand, []float64, []int, []int) []int{
		"reversed": sees(-1), "random": sees(0),
		"length":  by(func(lengths, _ []int, i int) float64 { return float64(lengths[i]) }),
		"brevity": by(func(lengths, _ []int, i int) float64 { return -float64(lengths[i]) }),
		"places":  by(func(_, order []int, i int) float64 { return 10 * float64([]int{2, 0, 3, 1}[slices.Index(order, i)]) }),
	} {
		readers := slices.Repeat([]func(*rand.Rand, []float64, []int, []int) []int{sees(1)}, 9)
		readers = append(readers, reader)
		for _, s := range Suspect(crowdOf(5, readers, 60), DefaultRule) {
			if bad := s.Labeler == "labeler 9"; s.Suspect != bad || bad && s.Fault != fault && !(fault == "random" && s.Fault == "careless") { // which lie close
				t.Errorf("%s: %+v", fault, s)
			}
		}
	}
}

// TestSuspectIgnoresOrder: the verdict does not depend on how tasks are listed.
func TestSuspectIgnoresOrder(t *testing.T) {
	readers := slices.Repeat([]func(*rand.Rand, []float64, []int, []int) []int{sees(1)}, 5)
	tasks := crowdOf(2, append(readers, sees(0.2)), 25)
	a := Suspect(tasks, DefaultRule)
	slices.Reverse(tasks)
	b := Suspect(tasks, DefaultRule)
	for i := range a {
		if a[i].Labeler != b[i].Labeler || math.Abs(a[i].Evidence-b[i].Evidence) > 1e-6 {
			t.Errorf("%+v, reversed %+v", a[i], b[i])
		}
	}
	if got := Suspect(nil, DefaultRule); len(got) != 0 {
		t.Errorf("suspects of nothing: %v", got)
	}
	alone := []Judged{{Lengths: []int{1, 1}, Labels: []Label{{Labeler: "ann", Ranks: []int{1, 1}, Order: []int{0, 1}}}}}
	if got := Suspect(alone, Rule{FalseAlarms: 0.5, MinLabels: 1}); len(got) != 1 || got[0].Suspect || math.IsNaN(got[0].Evidence) {
		t.Errorf("one labeler, one task: %+v", got)
	}
}

func TestMeasure(t *testing.T) {
	label := func(who string, at int64, ranks ...int) Timed {
		return Timed{Label: Label{Labeler: who, Ranks: ranks, Order: []int{2, 0, 1}, At: at}, Active: 6000 * at}
	}
	tasks := []Measured{
		{Lengths: []int{10, 20, 30}, Labels: []Timed{label("ann", 1, 1, 2, 3), label("bob", 1, 1, 3, 2)}},
		{Lengths: []int{10, 20, 30}, Gold: []int{1, 2, 2}, Labels: []Timed{label("ann", 2, 1, 2, 2), label("bob", 2, 2, 1, 3)}},
		{Lengths: []int{10, 20, 30}, Labels: []Timed{{Label: Label{Labeler: "ann", Ranks: []int{1, 3, 2}, Order: []int{0, 1, 2}, At: 3}, Former: []int{1, 2, 3}}}},
	}
	got := Measure(tasks)
	ann, bob := got[0], got[1]
	if ann.Labels != 3 || ann.Gold.Value != 1 || ann.Gold.N != 2 || bob.Gold.Value != 0.5 || ann.Self.N != 3 || math.Abs(ann.Self.Value-2.0/3) > 1e-12 {
		t.Errorf("ann %+v\nbob %+v", ann, bob)
	}
	// Task 1: 2 of 3 pairs; task 2: ann orders two pairs, bob agrees on one of them.
	if ann.Pairwise.N != 5 || math.Abs(ann.Pairwise.Value-3.0/5) > 1e-12 || ann.Pairwise != bob.Pairwise {
		t.Errorf("pairwise %+v %+v", ann.Pairwise, bob.Pairwise)
	}
	if ann.Longer.Value != 0 || ann.Longer.N != 5 || bob.Others != 0 || math.Abs(bob.Longer.Value-2.0/6) > 1e-12 {
		t.Errorf("longer %+v %+v, others %g", ann.Longer, bob.Longer, bob.Others)
	}
	if ann.Speed != 1 || bob.Speed != 1 {
		t.Errorf("speed %g %g", ann.Speed, bob.Speed)
	}
}

func TestPlacePull(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	var shown [MaxAnswers + 1][][]int
	small := 0
	for range 400 { // under no pull, p is below 5% one time in twenty
		shown[4] = nil
		for range 40 {
			shown[4] = append(shown[4], sampleRanks(rng, make([]float64, 4)))
		}
		if placePull(shown).P < 0.05 {
			small++
		}
	}
	if small < 8 || small > 36 {
		t.Errorf("%d of 400 tests at 5%% reject what is true", small)
	}
	shown[4] = slices.Repeat([][]int{{1, 2, 3, 4}}, 30)
	if p := placePull(shown); p.Slope != 3 || p.P > 1e-9 || math.Abs(p.Ranks[0]-1) > 1e-9 || math.Abs(p.Ranks[3]-4) > 1e-9 {
		t.Errorf("always the first: %+v", p)
	}
	if p := placePull([MaxAnswers + 1][][]int{}); p.P != 1 || p.Slope != 0 {
		t.Errorf("of nothing: %+v", p)
	}
}

func TestDrift(t *testing.T) {
	var list []trial
	for i := range 60 {
		hits := 5.0
		if i >= 30 {
			hits = 3
		}
		list = append(list, trial{at: int64(i), hits: hits + float64(i%2), all: 6})
	}
	if z := drift(slices.Clone(list)); z > -5 {
		t.Errorf("from 92%% to 58%%: z %g", z)
	}
	slices.Reverse(list)
	if z := drift(list); z > -5 { // time counts, not the order of the list
		t.Errorf("listed backwards: z %g", z)
	}
	if z := drift(list[:9]); z != 0 {
		t.Errorf("nine tasks: z %g", z)
	}
}

func FuzzPlackettLuce(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 1.0, -700.0)
	f.Add([]byte{1, 1, 1, 1}, 0.0, 1e9)
	f.Fuzz(func(t *testing.T, ranks []byte, a, b float64) {
		if len(ranks) < 2 || len(ranks) > MaxAnswers || math.IsNaN(a+b) || math.Abs(a) > 1e12 || math.Abs(b) > 1e12 {
			return
		}
		r, u := make([]int, len(ranks)), make([]float64, len(ranks))
		for i, x := range ranks {
			r[i], u[i] = 1+int(x)%len(ranks), a+b*float64(i)
		}
		if v := plackettLuce(r, u, make([]float64, len(u))); math.IsNaN(v) || v > 1e-9 {
			t.Fatalf("log likelihood %g of %v under %v", v, r, u)
		}
	})
}
