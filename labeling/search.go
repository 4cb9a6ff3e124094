package labeling

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// TaskFilter says which tasks a list shows. Empty fields let everything through.
type TaskFilter struct {
	State      string // one of TaskStates
	Batch      string
	Split      string
	Origin     string
	CustomerID string
	LabelerID  string // tasks that the labeler has claimed, whatever became of it
	Text       string // words that the prompt's first 2000 characters hold, or that begin one of its words
	Before     string // id of a task: the list goes on with older ones
}

// Bounds of a list.
const (
	maxTaskPage = 200
	// searchSpan is how many tasks one page looks through at most; a page that found too few by then says where it is, and
	// the next goes on from there.
	searchSpan = 5_000
	// wordsSpan is the same where each prompt's words are looked at.
	wordsSpan = 1_000
	// wordsFound is how many prompts an index of words may name.
	wordsFound     = 5_000
	maxSearchWords = 8
)

// TaskRow is a line of a list: no bodies.
type TaskRow struct {
	ID         string
	State      string
	K          int
	Need, Done int
	Batch      string
	Held       string // flag
	Split      string
	Origin     string
	CustomerID string // "" = none
	Head       string // beginning of the prompt, up to 160 characters
	CreatedAt  time.Time
}

// TaskPage is a page of a list, newest first.
type TaskPage struct {
	Rows []TaskRow
	// Next is what Before must be for the next page; "" at the end.
	Next string
	// Unfinished: as many tasks were looked through as one page may; Next goes on.
	Unfinished bool
	// Common: so many prompts hold the words that not all were looked at.
	Common bool
}

func (f TaskFilter) check() error {
	switch {
	case f.State != "" && !slices.Contains(TaskStates, f.State):
		return invalid("state", "%q is not a state", f.State)
	case f.Split != "" && !slices.Contains([]string{Train, Valid, Test}, f.Split):
		return invalid("split", "%q is not a split", f.Split)
	case f.Origin != "" && !slices.Contains([]string{OriginAPI, OriginImport, OriginLabeler}, f.Origin):
		return invalid("origin", "%q is not an origin", f.Origin)
	case f.Before != "" && !isID(f.Before):
		return invalid("before", "is not the id of a task")
	case f.Text != "" && len(searchWords(f.Text)) == 0:
		return invalid("text", "a letter or digit is wanted")
	}
	for field, v := range map[string]string{"batch": f.Batch, "customer": f.CustomerID, "labeler": f.LabelerID, "text": f.Text} {
		if err := CheckText(field, v); err != nil {
			return err
		}
	}
	return nil
}

// searchWords are the words of a query in small letters, at most maxSearchWords.
func searchWords(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	return words[:min(len(words), maxSearchWords)]
}

// wordQuery asks for prompts that hold a word beginning with each of the words, as to_tsquery reads it.
func wordQuery(text string) string {
	words := searchWords(text)
	for i, w := range words {
		words[i] = "'" + w + "':*" // letters, digits and marks only: nothing to escape
	}
	return strings.Join(words, " & ")
}

// splitFlags takes flags apart that Postgres has joined; no flag holds a comma.
func splitFlags(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, ",")
}
