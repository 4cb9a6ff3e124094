package labeling

import (
	"fmt"
	"slices"
	"strings"
)

// The three kinds of prompts that labelers write (Ouyang et al. 2022, section 3.2).
const (
	KindPlain     = "plain"      // any task that comes to mind
	KindFewShot   = "few-shot"   // an instruction and several query/answer pairs of it
	KindUserBased = "user-based" // made up from a use case that an admin gave
)

// PromptKinds lists the kinds, in the order in which the page shows them.
var PromptKinds = []string{KindPlain, KindFewShot, KindUserBased}

// Pair is a query with its answer.
type Pair struct{ Query, Answer string }

const (
	minPairs = 1 // one is one-shot; none would be a plain prompt
	maxPairs = 8
)

// WrittenPrompt is a prompt as a labeler writes it.
type WrittenPrompt struct {
	ProjectID string
	LabelerID string
	Kind      string
	Language  string // BCP 47, one of the project's where it has any; "" = not said
	Text      string // the prompt; of a few-shot prompt the instruction
	Pairs     []Pair // few-shot only, 1 to 8
	Query     string // few-shot only: what is to be answered
	UseCaseID string // user-based only
	Answer    string // the labeler's own ideal answer, "" = left to others
}

// Conversation is the prompt as a model gets it. Pairs are turns, the first of which opens with the instruction: that
// reads the same in every language and template, where labels such as "Input:" would not.
func (w WrittenPrompt) Conversation() []Message {
	if w.Kind != KindFewShot {
		return []Message{{Role: "user", Content: w.Text}}
	}
	var list []Message
	for _, p := range w.Pairs {
		list = append(list, Message{"user", p.Query}, Message{"assistant", p.Answer})
	}
	list = append(list, Message{"user", w.Query})
	list[0].Content = w.Text + "\n\n" + list[0].Content
	return list
}

func (w WrittenPrompt) check(p Project) error {
	if !slices.Contains(PromptKinds, w.Kind) {
		return invalid("kind", "%q is none of %s", w.Kind, strings.Join(PromptKinds, ", "))
	}
	if err := CheckLanguage(w.Language); err != nil {
		return err
	}
	if w.Language != "" && len(p.Languages) > 0 && !slices.Contains(p.Languages, w.Language) {
		return invalid("language", "%q is none of the project's: %s", w.Language, strings.Join(p.Languages, ", "))
	}
	if Normalize(w.Text) == "" {
		return invalid("text", "empty")
	}
	size := len(w.Text) + len(w.Query)
	if few := w.Kind == KindFewShot; few {
		if len(w.Pairs) < minPairs || len(w.Pairs) > maxPairs {
			return invalid("pairs", "%d given, %d to %d are wanted", len(w.Pairs), minPairs, maxPairs)
		}
		for i, pair := range w.Pairs {
			if Normalize(pair.Query) == "" || Normalize(pair.Answer) == "" {
				return invalid("pairs", "pair %d lacks its query or its answer", i+1)
			}
			size += len(pair.Query) + len(pair.Answer)
		}
		if Normalize(w.Query) == "" {
			return invalid("query", "empty")
		}
	} else if len(w.Pairs) > 0 || w.Query != "" {
		return invalid("pairs", "a %s prompt has none", w.Kind)
	}
	if (w.Kind == KindUserBased) != (w.UseCaseID != "") {
		return invalid("use_case", "a user-based prompt has one, others have none")
	}
	if size > maxWritten {
		return invalid("text", "%d bytes, at most %d", size, maxWritten)
	}
	if err := checkMessages(w.Conversation()); err != nil {
		return err
	}
	if p.Question == QuestionMultiturn {
		if err := multiturn.prompt(w.Conversation()); err != nil {
			return invalid("kind", "this project ranks conversations: write a few-shot prompt, whose pairs are turns")
		}
	}
	if w.Answer == "" {
		return nil
	}
	return checkWritten(w.Answer, true)
}

// contributor is the name under which a labeler brings prompts: it has a cap and a side of the split like a customer.
func contributor(labelerID string) string { return fmt.Sprintf("labeler:%s", labelerID) }
