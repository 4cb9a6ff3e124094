package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRankIsPlackettLuce(t *testing.T) {
	golds := []float64{1, 0, -0.5}
	const temperature, n = 0.8, 200000
	rng := rand.New(rand.NewPCG(1, 2))
	first := make([]float64, 3)
	pair, ties := 0.0, 0.0
	for range n {
		r := Rank(rng, golds, temperature)
		if r[0] == r[1] || r[1] == r[2] || r[0] == r[2] {
			ties++
			continue
		}
		for i, x := range r {
			if x == 1 {
				first[i]++
			}
		}
		if r[0] < r[1] {
			pair++
		}
	}
	sum := 0.0
	for _, g := range golds {
		sum += math.Exp(g / temperature)
	}
	// Ties leave the probabilities nearly as they are: they strike close calls, symmetrically for pairs.
	for i, g := range golds {
		want := math.Exp(g/temperature) / sum
		if got := first[i] / (n - ties); math.Abs(got-want) > 0.015 {
			t.Errorf("answer %d is first with %.4f, want %.4f", i, got, want)
		}
	}
	want := 1 / (1 + math.Exp(-1/temperature))
	if got := pair / (n - ties); math.Abs(got-want) > 0.015 {
		t.Errorf("1 beats 0 with %.4f, want %.4f", got, want)
	}
	if rate := ties / n; rate < 0.03 || rate > 0.15 {
		t.Errorf("%.3f of the rankings have a tie", rate)
	}
}

func TestRankGivesCompetitionRanks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		golds := make([]float64, 1+rng.IntN(9))
		for i := range golds {
			golds[i] = float64(rng.IntN(3))
		}
		ranks := Rank(rng, golds, 1)
		for i, r := range ranks {
			better := 0
			for _, o := range ranks {
				if o < r {
					better++
				}
			}
			if r != better+1 {
				t.Fatalf("%v: answer %d has rank %d with %d before it", ranks, i, r, better)
			}
		}
	}
	if got := Rank(rng, nil, 1); len(got) != 0 {
		t.Errorf("ranks of nothing: %v", got)
	}
}

func TestColdLabelersRankByGold(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	if got := Rank(rng, []float64{0, 3, 1, 2}, 1e-3); !slices.Equal(got, []int{4, 1, 3, 2}) {
		t.Errorf("ranks %v", got)
	}
}

func TestLabelerRanksATaskAlikeEachTime(t *testing.T) {
	w := Starter()
	l := w.(Casting).Cast(1, 0)
	prompt := "Tell a story about a fox and a drum."
	var answers []string
	for _, d := range w.Demonstrations(1, 7) {
		answers = append(answers, d.Response)
	}
	if a, b := l.Rank(w, prompt, answers), l.Rank(w, prompt, answers); !slices.Equal(a, b) {
		t.Errorf("%v, then %v", a, b)
	}
}

// Answers that are equal in gold must be ranked by position and length alone, as far as the biases say.
func TestBiases(t *testing.T) {
	w := Starter()
	count := func(l Labeler, a, b string) float64 {
		first := 0.0
		const n = 4000
		for seed := range n {
			l.Seed = uint64(seed)
			r := l.Rank(w, "Tell a story.", []string{a, b})
			switch {
			case r[0] < r[1]:
				first++
			case r[0] == r[1]:
				first += 0.5
			}
		}
		return first / n
	}
	const story, longer = "A fox found an old drum. She played the drum until the sun went down.",
		"A fox found an old drum. She played the drum until the sun went down. The fox kept the drum for many years."
	if w.Gold("Tell a story.", story, true) != w.Gold("Tell a story.", longer, true) {
		t.Fatal("the two stories differ in gold")
	}
	if p := count(Labeler{Temperature: 1}, story, story); math.Abs(p-0.5) > 0.03 {
		t.Errorf("without bias the first wins %.3f", p)
	}
	if p, want := count(Labeler{Temperature: 1, PositionBias: 1}, story, story), 1/(1+math.Exp(-1)); math.Abs(p-want) > 0.03 {
		t.Errorf("with a bias of one point the first wins %.3f, want %.3f", p, want)
	}
	if p := count(Labeler{Temperature: 1, LengthBias: 1}, longer, story); p < 0.6 {
		t.Errorf("with a bias for length the longer wins %.3f", p)
	}
}

func TestFinished(t *testing.T) {
	for text, want := range map[string]bool{"A fox.": true, `He said, "Come."`: true, "A fox!": true, "A fox": false, "A fox,": false, "": false, `"`: false} {
		if finished(words(text)) != want {
			t.Errorf("finished(%q) = %v", text, !want)
		}
	}
}

func TestCastIsVariedAndFixed(t *testing.T) {
	c := Starter().(Casting)
	seen := map[float64]bool{}
	mean := 0.0
	for i := range 20 {
		l := c.Cast(7, i)
		if l != c.Cast(7, i) {
			t.Errorf("labeler %d changes", i)
		}
		if l.Temperature < 0.7*StarterTemperature || l.Temperature > 1.3*StarterTemperature || l.PositionBias < 0 || l.PositionBias > 0.1 {
			t.Errorf("labeler %d: %+v", i, l)
		}
		seen[l.Temperature] = true
		mean += l.Temperature / 20
	}
	if len(seen) != 20 || math.Abs(mean-StarterTemperature) > 0.1 {
		t.Errorf("%d temperatures, mean %.3f", len(seen), mean)
	}
}
