package token

import (
	"strings"
	"unicode/utf8"
)

// plain is
//
//	System: <content>
//	User: <content>
//	Assistant: <content>
//	User: <content>
//	Assistant:
//
// so that an answer begins with a space. The System line is there only where the
// conversation has one. A turn begins at the start of a line and nowhere else;
// therefore a line of content (all but its first, which stands behind a marker) that
// begins with spaces or tabs, or none, and a marker gets one space more in front.
// Nothing typed into a content can then forge a turn, and taking that space off again
// gives the content back. Markers count in any mixture of case, and all that Unicode
// knows as a line break begins a line.
type plain struct{}

var plainMarkers = map[string]string{
	"system": "System:", "developer": "System:", "user": "User:", "assistant": "Assistant:",
}

func (plain) Name() string { return "plain" }

func (plain) Stop() []string { return []string{"\nUser:", "\nSystem:", "\nAssistant:"} }

func (plain) End() string { return "" }

func (t plain) Prompt(messages []Message) (string, error) { return promptText(t, messages) }

func (plain) Pieces(messages []Message, answer bool) ([]Piece, error) {
	if err := checkMessages(messages, plainMarkers, false); err != nil {
		return nil, err
	}
	var out []Piece
	for _, m := range messages {
		out = append(out, Piece{Text: plainMarkers[m.Role]},
			Piece{Text: " " + guardLines(m.Content, plainMarkers), Target: m.Role == "assistant"}, Piece{Text: "\n"})
	}
	if answer {
		return append(out, Piece{Text: plainMarkers["assistant"]}), nil
	}
	return out[:len(out)-1], nil
}

// humanAssistant is the form of Anthropic's HH data (Bai et al. 2022):
//
//	<system>
//
//	Human: <content>
//
//	Assistant: <content>
//
// with an empty line before each turn, also the first; an answer begins with a space.
// A system message, which only the beginning can have, stands there by itself. Lines
// that look like a turn are guarded as in plain.
type humanAssistant struct{}

var hhMarkers = map[string]string{"system": "", "developer": "", "user": "Human:", "assistant": "Assistant:"}

func (humanAssistant) Name() string { return "hh" }

func (humanAssistant) Stop() []string { return []string{"\n\nHuman:", "\n\nAssistant:"} }

func (humanAssistant) End() string { return "" }

func (t humanAssistant) Prompt(messages []Message) (string, error) { return promptText(t, messages) }

func (humanAssistant) Pieces(messages []Message, answer bool) ([]Piece, error) {
	if err := checkMessages(messages, hhMarkers, true); err != nil {
		return nil, err
	}
	var out []Piece
	for _, m := range messages {
		marker, text := hhMarkers[m.Role], guardLines(m.Content, hhMarkers)
		if marker == "" {
			if beginsTurn(text, hhMarkers) {
				text = " " + text
			}
			out = append(out, Piece{Text: text})
			continue
		}
		out = append(out, Piece{Text: "\n\n" + marker}, Piece{Text: " " + text, Target: m.Role == "assistant"})
	}
	if answer {
		out = append(out, Piece{Text: "\n\n" + hhMarkers["assistant"]})
	}
	return out, nil
}

// lineBreaks are the characters after which a line begins.
const lineBreaks = "\n\v\f\r\u0085\u2028\u2029"

// guardLines puts a space in front of lines that begin like a turn, but the first.
func guardLines(content string, markers map[string]string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(content, lineBreaks)
		if i < 0 {
			b.WriteString(content)
			return b.String()
		}
		_, size := utf8.DecodeRuneInString(content[i:])
		b.WriteString(content[:i+size])
		content = content[i+size:]
		if beginsTurn(content, markers) {
			b.WriteByte(' ')
		}
	}
}

// beginsTurn says whether a line begins with a marker, however far indented.
func beginsTurn(line string, markers map[string]string) bool {
	line = strings.TrimLeft(line, " \t")
	for _, m := range markers {
		if m != "" && len(line) >= len(m) && strings.EqualFold(line[:len(m)], m) {
			return true
		}
	}
	return false
}
