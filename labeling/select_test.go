package labeling

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
)

func TestSelectNextIsAPermutation(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(r, "n")
		list := make([]Candidate, n)
		for i := range list {
			list[i] = Candidate{rapid.Float64Range(-1, 1).Draw(r, "score"), rapid.Bool().Draw(r, "scored"), rapid.Bool().Draw(r, "policy")}
		}
		got := SelectNext(list, rapid.Float64Range(0, 1).Draw(r, "random"), rapid.Float64Range(0, 1).Draw(r, "policy share"), rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1)))
		slices.Sort(got)
		for i := range n {
			if len(got) != n || got[i] != i {
				r.Fatalf("%v is no order of %d", got, n)
			}
		}
	})
}

func TestSelectNextShares(t *testing.T) {
	const n = 2000
	list := make([]Candidate, n)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range list {
		list[i] = Candidate{Score: rng.Float64(), Scored: true, OnPolicy: i%2 == 0}
	}
	plain := SelectNext(list, 0, 0, rng)
	for i := 1; i < n/2; i++ { // the others' first, best first
		if list[plain[i]].OnPolicy || list[plain[i]].Score > list[plain[i-1]].Score {
			t.Fatalf("place %d: %+v after %+v", i, list[plain[i]], list[plain[i-1]])
		}
	}
	const half = 500 // of the head of the queue, while both sides are there
	mixed := SelectNext(list, 0.2, 0.7, rng)
	policy, low := 0.0, 0.0
	for _, i := range mixed[:half] {
		if list[i].OnPolicy {
			policy++
		}
		if list[i].Score < 0.5 { // came by chance
			low++
		}
	}
	if p := policy / half; math.Abs(p-(0.8*0.7+0.2*0.5)) > 0.06 {
		t.Errorf("%.2f of the head are the policy's own", p)
	}
	if p := low / half; math.Abs(p-0.2*0.58) > 0.05 { // a little over half of what is left has a low score
		t.Errorf("%.3f of the head are there by chance", p)
	}
}

func TestArrange(t *testing.T) {
	b := setup(t)
	b.settings(func(q *QualitySettings) { q.RandomShare, q.ControlAfter = 0, 0 })
	list := b.tasks(30, 3, 1, "r")
	b.submit(b.claim("ann"))
	scores := map[string]float64{}
	for i, task := range list[1:] {
		scores[task.ID] = float64((i * 7) % 29)
	}
	b.tx(func(tx pgx.Tx) error {
		b.invalid(b.store.ScoreTasks(b.ctx, tx, map[string]float64{list[1].ID: math.NaN()}), "score")
		b.ok(b.store.ScoreTasks(b.ctx, tx, scores))
		n, err := b.store.Arrange(b.ctx, tx, b.project.ID, "r", "sft", 1)
		if n != 29 {
			t.Errorf("%d arranged, want the 29 that are open", n)
		}
		return err
	})
	for want := 28; want >= 0; want-- {
		a := b.claim("ann")
		if got := scores[a.TaskID]; got != float64(want) {
			t.Fatalf("served score %g, want %d", got, want)
		}
		b.submit(a)
	}
	b.sound()
}
