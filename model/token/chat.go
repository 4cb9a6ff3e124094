package token

import (
	"fmt"
	"slices"
	"strings"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // "system" (or "developer", the same), "user" or "assistant"
	Content string
}

// ChatTemplate writes conversations as a model reads them.
type ChatTemplate interface {
	Name() string
	// Pieces writes a conversation; with answer it ends where the assistant's next answer
	// begins. Conversations that differ give pieces that differ (but for the two names of
	// the system's role). What people have typed is in pieces that are not special.
	Pieces(messages []Message, answer bool) ([]Piece, error)
	// Prompt is the text of Pieces(messages, true), for people to read; what a model
	// reads is [PromptIDs].
	Prompt(messages []Message) (string, error)
	// Stop lists the texts that show that the model has ended its answer or begun a turn
	// of somebody else: an answer ends before them.
	Stop() []string
	// End is the special token that ends an answer; "" = the one that ends a text.
	End() string
}

// Piece is a part of a conversation that a template has written.
type Piece struct {
	Text    string
	Special bool // the name of a special token
	Target  bool // what the assistant writes: its answer, and the token that ends it
}

// chatTemplates are functions of this package; none is ever read from a file or a
// request.
var chatTemplates = []ChatTemplate{plain{}, chatML, llama2{}, llama3, humanAssistant{}}

// Chat gives a template by name, one of ChatNames.
func Chat(name string) (ChatTemplate, error) {
	for _, t := range chatTemplates {
		if t.Name() == name {
			return t, nil
		}
	}
	return nil, invalid("template", "%q is not known; there are %s", name, strings.Join(ChatNames(), ", "))
}

// ChatNames lists the templates: plain, chatml, llama2, llama3, hh.
func ChatNames() []string {
	var names []string
	for _, t := range chatTemplates {
		names = append(names, t.Name())
	}
	return names
}

// PromptIDs is what a model reads before it answers: the token that begins a text
// where the tokenizer has one, then the conversation.
func PromptIDs(t Tokenizer, template ChatTemplate, messages []Message) ([]int32, error) {
	ids, _, err := encodeChat(t, template, messages, true)
	return ids, err
}

// ConversationIDs is what a model is trained on: the conversation as PromptIDs has it
// before each answer, and for each id whether the assistant writes it. It ends with
// the last message; the token that ends a text is not added.
func ConversationIDs(t Tokenizer, template ChatTemplate, messages []Message) (ids []int32, target []bool, err error) {
	return encodeChat(t, template, messages, false)
}

// EndID is the id of the token that ends an answer; -1 = none.
func EndID(t Tokenizer, template ChatTemplate) int32 {
	if id, ok := t.Special(template.End()); ok {
		return id
	}
	return t.EOS()
}

func encodeChat(t Tokenizer, template ChatTemplate, messages []Message, answer bool) ([]int32, []bool, error) {
	pieces, err := template.Pieces(messages, answer)
	if err != nil {
		return nil, nil, err
	}
	return EncodePieces(t, pieces)
}

// EncodePieces gives the ids of pieces behind the token that begins a text, where the
// tokenizer has one, and for each id whether it is of a target. An [InvalidError] where
// the tokenizer lacks a special token.
func EncodePieces(t Tokenizer, pieces []Piece) ([]int32, []bool, error) {
	var ids []int32
	var target []bool
	put := func(more []int32, wanted bool) {
		ids = append(ids, more...)
		target = append(target, slices.Repeat([]bool{wanted}, len(more))...)
	}
	if bos := t.BOS(); bos >= 0 {
		put([]int32{bos}, false)
	}
	text, from := "", len(ids) // ordinary text since the last special token, and where its ids begin
	for _, p := range joined(pieces) {
		if p.Special {
			id, ok := t.Special(p.Text)
			if !ok {
				return nil, nil, invalid("template", "it needs the special token %s, which the tokenizer does not have", p.Text)
			}
			put([]int32{id}, p.Target)
			text, from = "", len(ids)
			continue
		}
		// A piece is what the text has more ids with it than without, as in a text that is
		// read as a whole; where it would change ids in front of it, it stands apart.
		begins := from == 0 || ids[from-1] == t.BOS()
		whole := encodePart(t, text+p.Text, begins)
		if before := ids[from:]; len(whole) >= len(before) && slices.Equal(whole[:len(before)], before) {
			put(whole[len(before):], p.Target)
			text += p.Text
		} else {
			from = len(ids)
			put(encodePart(t, p.Text, false), p.Target)
			text = p.Text
		}
	}
	return ids, target, nil
}

// encodePart is Encode for a part of a text: begins says that it is the first.
func encodePart(t Tokenizer, text string, begins bool) []int32 {
	if p, ok := t.(interface {
		encodePart(text string, begins bool) []int32
	}); ok {
		return p.encodePart(text, begins)
	}
	return t.Encode(text)
}

// joined draws neighbours of one kind together: how a template cuts its text must not
// show in the ids.
func joined(pieces []Piece) []Piece {
	var out []Piece
	for _, p := range pieces {
		n := len(out)
		switch {
		case p.Text == "":
		case n > 0 && !p.Special && !out[n-1].Special && p.Target == out[n-1].Target:
			out[n-1].Text += p.Text
		default:
			out = append(out, p)
		}
	}
	return out
}

// promptText is the text of a conversation that is to be answered.
func promptText(t ChatTemplate, messages []Message) (string, error) {
	pieces, err := t.Pieces(messages, true)
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.Text)
	}
	return b.String(), err
}

// checkMessages refuses roles that are not in names, which it turns into what the
// template writes for them. first says that a system message has to be the first.
func checkMessages(messages []Message, names map[string]string, first bool) error {
	if len(messages) == 0 {
		return invalid("messages", "there are none")
	}
	for i, m := range messages {
		name, ok := names[m.Role]
		if !ok {
			return invalid(fmt.Sprintf("messages[%d].role", i), "%q is not system, developer, user or assistant", m.Role)
		}
		if first && i > 0 && name == names["system"] {
			return invalid(fmt.Sprintf("messages[%d].role", i), "this template has a system message only in front")
		}
	}
	return nil
}
