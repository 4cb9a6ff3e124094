package labeling

// pairwise: two answers, which is better and how clearly. It is a ranking of two with ties, so that all that learns
// from rankings learns from it; the strength goes along, 1 (slightly) to 4 (much better), as the scale of Bai et al.
// 2022 (HH-RLHF, section 2.2) and of Touvron et al. 2023 (Llama 2, section 3.2.1).
var pairwise = question{
	name: QuestionPairwise, min: 2, max: 2, k: 2,
	parse: func(in SubmitInput, order []int, _ []string) (answerSheet, error) {
		if err := unasked(in.Text, 0); err != nil {
			return answerSheet{}, err
		}
		s, err := parseRanks(in, order)
		if err != nil {
			return s, err
		}
		tied := s.ranks[0] == s.ranks[1]
		switch {
		case tied && in.Strength != 0:
			return s, invalid("strength", "%d of a tie; 0 is wanted", in.Strength)
		case !tied && (in.Strength < 1 || in.Strength > maxStrength):
			return s, invalid("strength", "%d is not within 1..%d", in.Strength, maxStrength)
		}
		s.strength = in.Strength
		return s, nil
	},
	draft: func(d Draft, k int) error {
		if d.Strength < 0 || d.Strength > maxStrength {
			return invalid("strength", "%d is not within 0..%d", d.Strength, maxStrength)
		}
		if err := unasked(d.Text, 0); err != nil {
			return err
		}
		return checkRanksDraft(d, k)
	},
}

const maxStrength = 4 // much better
