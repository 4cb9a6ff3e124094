package labeling

import (
	"crypto/sha256"
	"fmt"
	"unicode/utf8"
)

// Find is personal data in a stored thing: where, what, and which bytes of the original.
type Find struct {
	Place string `json:"place"` // "messages[0]", "text", "response"
	PIISpan
}

// original is a prompt as it came.
type original struct {
	Messages []Message `json:"messages"`
	Text     string    `json:"text"`
}

// redactMessages returns the conversation without personal data; the same slice where
// there is none.
func redactMessages(messages []Message) ([]Message, []Find) {
	var finds []Find
	out := messages
	for i, m := range messages {
		clean, spans := Redact(m.Content)
		if spans == nil {
			continue
		}
		if finds == nil {
			out = append([]Message{}, messages...)
		}
		out[i].Content = clean
		finds = append(finds, findsAt(fmt.Sprintf("messages[%d]", i), spans)...)
	}
	return out, finds
}

func findsAt(place string, spans []PIISpan) []Find {
	var list []Find
	for _, s := range spans {
		list = append(list, Find{place, s})
	}
	return list
}

// redact takes personal data out of a prompt before anything of it is stored or compared.
// Token ids spell the same text and go with it.
func (n NewPrompt) redact() (NewPrompt, []Find, original) {
	was := original{n.Messages, n.Text}
	messages, finds := redactMessages(n.Messages)
	text, spans := Redact(n.Text)
	if finds == nil && spans == nil {
		return n, nil, was
	}
	n.Messages, n.Text, n.TokenIDs, n.TokenizerDigest = messages, text, nil, ""
	return n, append(finds, findsAt("text", spans)...), was
}

// PrefixRunes is how many normalised characters two prompts must begin with alike to
// count as one (InstructGPT removes prompts that share a long common prefix).
const PrefixRunes = 256

// prefixHash is of the first PrefixRunes normalised characters of a conversation with its
// roles; nil for one that has fewer.
func prefixHash(messages []Message) []byte {
	h := sha256.New()
	left := PrefixRunes
	for _, m := range messages {
		text := Normalize(m.Content)
		if n := utf8.RuneCountInString(text); n < left {
			fmt.Fprintf(h, "%s\x1f%s\x1e", m.Role, text)
			left -= n
			continue
		}
		end := 0
		for range left {
			_, size := utf8.DecodeRuneInString(text[end:])
			end += size
		}
		fmt.Fprintf(h, "%s\x1f%s", m.Role, text[:end])
		return h.Sum(nil)[:16]
	}
	return nil
}
