package eval

import (
	"math/rand/v2"
)

// continuations asks which of two sentences goes on from four others: the next one, or one from elsewhere in the text, as nearly
// as long. It has the form of StoryCloze and HellaSwag (GPT-3, section 3.1.3), whose wrong endings were written to mislead;
// here they are only from somewhere else, so it is easier. It is judged by likelihood per token, as in GPT-3, and by the whole.
var continuations = []Task{
	{Name: "continuation", Title: "which of two sentences goes on, by likelihood per token", Paper: "GPT-3, 3.1.3 (StoryCloze, HellaSwag)", Rule: LikeliestPerToken, Separator: "\n\n", NeedsText: true, Draw: drawContinuation},
	{Name: "continuation-raw", Title: "the same by the likelihood of the whole sentence", Paper: "GPT-3, 3.1.3", Rule: Likeliest, Separator: "\n\n", NeedsText: true, Draw: drawContinuation},
}

const (
	continuationBefore = 4
	// continuationDraws sentences from elsewhere are looked at, and the one nearest in length is taken.
	continuationDraws = 30
)

func drawContinuation(rng *rand.Rand, t *Text) func() (Item, bool) {
	var items []Item
	for i := continuationBefore; i < len(t.sentences); i += continuationBefore + 1 {
		s := t.sentences[i]
		right := t.clean[s.lo:s.hi]
		wrong, best := "", 0
		for range continuationDraws {
			at := rng.IntN(len(t.sentences))
			o := t.sentences[at]
			text, off := t.clean[o.lo:o.hi], max(len(o.words)-len(s.words), len(s.words)-len(o.words))
			if at >= i-continuationBefore && at <= i || text == right || wrong != "" && off >= best {
				continue
			}
			wrong, best = text, off
		}
		if len(s.words) < 3 || len(s.words) > longSentence || wrong == "" {
			continue
		}
		it := Item{Prompt: t.clean[t.sentences[i-continuationBefore].lo:t.sentences[i-1].hi], Choices: []string{" " + right, " " + wrong}}
		if rng.IntN(2) == 1 {
			it.Choices[0], it.Choices[1], it.Right = it.Choices[1], it.Choices[0], 1
		}
		it.Answer = it.Choices[it.Right]
		items = append(items, it)
	}
	shuffle(rng, items)
	return list(items)
}
