package labeling

// demonstration: no answer is shown; the labeler writes the ideal one (Ouyang et al. 2022, section 3.4). It is stored
// as the only, and therefore first, of its ranking, and SFT learns it.
var demonstration = question{
	name: QuestionDemonstration, min: 0, max: 0, k: 0,
	parse: func(in SubmitInput, _ []int, _ []string) (answerSheet, error) {
		s := answerSheet{ranks: []int{1}, text: in.Text, demonstration: true}
		if len(in.Ranks)+len(in.Ratings)+len(in.Flags) > 0 {
			return s, invalid("ranks", "there are no answers to rank, rate or flag")
		}
		if err := unasked("", in.Strength); err != nil {
			return s, err
		}
		if err := checkWritten(in.Text, true); err != nil {
			return s, err
		}
		return s, checkWork(in)
	},
	draft: func(d Draft, k int) error {
		if err := checkWritten(d.Text, false); err != nil {
			return err
		}
		if err := unasked("", d.Strength); err != nil {
			return err
		}
		return checkRanksDraft(d, k)
	},
}
