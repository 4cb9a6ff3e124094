package reward

import (
	"math"

	"github.com/rankloop/rankloop/model"
)

// Group is one prompt with its K answers and the rankings they got. It is the unit of batches and of splits: answers to
// one prompt never stand on both sides of a held-out split.
type Group struct {
	PromptID  string
	Split     string           // train, valid or test
	Sequences []model.Sequence // [K] prompt and answer; Start is where the answer begins
	Lengths   []float64        // [K] lengths of the answers for Analyse, as characters; nil = tokens, which a cut text has too few of
	Rankings  [][]int          // [labeler][K] competition ranks, 1 = best, equal = tied
	Labelers  []string         // [labeler] who gave them; may be empty
	Strengths []float64        // [labeler] how much better the first is to them, 1 slightly to 4 much, 0 = not given; nil = none given
	Weights   []float64        // [labeler] how much each ranking counts in training, positive; nil = 1 each
}

// strength and weight of ranking i.
func (g Group) strength(i int) float64 {
	if g.Strengths == nil {
		return 0
	}
	return g.Strengths[i]
}

func (g Group) weight(i int) float64 {
	if g.Weights == nil {
		return 1
	}
	return g.Weights[i]
}

// lengths of the answers, tokens where the group does not say.
func (g Group) lengths() []float64 {
	if g.Lengths != nil {
		return g.Lengths
	}
	out := make([]float64, len(g.Sequences))
	for k, s := range g.Sequences {
		out[k] = float64(len(s.IDs) - s.Start)
	}
	return out
}

// check reports what makes the group unusable for a model of that shape. i is its place, for the message.
func (g Group) check(i int, cfg model.Config) error {
	if len(g.Sequences) == 0 {
		return invalid("groups", "group %d (%s) has no answers", i, g.PromptID)
	}
	for k, s := range g.Sequences {
		if err := checkSequence(s, cfg); err != nil {
			return invalid("groups", "group %d (%s), answer %d: %s", i, g.PromptID, k, err.(*InvalidError).Reason)
		}
	}
	if g.Lengths != nil && len(g.Lengths) != len(g.Sequences) {
		return invalid("groups", "group %d (%s) has %d lengths for %d answers", i, g.PromptID, len(g.Lengths), len(g.Sequences))
	}
	if n := len(g.Rankings); g.Strengths != nil && len(g.Strengths) != n || g.Weights != nil && len(g.Weights) != n {
		return invalid("groups", "group %d (%s) has %d rankings, %d strengths, %d weights", i, g.PromptID, n, len(g.Strengths), len(g.Weights))
	}
	for j := range g.Rankings {
		if s := g.strength(j); !(s >= 0 && s <= 4) {
			return invalid("groups", "group %d (%s), ranking %d has the strength %g; 1 to 4 are possible, 0 where none was given", i, g.PromptID, j, s)
		}
		if w := g.weight(j); !(w > 0) || math.IsInf(w, 0) {
			return invalid("groups", "group %d (%s), ranking %d has the weight %g; a positive number is wanted", i, g.PromptID, j, w)
		}
	}
	for j, ranks := range g.Rankings {
		if len(ranks) != len(g.Sequences) {
			return invalid("groups", "group %d (%s), ranking %d has %d ranks for %d answers", i, g.PromptID, j, len(ranks), len(g.Sequences))
		}
		for _, r := range ranks {
			if r < 1 {
				return invalid("groups", "group %d (%s), ranking %d has the rank %d; ranks start at 1", i, g.PromptID, j, r)
			}
		}
	}
	return nil
}

func checkSequence(s model.Sequence, cfg model.Config) error {
	if n := len(s.IDs); n == 0 || n > cfg.Context {
		return invalid("sequences", "%d tokens, the model takes 1 to %d", n, cfg.Context)
	}
	if s.Start < 1 || s.Start > len(s.IDs) {
		return invalid("sequences", "the answer starts at %d of %d tokens", s.Start, len(s.IDs))
	}
	for _, id := range s.IDs {
		if id < 0 || int(id) >= cfg.Vocab {
			return invalid("sequences", "token id %d is not in the vocabulary of %d", id, cfg.Vocab)
		}
	}
	return nil
}

// pairs is the number of pairs that l makes a loss of.
func (g Group) pairs(l Loss) int {
	n := 0
	for _, ranks := range g.Rankings {
		for i := range ranks {
			for j := i + 1; j < len(ranks); j++ {
				if l.Ties != "" || ranks[i] != ranks[j] {
					n++
				}
			}
		}
	}
	return n
}
