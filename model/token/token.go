package token

import (
	"errors"
	"fmt"
)

// Tokenizer turns text into token ids and back. Implementations are immutable and
// safe for use by many goroutines.
type Tokenizer interface {
	// Encode gives the ids of text. It adds no special tokens, and text that looks
	// like one ("<|endoftext|>") is ordinary text: nothing a user types becomes a
	// control token. See [EncodeSpecial] for trusted text.
	Encode(text string) []int32
	// Decode gives the text of ids. Special tokens have no text and ids out of range
	// none either; bytes that are not UTF-8 come out as U+FFFD. A SentencePiece
	// tokenizer drops the one leading space that Encode puts in front, so that
	// Decode(Encode(x)) == x; see [Continue] for ids that continue a text.
	Decode(ids []int32) string
	// Bytes gives the bytes that a token adds to a text, nil for special tokens and
	// ids out of range. The caller must not change them.
	Bytes(id int32) []byte
	// Vocab is the number of ids: they run from 0 to Vocab()-1.
	Vocab() int
	// EOS and BOS are the ids that end and begin a text, -1 = none.
	EOS() int32
	BOS() int32
	// Special gives the id of a special token by its name, such as "<|endoftext|>".
	Special(name string) (int32, bool)
	// Digest is the SHA-256, 64 hex digits, of all that decides what Encode and
	// Decode do; equal digests mean equal ids, whatever file they came from.
	Digest() string
	// Save writes the tokenizer's files into an existing folder.
	Save(dir string) error
}

// ErrNotFound says that a folder holds no tokenizer.
var ErrNotFound = errors.New("token: no tokenizer")

// InvalidError says which part of a tokenizer file is wrong, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return "token: " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// EncodeSpecial is Encode for text that the program itself has composed: names of
// special tokens become their ids. Never use it on text that a person has typed.
func EncodeSpecial(t Tokenizer, text string) []int32 {
	if s, ok := t.(interface{ encodeSpecial(string) []int32 }); ok {
		return s.encodeSpecial(text)
	}
	return t.Encode(text)
}
