package eval

import (
	"math/rand/v2"
	"slices"
)

// bookTests is the Children's Book Test (Hill et al. 2015; GPT-2, section 3.2) on any text: twenty sentences, and a word of the
// next to be chosen among ten of its class. As in GPT-2, a choice is judged by the likelihood of itself and the rest of the
// sentence, given all before. Wrong choices come from the passage where it holds nine, and else from the text, as in the
// original; classes are told by how the text uses a word (classes.go), where the original used a tagger.
var bookTests = []Task{
	bookTest("cbt-names", "a name in a sentence after 20 others, of 10", name),
	bookTest("cbt-nouns", "a common noun, of 10", noun),
	bookTest("cbt-verbs", "a verb, of 10", verb),
	bookTest("cbt-prepositions", "a preposition, of 10", preposition),
}

const (
	bookBefore  = 20
	bookChoices = 10
	// longSentence: sentences of more words are not asked about; they are mostly tables and lists.
	longSentence = 60
)

func bookTest(task, title string, c class) Task {
	return Task{Name: task, Title: title, Paper: "GPT-2, 3.2 (Children's Book Test)", Rule: Likeliest, Separator: "\n\n", NeedsText: true,
		Draw: func(rng *rand.Rand, t *Text) func() (Item, bool) {
			all := t.ofClass(c)
			if c == preposition {
				all = prepositions // a closed class: the text need not have ten
			}
			var items []Item
			for first, i := 0, bookBefore; i < len(t.sentences); i++ {
				if i-bookBefore < first {
					continue
				}
				if it, ok := t.book(rng, i, c, all); ok {
					items = append(items, it)
					first = i + 1
				}
			}
			shuffle(rng, items)
			return list(items)
		}}
}

// book makes the item of sentence i, if it has a word of the class.
func (t *Text) book(rng *rand.Rand, i int, c class, all []string) (Item, bool) {
	s := t.sentences[i]
	if len(s.words) < 4 || len(s.words) > longSentence {
		return Item{}, false
	}
	var asked []word
	for _, w := range s.words[1:] { // the first has nothing of its sentence before it
		if t.clean[w.lo-1] == ' ' && t.classOf(t.at(w)) == c {
			asked = append(asked, w)
		}
	}
	if len(asked) == 0 {
		return Item{}, false
	}
	w := asked[rng.IntN(len(asked))]
	right := t.at(w)
	var near []string
	for j := i - bookBefore; j <= i; j++ {
		for _, x := range t.sentences[j].words {
			if y := t.at(x); y != right && t.classOf(y) == c && !slices.Contains(near, y) {
				near = append(near, y)
			}
		}
	}
	shuffle(rng, near)
	choices := append([]string{right}, near[:min(len(near), bookChoices-1)]...)
	for _, at := range rng.Perm(len(all)) {
		if len(choices) == bookChoices {
			break
		}
		if !slices.Contains(choices, all[at]) {
			choices = append(choices, all[at])
		}
	}
	if len(choices) < bookChoices {
		return Item{}, false
	}
	shuffle(rng, choices)
	rest := t.clean[w.hi:s.hi]
	it := Item{Prompt: t.clean[t.sentences[i-bookBefore].lo : w.lo-1], Right: slices.Index(choices, right)}
	for _, x := range choices {
		it.Choices = append(it.Choices, " "+x+rest)
	}
	it.Answer = it.Choices[it.Right]
	return it, true
}
