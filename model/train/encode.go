package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// Encoder turns rows into sequences.
type Encoder struct {
	Tokenizer token.Tokenizer
	Context   int                // tokens of one sequence at most; at least 2
	Template  token.ChatTemplate // of conversations and prompts; nil = a prompt is the text itself
	Data      Masked             // what came out
	Dropped   int                // rows that are empty, or have no answer that fits the context
}

// Add encodes a row. A text becomes a document, in windows as in Texts. A conversation becomes one sequence whose targets are
// the assistant's turns, each with the token that ends a turn where the template has one; the last is followed by the
// end-of-text token, a target too. A conversation that is longer than the context loses its last turns.
func (e *Encoder) Add(r Row) error {
	switch r.Kind {
	case KindText:
		list := document(e.Tokenizer, r.Text, e.Context)
		for _, q := range list {
			e.Data.add(q, nil)
		}
		if len(list) == 0 {
			e.Dropped++
		}
		return nil
	case KindPairs:
		if strings.TrimSpace(r.Prompt) == "" || strings.TrimSpace(r.Completion) == "" {
			e.Dropped++
			return nil
		}
		if e.Template == nil {
			ids, target, err := token.EncodePieces(e.Tokenizer, []token.Piece{{Text: r.Prompt}, {Text: r.Completion, Target: true}})
			if err != nil {
				return err
			}
			e.conversation(ids, target)
			return nil
		}
		r.Messages = []token.Message{{Role: "user", Content: r.Prompt}, {Role: "assistant", Content: r.Completion}}
	}
	if e.Template == nil {
		return invalid("template", "conversations need a chat template")
	}
	messages := slices.Clone(r.Messages)
	for i, m := range messages {
		if m.Role == "assistant" {
			messages[i].Content = strings.TrimSpace(m.Content)
		}
	}
	ids, target, err := token.ConversationIDs(e.Tokenizer, e.Template, messages)
	if err != nil {
		return err
	}
	e.conversation(ids, target)
	return nil
}

// conversation adds ids up to the end of the last answer that fits the context, and the token that ends a text.
func (e *Encoder) conversation(ids []int32, target []bool) {
	var spans []Span // of targets
	end := 0         // of the sequence
	for i := 0; i < len(ids); i++ {
		if !target[i] {
			continue
		}
		x := Span{i, i + 1}
		for x.Hi < len(ids) && target[x.Hi] {
			x.Hi++
		}
		n := x.Hi
		if eos := e.Tokenizer.EOS(); eos >= 0 && ids[n-1] != eos {
			n++
		}
		if x.Lo == 0 || n > e.Context {
			break
		}
		spans, end, i = append(spans, x), n, x.Hi
	}
	if len(spans) == 0 {
		e.Dropped++
		return
	}
	last := &spans[len(spans)-1]
	if ids = slices.Clip(ids[:last.Hi]); end > last.Hi {
		ids = append(ids, e.Tokenizer.EOS())
		last.Hi = end
	}
	var skip []Span
	for i := range spans[1:] {
		skip = append(skip, Span{spans[i].Hi, spans[i+1].Lo})
	}
	e.Data.add(model.Sequence{IDs: ids, Start: spans[0].Lo}, skip)
}

// Tokens is how many ids a source has, and how many the longest of its sequences.
func Tokens(s Source) (all, longest int) {
	if s == nil {
		return 0, 0
	}
	for i := range s.Len() {
		n := len(s.Sequence(i).IDs)
		all, longest = all+n, max(longest, n)
	}
	return all, longest
}

// String names a kind for people.
func (k Kind) String() string {
	switch k {
	case KindText:
		return "texts"
	case KindMessages:
		return "conversations"
	case KindPairs:
		return "prompts with completions"
	}
	return fmt.Sprintf("rows of the kind %q", string(k))
}
