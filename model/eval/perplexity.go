package eval

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/model"
)

// Perplexity is how well a model predicts a text.
type Perplexity struct {
	Model  string `json:"model"`
	Tokens int    `json:"tokens"` // predicted, each once
	Bytes  int    `json:"bytes"`  // of the text that they stand for
	Window int    `json:"window"` // tokens that go through the model at once
	Stride int    `json:"stride"` // tokens predicted in each window but the first
	// Lossy: the tokenizer does not give the text back, so that what it leaves out costs nothing.
	Lossy bool `json:"lossy,omitempty"`
	// Loss is in nats per token, which depends on the tokenizer; BitsPerByte does not. Intervals are clustered by window.
	Loss        Estimate `json:"loss"`
	Perplexity  Estimate `json:"perplexity"`
	BitsPerByte Estimate `json:"bits_per_byte"`
}

// windows cuts ids into windows of at most context tokens, in which each token from index 1 on is predicted exactly once: the
// first window predicts all it holds, each further one its last stride, with what stands before as context.
func windows(ids []int32, context, stride int) []model.Sequence {
	var out []model.Sequence
	for done := 1; done < len(ids); {
		end := min(done+stride, len(ids))
		if done == 1 {
			end = min(context, len(ids))
		}
		lo := max(0, end-context)
		out = append(out, model.Sequence{IDs: ids[lo:end], Start: done - lo})
		done = end
	}
	return out
}

// predict measures a model on the text, with a window of the model's context and the stride given (0 = half the window).
func predict(ctx context.Context, s Subject, text string, stride int, progress func(done, total int)) (Perplexity, error) {
	window := s.Model.Config().Context
	if stride == 0 {
		stride = max(1, window/2)
	}
	if stride < 1 || stride >= window {
		return Perplexity{}, invalid("stride", "%d is not in 1..%d, less than %s's context", stride, window-1, s.Name)
	}
	ids := s.Tokenizer.Encode(text)
	p := Perplexity{Model: s.Name, Window: window, Stride: stride, Lossy: s.Tokenizer.Decode(ids) != text}
	// Bytes that no token owns, such as those an unknown character has, are counted at the front, and a SentencePiece
	// tokenizer's own leading space is taken off there.
	owned := make([]int, 0, len(ids)+1)
	rest := len(text)
	for _, id := range ids {
		n := len(s.Tokenizer.Bytes(id))
		owned = append(owned, n)
		rest -= n
	}
	if bos := s.Tokenizer.BOS(); bos >= 0 {
		ids, owned = append([]int32{bos}, ids...), append([]int{0}, owned...)
	}
	seqs := windows(ids, window, stride)
	if len(seqs) == 0 {
		return p, invalid("text", "too short: no token has another before it")
	}
	rows, err := logprobs(ctx, s.Model, seqs, func(done int) { progress(done, len(seqs)) })
	if err != nil {
		return p, err
	}
	nats, bits, tokens, bytes := make([]float64, len(rows)), make([]float64, len(rows)), make([]float64, len(rows)), make([]float64, len(rows))
	at := 1
	for i, row := range rows {
		nats[i], tokens[i] = -sum(row), float64(len(row))
		bits[i] = nats[i] / math.Ln2
		for range row {
			bytes[i] += float64(owned[at])
			at++
		}
		if i == 0 {
			bytes[i] += float64(rest)
		}
		p.Tokens += len(row)
		p.Bytes += int(bytes[i])
	}
	p.Loss, p.BitsPerByte = ratio(nats, tokens), ratio(bits, bytes)
	p.Perplexity = Estimate{Mean: math.Exp(p.Loss.Mean), Low: math.Exp(p.Loss.Low), High: math.Exp(p.Loss.High), N: p.Tokens, Clusters: len(rows)}
	return p, nil
}
