package token

import (
	"fmt"
	"strings"
)

// tokenTurns is a template whose turns are marked by special tokens, so that no typed
// text can look like a marker:
//
//	<start>role<head>content<end><gap>
type tokenTurns struct {
	name             string
	start, head, end string // head may be ordinary text
	headSpecial      bool
	behindHead, gap  string
}

// chatML is OpenAI's and Qwen's <|im_start|>user\n..<|im_end|>\n.
var chatML = tokenTurns{name: "chatml", start: "<|im_start|>", head: "\n", end: "<|im_end|>", gap: "\n"}

// llama3 is <|start_header_id|>user<|end_header_id|>\n\n..<|eot_id|>.
var llama3 = tokenTurns{name: "llama3", start: "<|start_header_id|>", head: "<|end_header_id|>", headSpecial: true,
	behindHead: "\n\n", end: "<|eot_id|>"}

var tokenRoles = map[string]string{"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

func (t tokenTurns) Name() string { return t.name }

func (t tokenTurns) Stop() []string { return []string{t.end, t.start} }

func (t tokenTurns) End() string { return t.end }

func (t tokenTurns) Prompt(messages []Message) (string, error) { return promptText(t, messages) }

func (t tokenTurns) Pieces(messages []Message, answer bool) ([]Piece, error) {
	if err := checkMessages(messages, tokenRoles, false); err != nil {
		return nil, err
	}
	var out []Piece
	begin := func(role string) {
		out = append(out, Piece{Text: t.start, Special: true}, Piece{Text: role}, Piece{Text: t.head, Special: t.headSpecial},
			Piece{Text: t.behindHead})
	}
	for _, m := range messages {
		role := tokenRoles[m.Role]
		own := role == "assistant"
		begin(role)
		out = append(out, Piece{Text: m.Content, Target: own}, Piece{Text: t.end, Special: true, Target: own}, Piece{Text: t.gap})
	}
	if answer {
		begin("assistant")
	}
	return out, nil
}

// llama2 is the form of Llama 2's chat models:
//
//	[INST] <<SYS>>
//	<system>
//	<</SYS>>
//
//	<user> [/INST] <assistant> </s><s>[INST] <user> [/INST]
//
// behind the <s> that begins every text. User and assistant take turns; a system
// message stands in front. [INST] and <<SYS>> are ordinary text for the tokenizer:
// where a content holds one of them, in any mixture of case, it gets a space behind
// its opening bracket, and one more where it has some already.
type llama2 struct{}

var llama2Roles = map[string]string{"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

func (llama2) Name() string { return "llama2" }

func (llama2) Stop() []string { return []string{"[INST]"} }

func (llama2) End() string { return "</s>" }

func (t llama2) Prompt(messages []Message) (string, error) { return promptText(t, messages) }

func (llama2) Pieces(messages []Message, answer bool) ([]Piece, error) {
	if err := checkMessages(messages, llama2Roles, true); err != nil {
		return nil, err
	}
	var out []Piece
	system, turns := "", messages
	if llama2Roles[messages[0].Role] == "system" {
		system = "<<SYS>>\n" + guardTags(messages[0].Content) + "\n<</SYS>>\n\n"
		turns = messages[1:]
	}
	for i, m := range turns {
		want := []string{"user", "assistant"}[i%2]
		switch {
		case m.Role != want:
			return nil, invalid(fmt.Sprintf("messages[%d].role", len(messages)-len(turns)+i), "%q where it is the %s's turn", m.Role, want)
		case want == "assistant":
			out = append(out, Piece{Text: " " + guardTags(m.Content) + " ", Target: true}, Piece{Text: "</s>", Special: true, Target: true})
			continue
		case i > 0:
			out = append(out, Piece{Text: "<s>", Special: true})
		}
		out = append(out, Piece{Text: "[INST] " + system + guardTags(m.Content) + " [/INST]"})
		system = ""
	}
	if answer && len(turns)%2 == 0 {
		return nil, invalid("messages", "the last one has to be the user's")
	}
	return out, nil
}

// guardTags puts a space into what looks like a tag of llama2.
func guardTags(content string) string {
	var b strings.Builder
	for i := 0; i < len(content); i++ {
		b.WriteByte(content[i])
		open := ""
		switch {
		case content[i] == '[':
			open = "inst]"
		case content[i] == '<' && i > 0 && content[i-1] == '<':
			open = "sys>>"
		default:
			continue
		}
		rest := strings.TrimPrefix(strings.TrimLeft(content[i+1:], " "), "/")
		if len(rest) >= len(open) && strings.EqualFold(rest[:len(open)], open) {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
