package labeling

// multiturn: K replies to the last turn of a conversation that has had an assistant's turn before. Replies, not whole
// conversations, are ranked, because that is what both published sources hold: the pairs of HH-RLHF share everything
// up to the last assistant turn, and OASST ranks the siblings under one parent of its tree. Whole conversations would
// differ in the user's turns as well, and a comparison would credit the policy with words it did not write.
//
// What is sent is a ranking; what differs is what may be asked about, and the page, which gives the conversation the
// room that its length needs.
var multiturn = question{
	name: QuestionMultiturn, min: MinAnswers, max: MaxAnswers, k: 4,
	prompt: func(messages []Message) error {
		for _, m := range messages {
			if m.Role == "assistant" {
				return nil
			}
		}
		return invalid("messages", "a conversation with an assistant's turn is wanted")
	},
	parse: ranking.parse,
	draft: ranking.draft,
}
