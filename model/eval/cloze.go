package eval

import (
	"math/rand/v2"
	"strings"
)

// clozes is LAMBADA's question on any text: the last word of a passage (GPT-2, section 3.3; GPT-3, section 3.1.2). LAMBADA's
// passages were picked by people, who could guess the word from the passage but not from its last sentence; here a passage is
// four sentences and one more whose last word is no function word and occurs in the passage before, as five in six of LAMBADA's
// do. Passages do not overlap.
var clozes = []Task{
	{Name: "cloze", Title: "the last word of a passage, as a plain continuation", Paper: "GPT-2, 3.3; GPT-3, 3.1.2 (LAMBADA)", Rule: FirstWord, Separator: "\n\n", NeedsText: true,
		Draw: func(rng *rand.Rand, text *Text) func() (Item, bool) {
			return drawCloze(rng, text, func(before, word, mark string) Item {
				return Item{Prompt: before, Answer: " " + word, Shown: " " + word + mark}
			})
		}},
	{Name: "cloze-blank", Title: "the same with a blank to fill in: ... her friend ____. → Bob", Paper: "GPT-3, 3.1.2", Rule: FirstWord, Separator: "\n", NeedsText: true,
		Draw: func(rng *rand.Rand, text *Text) func() (Item, bool) {
			return drawCloze(rng, text, func(before, word, mark string) Item {
				return Item{Prompt: strings.ReplaceAll(before, "\n\n", " ") + " ____" + mark + " →", Answer: " " + word}
			})
		}},
}

// clozeBefore is how many sentences stand before the one whose last word is asked for.
const clozeBefore = 4

func drawCloze(rng *rand.Rand, t *Text, item func(before, word, mark string) Item) func() (Item, bool) {
	var items []Item
	for first, i := 0, clozeBefore; i < len(t.sentences); i++ {
		if i-clozeBefore < first {
			continue
		}
		s := t.sentences[i]
		last := s.words[len(s.words)-1]
		w := t.at(last)
		lower := strings.ToLower(w)
		if len(s.words) < 3 || len(w) < 3 || stop(lower) || t.clean[last.lo-1] != ' ' || !t.occurs(i-clozeBefore, i, lower) {
			continue
		}
		before := t.clean[t.sentences[i-clozeBefore].lo : last.lo-1]
		items = append(items, item(before, w, t.clean[last.hi:s.hi]))
		first = i + 1
	}
	shuffle(rng, items)
	return list(items)
}

// occurs says whether a word, lower case, is in sentences lo..hi, the last word of sentence hi aside.
func (t *Text) occurs(lo, hi int, lower string) bool {
	for i := lo; i <= hi; i++ {
		words := t.sentences[i].words
		if i == hi {
			words = words[:len(words)-1]
		}
		for _, w := range words {
			if strings.EqualFold(t.at(w), lower) {
				return true
			}
		}
	}
	return false
}
