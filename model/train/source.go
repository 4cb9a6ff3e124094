package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/token"
)

// Source is the data of a run: sequences by number. A Source must not change while a run lives; Digest tells whether the
// data are those that a saved run has begun with.
type Source interface {
	Len() int
	// Sequence returns sequence i, 0 <= i < Len(): at least two tokens, the targets from Start on.
	Sequence(i int) model.Sequence
	// Skip returns the tokens of sequence i behind Start that are no targets either: the user's turns of a conversation.
	// The spans are in order and apart; nil = every token from Start on is a target.
	Skip(i int) []Span
	Digest() string
}

// Span is the tokens Lo <= t < Hi of a sequence.
type Span struct{ Lo, Hi int }

// Sequences is a Source in memory whose sequences have no tokens to skip.
type Sequences []model.Sequence

// Len implements Source.
func (s Sequences) Len() int { return len(s) }

// Sequence implements Source.
func (s Sequences) Sequence(i int) model.Sequence { return s[i] }

// Skip implements Source.
func (s Sequences) Skip(int) []Span { return nil }

// Digest implements Source: SHA-256 over all ids and starts, in hex.
func (s Sequences) Digest() string { return digest(s) }

// Masked is a Source in memory with tokens to skip, by sequence.
type Masked struct {
	Sequences
	Skips [][]Span // nil, or one entry a sequence
}

// Skip implements Source.
func (s *Masked) Skip(i int) []Span {
	if s.Skips == nil {
		return nil
	}
	return s.Skips[i]
}

// Digest implements Source: that of the Sequences where nothing is skipped.
func (s *Masked) Digest() string { return digest(s) }

// add puts a sequence behind the others.
func (s *Masked) add(q model.Sequence, skip []Span) {
	s.Sequences = append(s.Sequences, q)
	if len(skip) > 0 && s.Skips == nil {
		s.Skips = make([][]Span, len(s.Sequences)-1)
	}
	if s.Skips != nil {
		s.Skips = append(s.Skips, skip)
	}
}

func digest(s Source) string {
	h := sha256.New()
	var buf [8]byte
	put := func(n int) {
		binary.LittleEndian.PutUint64(buf[:], uint64(n))
		h.Write(buf[:])
	}
	for i := range s.Len() {
		q := s.Sequence(i)
		put(q.Start)
		put(len(q.IDs))
		for _, id := range q.IDs {
			put(int(id))
		}
		for _, span := range s.Skip(i) {
			put(-1)
			put(span.Lo)
			put(span.Hi)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// targets is the number of targets of a sequence.
func targets(q model.Sequence, skip []Span) int {
	n := len(q.IDs) - q.Start
	for _, s := range skip {
		n -= s.Hi - s.Lo
	}
	return n
}

// checkSource looks at every sequence once, before a long run trips over the last.
func checkSource(name string, s Source, shape model.Config, least int) error {
	if s.Len() < least {
		return invalid(name, "there are no sequences")
	}
	for i := range s.Len() {
		q, skip := s.Sequence(i), s.Skip(i)
		switch {
		case len(q.IDs) < 2 || len(q.IDs) > shape.Context:
			return invalid(name, "sequence %d has %d tokens, not 2..%d", i, len(q.IDs), shape.Context)
		case q.Start < 1 || q.Start >= len(q.IDs):
			return invalid(name, "sequence %d starts at %d, not in 1..%d", i, q.Start, len(q.IDs)-1)
		}
		at := q.Start
		for _, x := range skip {
			if x.Lo < at || x.Hi <= x.Lo || x.Hi > len(q.IDs) {
				return invalid(name, "sequence %d skips %d..%d, not in order within %d..%d", i, x.Lo, x.Hi, q.Start, len(q.IDs))
			}
			at = x.Hi
		}
		if targets(q, skip) == 0 {
			return invalid(name, "sequence %d has no target", i)
		}
		for _, id := range q.IDs {
			if id < 0 || int(id) >= shape.Vocab {
				return invalid(name, "sequence %d has the id %d, the vocabulary %d", i, id, shape.Vocab)
			}
		}
	}
	return nil
}

// Texts makes pretraining sequences: the start token (the end-of-text token where there is none), the text, the end-of-text
// token, all but the first a target.
// A text longer than context is cut into windows, each of which begins with the last token of the one before, so
// that every token is a target once. Empty texts are left out. context is at least 2.
func Texts(tok token.Tokenizer, texts []string, context int) Sequences {
	var out Sequences
	for _, text := range texts {
		out = append(out, document(tok, text, context)...)
	}
	return out
}

// document makes the sequences of one text.
func document(tok token.Tokenizer, text string, context int) (out []model.Sequence) {
	ids := tok.Encode(text)
	if len(ids) == 0 {
		return nil
	}
	begin, eos := tok.BOS(), tok.EOS()
	if begin < 0 {
		begin = eos
	}
	if eos >= 0 {
		ids = append(ids, eos)
	}
	if begin >= 0 {
		ids = append([]int32{begin}, ids...)
	}
	for len(ids) > context {
		out = append(out, model.Sequence{IDs: ids[:context:context], Start: 1})
		ids = ids[context-1:]
	}
	if len(ids) >= 2 {
		out = append(out, model.Sequence{IDs: ids, Start: 1})
	}
	return out
}

// Example is a prompt as the chat template writes it, and its answer as it follows (with its leading space).
type Example struct{ Prompt, Response string }

// Examples makes fine-tuning sequences: prompt, response, end-of-text token; the targets are the response and the end.
// Prompt and response are encoded apart, as a server does that knows only the prompt. An example that is longer than
// context or has an empty prompt or response is left out; dropped counts them.
func Examples(tok token.Tokenizer, examples []Example, context int) (out Sequences, dropped int) {
	for _, e := range examples {
		prompt, response := tok.Encode(e.Prompt), tok.Encode(e.Response)
		ids := append(append([]int32{}, prompt...), response...)
		if eos := tok.EOS(); eos >= 0 {
			ids = append(ids, eos)
		}
		if len(prompt) == 0 || len(response) == 0 || len(ids) > context {
			dropped++
			continue
		}
		out = append(out, model.Sequence{IDs: ids, Start: len(prompt)})
	}
	return out, dropped
}
