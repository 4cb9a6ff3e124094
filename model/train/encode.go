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
			return e.conversation([]turn{{r.Prompt, r.Completion, ""}})
		}
		r.Messages = []token.Message{{Role: "user", Content: r.Prompt}, {Role: "assistant", Content: r.Completion}}
	}
	if e.Template == nil {
		return invalid("template", "conversations need a chat template")
	}
	turns, err := split(e.Template, r.Messages)
	if err != nil {
		return err
	}
	return e.conversation(turns)
}

// turn is a piece of a conversation: what is read, what is answered, and what the template puts behind the answer.
type turn struct{ read, answer, stop string }

// split cuts a conversation at the assistant's turns. What stands before a turn is what the template gives as the prompt of
// that turn, so that training reads what serving reads.
func split(template token.ChatTemplate, messages []token.Message) ([]turn, error) {
	messages = slices.Clone(messages)
	for i, m := range messages {
		if m.Role == "assistant" {
			messages[i].Content = strings.TrimSpace(m.Content)
		}
	}
	var turns []turn
	done := "" // the text up to and with the last answer
	for i, m := range messages {
		if m.Role != "assistant" || i == 0 {
			continue
		}
		before, err := template.Prompt(messages[:i])
		if err != nil {
			return nil, err
		}
		after, err := template.Prompt(messages[:i+1])
		if err != nil {
			return nil, err
		}
		read, ok := strings.CutPrefix(before, done)
		answer, ok2 := strings.CutPrefix(after, before)
		if !ok || !ok2 {
			return nil, invalid("template", "%s rewrites earlier turns; it cannot be trained with", template.Name())
		}
		t := turn{read: read}
		cut := len(answer)
		for _, s := range template.Stop() {
			if at := strings.Index(answer, s); at >= 0 && at < cut {
				cut, t.stop = at, s
			}
		}
		t.answer = answer[:cut]
		done = before + t.answer
		turns = append(turns, t)
	}
	return turns, nil
}

// conversation encodes turns until the context is full.
func (e *Encoder) conversation(turns []turn) error {
	var spans []Span // of targets
	so := grown{encode: e.encode(turns)}
	if bos := e.Tokenizer.BOS(); bos >= 0 {
		so.ids = append(so.ids, bos)
		so.first = 1
	}
	var end []int32 // behind the last turn that fits
	for _, t := range turns {
		next := so.add(t.read)
		at := len(next.ids)
		next = next.add(t.answer)
		var tail []int32
		marker, marked := e.Tokenizer.Special(t.stop)
		if marked {
			tail = append(tail, marker)
		}
		if eos := e.Tokenizer.EOS(); eos >= 0 && !(marked && marker == eos) {
			tail = append(tail, eos)
		}
		if at == 0 || at == len(next.ids) || len(next.ids)+len(tail) > e.Context {
			break
		}
		if n := len(spans); n > 0 && marked && next.ids[spans[n-1].Hi] == marker {
			spans[n-1].Hi++ // the end of the turn before, which the template has put behind it
		}
		so, end = next, tail
		spans = append(spans, Span{at, len(so.ids)})
	}
	if len(spans) == 0 {
		e.Dropped++
		return nil
	}
	spans[len(spans)-1].Hi += len(end)
	var skip []Span
	for i := range spans[1:] {
		skip = append(skip, Span{spans[i].Hi, spans[i+1].Lo})
	}
	e.Data.add(model.Sequence{IDs: append(slices.Clip(so.ids), end...), Start: spans[0].Lo}, skip)
	return nil
}

// encode is how the text of a conversation is encoded: with the names of special tokens only where the template uses one.
func (e *Encoder) encode(turns []turn) func(string) []int32 {
	for _, t := range turns {
		if _, ok := e.Tokenizer.Special(t.stop); ok {
			return func(text string) []int32 { return token.EncodeSpecial(e.Tokenizer, text) }
		}
	}
	return e.Tokenizer.Encode
}

// grown is a text that grows by pieces, and its ids.
type grown struct {
	encode func(string) []int32
	text   string
	ids    []int32
	first  int // ids in front of the text
}

// add encodes one piece more: what the whole text has more ids than before, as a model reads and writes it in one go; apart
// where the piece changes the ids in front of it.
func (g grown) add(piece string) grown {
	whole := g.encode(g.text + piece)
	if before := g.ids[g.first:]; len(whole) >= len(before) && slices.Equal(whole[:len(before)], before) {
		g.ids = append(slices.Clip(g.ids), whole[len(before):]...)
	} else {
		g.ids = append(slices.Clip(g.ids), g.encode(piece)...)
	}
	g.text += piece
	return g
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
