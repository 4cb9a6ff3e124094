package reward

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/rankloop/rankloop/model"
)

func TestEvaluate(t *testing.T) {
	one := func(ranks ...[]int) Group {
		g := Group{Rankings: ranks}
		g.Sequences = make([]model.Sequence, len(ranks[0]))
		return g
	}
	groups := []Group{
		one([]int{1, 2, 3}),                        // all three pairs right
		one([]int{2, 1, 1}),                        // one tie: two pairs, both wrong
		one([]int{1, 2}, []int{2, 1}),              // labelers disagree
		one([]int{1, 2}, []int{1, 2}),              // they agree, the rewards are equal
		one([]int{1, 1}),                           // nothing decided
		one([]int{1, 2}, []int{1, 1}, []int{1, 2}), // a tie is no decision
	}
	rewards := []float64{3, 2, 1, 3, 2, 1, 0, -1, 5, 5, 0, 1, 2, 0}
	r := compare(rewards, groups)
	if r.N != 3+2+2+2+0+2 || r.Prompts != 5 {
		t.Errorf("%d pairs of %d prompts", r.N, r.Prompts)
	}
	if want := (3 + 0 + 1 + 1 + 2) / 11.0; math.Abs(r.Accuracy-want) > 1e-12 {
		t.Errorf("accuracy %g, want %g", r.Accuracy, want)
	}
	if r.AgreementN != 3 || math.Abs(r.Agreement-2.0/3) > 1e-12 {
		t.Errorf("agreement %g of %d", r.Agreement, r.AgreementN)
	}
	n, ece := 0, 0.0
	for _, b := range r.Calibration {
		n += b.N
		ece += math.Abs(b.Confidence-b.Accuracy) * float64(b.N) / 11
		if b.Confidence < b.Low-1e-12 || b.Confidence > b.High+1e-12 {
			t.Errorf("bin %+v", b)
		}
	}
	if n != 11 || math.Abs(ece-r.ECE) > 1e-12 {
		t.Errorf("calibration covers %d pairs, ECE %g and %g", n, r.ECE, ece)
	}
	if e := compare(nil, nil); e.N != 0 || e.Accuracy != 0 {
		t.Errorf("report of nothing: %+v", e)
	}
}

// TestPromptsAreClusters: pairs of one prompt, in one group or in several, are not taken for independent.
func TestPromptsAreClusters(t *testing.T) {
	interval := func(name func(i int) string) Report {
		var groups []Group
		var rewards []float64
		for i := range 40 {
			ranks := []int{1, 2}
			if i%8 >= 4 { // prompts of 4 groups are right in all or in none
				ranks = []int{2, 1}
			}
			groups = append(groups, Group{PromptID: name(i), Sequences: make([]model.Sequence, 2), Rankings: [][]int{ranks}})
			rewards = append(rewards, 1, 0)
		}
		return compare(rewards, groups)
	}
	alone, shared, nameless := interval(strconv.Itoa), interval(func(i int) string { return strconv.Itoa(i / 4) }), interval(func(int) string { return "" })
	if alone.Prompts != 40 || nameless.Prompts != 40 || shared.Prompts != 10 || alone.N != 40 || shared.N != 40 {
		t.Errorf("%d, %d and %d prompts of %d pairs; groups without a name are prompts of their own", alone.Prompts, nameless.Prompts, shared.Prompts, shared.N)
	}
	if wide, narrow := shared.High-shared.Low, alone.High-alone.Low; wide < 1.5*narrow {
		t.Errorf("the interval is %.3f wide where four groups are one prompt, %.3f where each is its own", wide, narrow)
	}
}

func TestCeiling(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	var agree, best float64
	const n = 20000
	for range n {
		p := 0.5 + 0.5*rng.Float64()
		agree += (p*p + (1-p)*(1-p)) / n
		best += p / n
	}
	if c := Ceiling(agree); c < best || c > best+0.06 {
		t.Errorf("ceiling %.3f, the best judge reaches %.3f", c, best)
	}
	if Ceiling(1) != 1 || Ceiling(0.5) != 0.5 || Ceiling(0.2) != 0.5 {
		t.Error("ceiling at the ends")
	}
}
