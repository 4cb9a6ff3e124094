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
	Digest() string
}

// Sequences is a Source in memory.
type Sequences []model.Sequence

// Len implements Source.
func (s Sequences) Len() int { return len(s) }

// Sequence implements Source.
func (s Sequences) Sequence(i int) model.Sequence { return s[i] }

// Digest implements Source: SHA-256 over all ids and starts, in hex.
func (s Sequences) Digest() string {
	h := sha256.New()
	var buf [8]byte
	put := func(n int) {
		binary.LittleEndian.PutUint64(buf[:], uint64(n))
		h.Write(buf[:])
	}
	for _, q := range s {
		put(q.Start)
		put(len(q.IDs))
		for _, id := range q.IDs {
			put(int(id))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Texts makes pretraining sequences: the end-of-text token, the text, the end-of-text token, all but the first a target.
// A text longer than context is cut into windows, each of which begins with the last token of the one before, so
// that every token is a target once. Empty texts are left out. context is at least 2.
func Texts(tok token.Tokenizer, texts []string, context int) Sequences {
	var out Sequences
	for _, text := range texts {
		ids := tok.Encode(text)
		if len(ids) == 0 {
			continue
		}
		if eos := tok.EOS(); eos >= 0 {
			ids = append(append([]int32{eos}, ids...), eos)
		}
		for len(ids) > context {
			out = append(out, model.Sequence{IDs: ids[:context:context], Start: 1})
			ids = ids[context-1:]
		}
		if len(ids) >= 2 {
			out = append(out, model.Sequence{IDs: ids, Start: 1})
		}
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
