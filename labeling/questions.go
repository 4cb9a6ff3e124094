package labeling

// Names of the question types. A project asks one question.
const (
	QuestionRanking       = "ranking"
	QuestionPairwise      = "pairwise"
	QuestionRating        = "rating"
	QuestionEdit          = "edit"
	QuestionDemonstration = "demonstration"
	QuestionMultiturn     = "multiturn"
)

// question is a type of question: how many answers a task has, what a labeler may send, and what follows from it. Its
// file owns all of that; adding one is a file and a row of questions.
type question struct {
	name     string
	min, max int // answers of a task
	k        int // answers where a project does not say
	// prompt refuses conversations that the question makes no sense of; nil takes all.
	prompt func(messages []Message) error
	// parse checks a submit against a task whose answers were shown in the given order, and undoes the shuffle.
	// texts are the answers in the task's own order.
	parse func(in SubmitInput, order []int, texts []string) (answerSheet, error)
	// draft checks unfinished work on k answers: nothing need be there, but what is there must fit.
	draft func(d Draft, k int) error
}

// questions are all types, in the order in which pages list them.
var questions = []question{ranking, pairwise, rating, edit, demonstration, multiturn}

// QuestionNames lists the question types.
func QuestionNames() []string {
	names := make([]string, len(questions))
	for i, q := range questions {
		names[i] = q.name
	}
	return names
}

// AnswerCount is how many answers a task of the question has: from least to most, and the usual number. ok is false
// for a name that is none.
func AnswerCount(name string) (least, most, usual int, ok bool) {
	q, err := questionNamed(name)
	return q.min, q.max, q.k, err == nil
}

func questionNamed(name string) (question, error) {
	for _, q := range questions {
		if q.name == name {
			return q, nil
		}
	}
	return question{}, invalid("question", "%q is not a question type", name)
}

// answerSheet is a checked SubmitInput in the task's own order.
type answerSheet struct {
	ranks         []int      // of the answers, then of the text, where that competes
	ratings       []int      // of the answers; 0 = unrated
	flags         [][]string // of the answers; sorted, without doubles
	hold          string     // the flag that holds the task back, or ""
	text          string     // what the labeler wrote, or ""
	strength      int        // of a pairwise preference, or 0
	demonstration bool       // text is an ideal answer to the prompt
}

// maxWritten is the most that a labeler may write as an answer or a prompt, in bytes.
const maxWritten = 32_000

// checkWritten checks a text of the labeler's own; required refuses one that is blank.
func checkWritten(text string, required bool) error {
	if len(text) > maxWritten {
		return invalid("text", "%d bytes, at most %d", len(text), maxWritten)
	}
	if required && Normalize(text) == "" {
		return invalid("text", "empty")
	}
	return CheckText("text", text)
}

// unasked refuses what the question does not ask for, so that nothing sent is dropped in silence.
func unasked(text string, strength int) error {
	if text != "" {
		return invalid("text", "this question asks for none")
	}
	if strength != 0 {
		return invalid("strength", "this question asks for none")
	}
	return nil
}
