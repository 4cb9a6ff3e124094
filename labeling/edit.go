package labeling

// edit: one answer is shown and improved. The edited text ranks above the original: that is one comparison, and the
// text becomes a demonstration. A text that was left as it is says that nothing was to be improved; then neither
// follows, since nobody wrote anything, and the answer must be rated, so that nobody says so by a slip of the finger.
var edit = question{
	name: QuestionEdit, min: 1, max: 1, k: 1,
	parse: func(in SubmitInput, order []int, texts []string) (answerSheet, error) {
		if err := checkWritten(in.Text, true); err != nil {
			return answerSheet{}, err
		}
		if err := unasked("", in.Strength); err != nil {
			return answerSheet{}, err
		}
		s, err := parseAlone(in, order)
		switch {
		case err != nil:
			return s, err
		case in.Text != texts[0]:
			s.ranks, s.text, s.demonstration = []int{2, 1}, in.Text, true
		case s.ratings[0] == 0:
			return s, invalid("ratings", "an answer that is left as it is wants a rating of 1..7")
		}
		return s, nil
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
