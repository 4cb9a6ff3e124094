package labeling

// rating: one answer, judged by itself: overall 1 to 7 and flags (Ouyang et al. 2022, appendix B). Nothing is compared,
// so no comparison follows; the rating and the flags are what is stored.
var rating = question{
	name: QuestionRating, min: 1, max: 1, k: 1,
	parse: func(in SubmitInput, order []int, _ []string) (answerSheet, error) {
		if err := unasked(in.Text, in.Strength); err != nil {
			return answerSheet{}, err
		}
		if len(in.Ratings) != 1 || in.Ratings[0] < 1 {
			return answerSheet{}, invalid("ratings", "one rating of 1..7 is wanted")
		}
		return parseAlone(in, order)
	},
	draft: func(d Draft, k int) error {
		if err := unasked(d.Text, d.Strength); err != nil {
			return err
		}
		return checkRanksDraft(d, k)
	},
}

// parseAlone checks the parts of a submit about a single answer, whose rank is 1 whether or not it is sent.
func parseAlone(in SubmitInput, order []int) (answerSheet, error) {
	if in.Ranks == nil {
		in.Ranks = []int{1}
	}
	return parseRanks(in, order)
}
