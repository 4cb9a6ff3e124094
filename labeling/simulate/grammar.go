package simulate

import "strings"

// grammar knows which words may stand next to each other: the pairs that the world's own texts hold. Names, animals,
// things and places count as one word each kind (apart from a beginning vowel), so that a fox may do what an owl does.
type grammar struct {
	pairs map[[2]string]bool
}

// grammarTexts is how many answers the grammar is read from; the pairs no longer grow much there (see the tests).
const grammarTexts = 30000

func newGrammar() *grammar {
	g := &grammar{pairs: make(map[[2]string]bool, 1<<14)}
	for i := range grammarTexts {
		rng := newRand(1, streamGrammar, i)
		c := newCare(rng)
		c.unfinished = false
		g.learn(words(newInstruction(rng).answer(rng, c)))
		if i%3 == 0 {
			t := corpusText(rng)
			if !strings.Contains(t, "\n") {
				g.learn(words(t))
			}
		}
	}
	return g
}

func (g *grammar) learn(ws []string) {
	last := "."
	for _, w := range ws {
		c := class(last, w)
		g.pairs[[2]string{last, c}] = true
		last = c
	}
}

// odd returns the pairs that the grammar does not know.
func (g *grammar) odd(ws []string) []string {
	var out []string
	last := "."
	for i, w := range ws {
		c := class(last, w)
		if !g.pairs[[2]string{last, c}] {
			before := ""
			if i > 0 {
				before = ws[i-1] + " "
			}
			out = append(out, before+w)
		}
		last = c
	}
	return out
}

// class is what a word counts as. A small letter at the start of a sentence makes a class of its own.
func class(last, w string) string {
	low := strings.ToLower(w)
	vowel := ""
	if strings.ContainsRune("aeiou", rune(low[0])) {
		vowel = "V"
	}
	switch {
	case animalOf[low] != nil:
		a := animalOf[low]
		if low == a.noun {
			low = "ANIMAL" + vowel
		} else {
			low = "ANIMALS"
		}
	case personOf[low] != nil:
		if w == low { // a name wants its capital
			return "name"
		}
		return "NAME"
	case objectOf[low] != nil:
		low = "THING" + vowel
	case placeOf[low] != nil:
		low = "PLACE"
	}
	if w[0] >= 'a' && w[0] <= 'z' && (last == "." || last == "!") {
		return "small " + low
	}
	return low
}
