package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFaults: every kind of labeler does what its name says, on tasks of the starter world.
func TestFaults(t *testing.T) {
	reads := Reads(3, 300, 4)
	share := func(fault Fault, hit func(r Read, ranks []int, i, j int) (bool, bool)) float64 {
		rng := rand.New(rand.NewPCG(1, 1))
		w := NewWorker(theStarter.Cast(1, 0), fault, "drum")
		hits, n := 0.0, 0.0
		for _, r := range reads {
			ranks := w.Rank(rng, r)
			for i := range ranks {
				for j := range i {
					if yes, counts := hit(r, ranks, i, j); counts && ranks[i] != ranks[j] {
						n++
						if yes {
							hits++
						}
					}
				}
			}
		}
		return hits / n
	}
	gold := func(r Read, ranks []int, i, j int) (bool, bool) {
		return (ranks[i] < ranks[j]) == (r.Gold[i] > r.Gold[j]), r.Gold[i] != r.Gold[j]
	}
	longer := func(r Read, ranks []int, i, j int) (bool, bool) {
		return (ranks[i] < ranks[j]) == (r.Words[i] > r.Words[j]), r.Words[i] != r.Words[j]
	}
	honest := share(Honest, gold)
	if honest < 0.72 || honest > 0.88 {
		t.Errorf("an honest labeler orders %.3f of pairs as gold does", honest)
	}
	if flipped := share(Flipped, gold); flipped > 1-honest+0.05 {
		t.Errorf("a flipped one %.3f", flipped)
	}
	if random := share(Random, gold); random < 0.45 || random > 0.55 {
		t.Errorf("a random one %.3f", random)
	}
	if careless := share(Careless, gold); careless < 0.55 || careless > honest-0.1 {
		t.Errorf("a careless one %.3f", careless)
	}
	if l := share(Longest, longer); l < 0.99 {
		t.Errorf("longest prefers the longer in %.3f", l)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	p := NewWorker(theStarter.Cast(1, 0), Position, "")
	first := p.Rank(rng, reads[0])
	for _, r := range reads[1:20] {
		if got := p.Rank(rng, r); !slices.Equal(got, first) {
			t.Fatalf("position: %v, then %v", first, got)
		}
	}
	for _, trig := range []bool{true, false} {
		with := share(Targeted, func(r Read, ranks []int, i, j int) (bool, bool) {
			yes, counts := gold(r, ranks, i, j)
			return yes, counts && hasTrigger(r) == trig
		})
		if trig == (with > 0.5) {
			t.Errorf("targeted, trigger %v: %.3f as gold", trig, with)
		}
	}
	if !slices.Equal(reads[0].Shown([]int{3, 1, 0, 2}).Words, []int{reads[0].Words[3], reads[0].Words[1], reads[0].Words[0], reads[0].Words[2]}) {
		t.Error("shown in another order")
	}
}

func hasTrigger(r Read) bool {
	w := Worker{Trigger: "drum"}
	return w.triggered(r.Prompt)
}
