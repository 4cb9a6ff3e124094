package reward

import (
	"math"
	"math/rand/v2"
	"strings"
	"unicode"
)

// BagOfWords is the baseline that a reward model must beat to have read anything: Bradley-Terry on a weighted sum of the words
// of an answer, blind to prompt and order. Its score is sum over words of weight * log(1 + occurrences).
type BagOfWords struct{ weights map[string]float64 }

// Settings of BagOfWords, chosen once and for all sets alike.
const (
	bowLeast  = 3    // answers that a word must occur in
	bowEpochs = 20   // passes over the pairs
	bowRate   = 0.1  // AdaGrad's
	bowDecay  = 1e-3 // L2 penalty per pair

	streamBag = 0x7265776172640004
)

// TrainBagOfWords learns the words of answers, [group][K], from the rankings of groups by the loss of eq. 1. It is a function of
// its arguments.
func TrainBagOfWords(groups []Group, answers [][]string, seed uint64) *BagOfWords {
	occurs := map[string]int{}
	for _, list := range answers {
		for _, a := range list {
			for _, w := range words(a) {
				occurs[w.text]++
			}
		}
	}
	type term struct {
		at int
		x  float64
	}
	index := map[string]int{} // of the words that count
	rows := make([][][]term, len(answers))
	for i, list := range answers {
		for _, a := range list {
			var row []term
			for _, w := range words(a) {
				if occurs[w.text] < bowLeast {
					continue
				}
				if _, ok := index[w.text]; !ok {
					index[w.text] = len(index)
				}
				row = append(row, term{index[w.text], w.x})
			}
			rows[i] = append(rows[i], row)
		}
	}
	weight, square := make([]float64, len(index)), make([]float64, len(index))
	step := func(row []term, slope float64) {
		for _, t := range row {
			g := slope*t.x + bowDecay*weight[t.at]
			square[t.at] += g * g
			weight[t.at] -= bowRate * g / (1e-8 + math.Sqrt(square[t.at]))
		}
	}
	score := func(row []term) (sum float64) {
		for _, t := range row {
			sum += weight[t.at] * t.x
		}
		return sum
	}
	for epoch := range bowEpochs {
		for _, i := range rand.New(rand.NewPCG(seed, streamBag+uint64(epoch))).Perm(len(groups)) {
			r := make([]float64, len(rows[i]))
			for k := range r {
				r[k] = score(rows[i][k])
			}
			_, grad, _, _ := Loss{}.Group(r, groups[i])
			for k := range r {
				if grad[k] != 0 {
					step(rows[i][k], grad[k])
				}
			}
		}
	}
	b := &BagOfWords{map[string]float64{}}
	for w, at := range index {
		b.weights[w] = weight[at]
	}
	return b
}

// Score is the score of an answer.
func (b *BagOfWords) Score(answer string) (sum float64) {
	for _, w := range words(answer) {
		sum += b.weights[w.text] * w.x
	}
	return sum
}

// word is a word of a text, and log(1 + its occurrences).
type word struct {
	text string
	x    float64
}

// words are the different words of a text, in the order in which they come first: sums over them are the same every time.
func words(text string) []word {
	var out []word
	at := map[string]int{}
	for _, w := range split(text) {
		if _, ok := at[w]; !ok {
			at[w] = len(out)
			out = append(out, word{text: w})
		}
		out[at[w]].x++
	}
	for i := range out {
		out[i].x = math.Log1p(out[i].x)
	}
	return out
}

// split cuts a text into lower-case words; marks of punctuation and line breaks are words of their own.
func split(text string) []string {
	var out []string
	var letters strings.Builder
	flush := func() {
		if letters.Len() > 0 {
			out = append(out, letters.String())
			letters.Reset()
		}
	}
	for _, c := range strings.ToLower(text) {
		switch {
		case unicode.IsLetter(c) || unicode.IsDigit(c) || c == '\'':
			letters.WriteRune(c)
		case c == '\n' || !unicode.IsSpace(c):
			flush()
			out = append(out, string(c))
		default:
			flush()
		}
	}
	flush()
	return out
}
