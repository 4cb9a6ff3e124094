package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// StarterTemperature is the labelers' mean temperature in the starter world: two of them agree on about 72 of 100
// pairs of answers that the SFT model samples.
const StarterTemperature = 0.75

// tieWidth is the largest distance between two impressions, in units of the temperature, that a reader cannot tell
// apart.
const tieWidth = 0.1

// Labeler is a simulated reader: an account to sign in with, and a way to err.
type Labeler struct {
	Name, Email, Password string
	Seed                  uint64
	// Temperature divides gold scores before the Plackett-Luce draw: larger is noisier.
	Temperature float64
	// PositionBias is added to the first answer shown and falls linearly to zero at the last, in gold points.
	PositionBias float64
	// LengthBias is added per ten words of the answer, in gold points.
	LengthBias float64
}

// Casting is a world that knows its labelers.
type Casting interface {
	// Cast returns labeler i of a crowd. Accounts (email, password) are for whoever opens them to set.
	Cast(seed uint64, i int) Labeler
}

// Cast implements Casting: each labeler has an eye of its own (0.75 to 1.25 of the mean temperature) and small biases.
func (starter) Cast(seed uint64, i int) Labeler {
	rng := newRand(seed, streamCrowd, i)
	return Labeler{
		Name:         fmt.Sprintf("Simulated labeler %d", i+1),
		Seed:         rng.Uint64(),
		Temperature:  StarterTemperature * (0.75 + 0.5*rng.Float64()),
		PositionBias: 0.1 * rng.Float64(),
		LengthBias:   0.05 * rng.NormFloat64(),
	}
}

// Rank draws a ranking of answers with the given gold scores. Each answer leaves the impression gold/T + Gumbel noise,
// and sorting impressions is a Plackett-Luce draw with weights exp(gold/T) (Yellott 1977). Answers whose impression is
// within tieWidth of the best of their group are tied with it. Rank returns competition ranks in the order of golds (1
// is best; 1,2,2,4 has a tie). It draws len(golds) numbers from rng.
func Rank(rng *rand.Rand, golds []float64, temperature float64) []int {
	impressions := make([]float64, len(golds))
	order := make([]int, len(golds))
	for i, g := range golds {
		impressions[i] = g/temperature - math.Log(-math.Log(positive(rng)))
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return impressions[order[a]] > impressions[order[b]] })
	ranks := make([]int, len(golds))
	head := 0
	for i, at := range order {
		if impressions[order[head]]-impressions[at] > tieWidth {
			head = i
		}
		ranks[at] = head + 1
	}
	return ranks
}

// positive draws from (0, 1).
func positive(rng *rand.Rand) float64 {
	for {
		if u := rng.Float64(); u > 0 {
			return u
		}
	}
}

// Rank reads answers in the order shown and ranks them, with the labeler's own noise and biases. The draw depends on
// the labeler's seed and on what is read, so a task shown again is ranked the same.
func (l Labeler) Rank(w World, prompt string, answers []string) []int {
	golds := make([]float64, len(answers))
	h := hash(l.Seed, prompt)
	for i, a := range answers {
		ws := words(a)
		golds[i] = w.Gold(prompt, a, finished(ws)) + l.LengthBias*float64(len(ws))/10
		if n := len(answers); n > 1 {
			golds[i] += l.PositionBias * float64(n-1-i) / float64(n-1)
		}
		h = hash(h, a)
	}
	return Rank(rand.New(rand.NewPCG(l.Seed, h)), golds, l.Temperature)
}

// finished is what a reader can tell of the end: whether the last sentence is whole.
func finished(ws []string) bool {
	for i := len(ws) - 1; i >= 0; i-- {
		switch ws[i] {
		case `"`:
			continue
		case ".", "!", "?":
			return true
		}
		return false
	}
	return false
}

// hash is FNV-1a over a text, from a starting value.
func hash(h uint64, s string) uint64 {
	h ^= 14695981039346656037
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}
