package labeling

import (
	"fmt"
	"slices"
)

// ranking: K answers are ordered best first, ties allowed, and each may be rated 1..7 and
// flagged (Ouyang et al. 2022, section 3.5 and appendix B). Its strict pairs are the
// comparisons that a reward model learns.
var ranking = question{
	name: QuestionRanking, min: MinAnswers, max: MaxAnswers, k: 4,
	parse: func(in SubmitInput, order []int, _ []string) (answerSheet, error) {
		if err := unasked(in.Text, in.Strength); err != nil {
			return answerSheet{}, err
		}
		return parseRanks(in, order)
	},
	draft: func(d Draft, k int) error {
		if err := unasked(d.Text, d.Strength); err != nil {
			return err
		}
		return checkRanksDraft(d, k)
	},
}

// Flags that a labeler may put on an answer, in the order in which the page shows
// them (Ouyang et al. 2022, figure 12 and table 3, and two of our own).
var Flags = []string{
	"instruction",   // fails to follow the instruction
	"inappropriate", // not fit for an assistant of a customer
	"hallucination", // states what is not so, or was not given
	"harmful",       // encourages or helps to do harm
	"sexual",
	"violent",
	"denigrates", // a protected class
	"opinion",    // judges where it should not
	"identity",   // names its model or maker, which breaks blindness
	FlagPII,
	FlagUnsafe,
}

// Flags that hold the whole task back: it leaves the queue and all later snapshots
// until a reviewer releases it.
const (
	FlagUnsafe = "unsafe"
	FlagPII    = "pii"
)

// Canonical turns ranks (1 = best, equal = tied, gaps of any kind) into competition
// ranks: one plus the number of answers that are strictly better.
func Canonical(ranks []int) ([]int, error) {
	if len(ranks) == 0 {
		return nil, invalid("ranks", "empty")
	}
	out := make([]int, len(ranks))
	for i, r := range ranks {
		if r < 1 {
			return nil, invalid("ranks", "rank %d of answer %d is below 1", r, i+1)
		}
		out[i] = 1
		for _, q := range ranks {
			if q < r {
				out[i]++
			}
		}
	}
	return out, nil
}

// Pairs lists the strict pairs of a ranking as (winner, loser) indices, winners in
// ascending order, then losers. Ties give none, so there are at most K(K-1)/2.
func Pairs(ranks []int) [][2]int {
	var pairs [][2]int
	for i := range ranks {
		for j := range ranks {
			if ranks[i] < ranks[j] {
				pairs = append(pairs, [2]int{i, j})
			}
		}
	}
	return pairs
}

// parseRanks checks ranks, ratings and flags against a task of len(order) answers and
// undoes the shuffle: order[d] is the stored position of the answer shown at d.
func parseRanks(in SubmitInput, order []int) (answerSheet, error) {
	k := len(order)
	var s answerSheet
	if len(in.Ranks) != k {
		return s, invalid("ranks", "%d given for %d answers", len(in.Ranks), k)
	}
	for d, r := range in.Ranks {
		if r < 1 || r > k {
			return s, invalid("ranks", "rank %d of answer %d is not within 1..%d", r, d+1, k)
		}
	}
	if in.Ratings != nil && len(in.Ratings) != k {
		return s, invalid("ratings", "%d given for %d answers", len(in.Ratings), k)
	}
	if in.Flags != nil && len(in.Flags) != k {
		return s, invalid("flags", "%d given for %d answers", len(in.Flags), k)
	}
	if err := checkWork(in); err != nil {
		return s, err
	}
	canonical, err := Canonical(in.Ranks)
	if err != nil {
		return s, err
	}
	s.ranks, s.ratings, s.flags = make([]int, k), make([]int, k), make([][]string, k)
	for d, pos := range order {
		s.ranks[pos] = canonical[d]
		if in.Ratings != nil {
			if r := in.Ratings[d]; r < 0 || r > 7 {
				return s, invalid("ratings", "rating %d of answer %d is not within 1..7", r, d+1)
			}
			s.ratings[pos] = in.Ratings[d]
		}
		if in.Flags == nil {
			continue
		}
		for _, f := range in.Flags[d] {
			if !slices.Contains(Flags, f) {
				return s, invalid("flags", "%q of answer %d is not a flag", f, d+1)
			}
			if holds(f) {
				s.hold = f
			}
			if !slices.Contains(s.flags[pos], f) {
				s.flags[pos] = append(s.flags[pos], f)
			}
		}
		slices.Sort(s.flags[pos])
	}
	return s, nil
}

func holds(flag string) bool { return flag == FlagUnsafe || flag == FlagPII }

// checkWork checks what every submit has: times and a comment.
func checkWork(in SubmitInput) error {
	if in.ActiveMS < 0 || in.WallMS < 0 {
		return invalid("active_ms", "negative")
	}
	return checkComment(in.Comment)
}

const maxComment = 10_000 // bytes

func checkComment(c string) error {
	if len(c) > maxComment {
		return invalid("comment", "%d bytes, at most %d", len(c), maxComment)
	}
	return CheckText("comment", c)
}

// checkRanksDraft is parseRanks for unfinished work: nothing need be there, but what is
// there must fit. Drafts are shown again to their author only.
func checkRanksDraft(d Draft, k int) error {
	if d.Ranks != nil && len(d.Ranks) != k || d.Ratings != nil && len(d.Ratings) != k || d.Flags != nil && len(d.Flags) != k {
		return invalid("draft", "ranks, ratings and flags must each have %d entries or none", k)
	}
	for i, r := range d.Ranks {
		if r < 0 || r > k {
			return invalid("ranks", "rank %d of answer %d is not within 0..%d", r, i+1, k)
		}
	}
	for i, r := range d.Ratings {
		if r < 0 || r > 7 {
			return invalid("ratings", "rating %d of answer %d is not within 0..7", r, i+1)
		}
	}
	for i, list := range d.Flags {
		for _, f := range list {
			if !slices.Contains(Flags, f) {
				return invalid("flags", "%q of answer %d is not a flag", f, i+1)
			}
		}
	}
	if d.Focus < 0 || d.Focus >= max(k, 1) {
		return invalid("focus", "%d is not within 0..%d", d.Focus, max(k, 1)-1)
	}
	return checkComment(d.Comment)
}

// key is the letter of the answer shown at d.
func key(d int) string { return fmt.Sprintf("%c", 'A'+d) }
