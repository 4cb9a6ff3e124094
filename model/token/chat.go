package token

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // "system" (or "developer", the same), "user" or "assistant"
	Content string
}

// ChatTemplate turns a conversation into the text that a model continues with its
// answer.
type ChatTemplate interface {
	Name() string
	// Prompt writes the conversation; the text ends where the assistant's next answer
	// begins. Conversations that differ give texts that differ (but for the two names
	// of the system's role).
	Prompt(messages []Message) (string, error)
	// Stop lists the texts that show that the model has begun a turn of somebody
	// else: an answer ends before them.
	Stop() []string
}

// Chat gives a template by name: "plain".
//
// Templates are functions of this package; none is ever read from a file or a request.
func Chat(name string) (ChatTemplate, error) {
	if name == "plain" {
		return plain{}, nil
	}
	return nil, invalid("template", "%q is not known; there is \"plain\"", name)
}

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

func (plain) Prompt(messages []Message) (string, error) {
	if len(messages) == 0 {
		return "", invalid("messages", "there are none")
	}
	var b strings.Builder
	for i, m := range messages {
		marker, ok := plainMarkers[m.Role]
		if !ok {
			return "", invalid(fmt.Sprintf("messages[%d].role", i), "%q is not system, developer, user or assistant", m.Role)
		}
		b.WriteString(marker)
		b.WriteByte(' ')
		writeGuarded(&b, m.Content)
		b.WriteByte('\n')
	}
	b.WriteString(plainMarkers["assistant"])
	return b.String(), nil
}

// lineBreaks are the characters after which a line begins.
const lineBreaks = "\n\v\f\r\u0085\u2028\u2029"

// writeGuarded writes content with a space in front of lines that begin like a turn.
func writeGuarded(b *strings.Builder, content string) {
	for {
		i := strings.IndexAny(content, lineBreaks)
		if i < 0 {
			b.WriteString(content)
			return
		}
		_, size := utf8.DecodeRuneInString(content[i:])
		b.WriteString(content[:i+size])
		content = content[i+size:]
		if beginsTurn(content) {
			b.WriteByte(' ')
		}
	}
}

// beginsTurn says whether a line begins with a marker, however far indented.
func beginsTurn(line string) bool {
	line = strings.TrimLeft(line, " \t")
	for _, m := range plainMarkers {
		if len(line) >= len(m) && strings.EqualFold(line[:len(m)], m) {
			return true
		}
	}
	return false
}
