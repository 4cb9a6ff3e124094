package token

import "strings"

// Stream decodes ids as they come. The pieces joined are Continue of all the ids; no
// piece ends within a UTF-8 sequence. A Stream belongs to one goroutine.
type Stream struct {
	t    Tokenizer
	held []byte // the beginning of a character
}

// NewStream starts a stream of the text that ids add to what is there already: a
// leading space is kept.
func NewStream(t Tokenizer) *Stream { return &Stream{t: t} }

// Next gives the text that is complete after id; empty while a character is not.
// Special tokens and ids out of range add nothing.
func (s *Stream) Next(id int32) string {
	s.held = append(s.held, s.t.Bytes(id)...)
	return s.take(false)
}

// Flush gives what is left: U+FFFD where the last character never became whole.
func (s *Stream) Flush() string { return s.take(true) }

func (s *Stream) take(end bool) string {
	var out strings.Builder
	rest := takeUTF8(&out, s.held, end)
	s.held = append(s.held[:0], rest...)
	return out.String()
}

// Continue gives the text that ids add to a text that is there already, such as the
// answer after a prompt: Decode, but with a leading space kept.
func Continue(t Tokenizer, ids []int32) string {
	var b []byte
	for _, id := range ids {
		b = append(b, t.Bytes(id)...)
	}
	return validUTF8(b)
}
