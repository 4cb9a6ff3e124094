package eval

import (
	"math/rand/v2"
	"strings"
)

// scrambles is section 3.9.2 of the GPT-3 paper: a word, with its letters treated in one of five ways, is to be written as it
// was. Words have 5 to 14 letters, as there; they come from the text, the 10,000 most frequent, or, where it has not enough or
// there is none, from a list of common words.
var scrambles = []Task{
	scramble("cycle-letters", "words with their letters rotated: lyinevitab = inevitably", cycle),
	scramble("anagrams-1", "words with all but the first and last letter shuffled: criroptuon = corruption", func(rng *rand.Rand, w []rune) []rune { return inner(rng, w, 1) }),
	scramble("anagrams-2", "words with all but the first 2 and last 2 letters shuffled: opoepnnt = opponent", func(rng *rand.Rand, w []rune) []rune { return inner(rng, w, 2) }),
	scramble("random-insertion", "words with a mark or space between each two letters: s.u!c/c!e.s s i/o/n = succession", insert),
	scramble("reversed-words", "words spelled backwards: stcejbo = objects", func(_ *rand.Rand, w []rune) []rune { return reversed(w) }),
}

const (
	frequentWords = 10000 // at most, of a text
	enoughWords   = 400   // at least, for a text's words to be used
)

func scramble(name, title string, change func(*rand.Rand, []rune) []rune) Task {
	return Task{Name: name, Title: title, Paper: "GPT-3, 3.9.2", Rule: Exact, Separator: "\n",
		Instruction: "Please unscramble the letters into a word, and write that word:",
		Draw: func(rng *rand.Rand, text *Text) func() (Item, bool) {
			words := commonWords()
			if text != nil {
				if own := text.frequent(5, 14, frequentWords); len(own) >= enoughWords {
					words = own
				}
			}
			shuffle(rng, words)
			return func() (Item, bool) {
				for len(words) > 0 {
					w := []rune(words[0])
					words = words[1:]
					if s := change(rng, w); s != nil {
						return Item{Prompt: string(s) + " =", Answer: " " + string(w)}, true
					}
				}
				return Item{}, false
			}
		}}
}

// The changes return nil where a word cannot be changed so that it differs: "aaaaa" or "geese" within.

// cycle rotates the letters by 1 to len-1 places.
func cycle(rng *rand.Rand, w []rune) []rune {
	at := 1 + rng.IntN(len(w)-1)
	return differing(append(append([]rune(nil), w[at:]...), w[:at]...), w)
}

// inner shuffles all letters but the first and last keep.
func inner(rng *rand.Rand, w []rune, keep int) []rune {
	out := append([]rune(nil), w...)
	for range 20 { // a short word may come out as it was
		shuffle(rng, out[keep:len(out)-keep])
		if d := differing(out, w); d != nil {
			return d
		}
	}
	return nil
}

// insert puts a random mark or space between each two letters.
func insert(rng *rand.Rand, w []rune) []rune {
	var out []rune
	for i, r := range w {
		if i > 0 {
			out = append(out, rune(" .,!/?;:-"[rng.IntN(9)]))
		}
		out = append(out, r)
	}
	return out
}

func reversed(w []rune) []rune {
	out := make([]rune, len(w))
	for i, r := range w {
		out[len(w)-1-i] = r
	}
	return differing(out, w)
}

func differing(out, w []rune) []rune {
	if string(out) == string(w) {
		return nil
	}
	return out
}

func commonWords() []string { return strings.Fields(commonWordList) }
