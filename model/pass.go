package model

// Sequence is one row of a batch: a prompt and its response.
type Sequence struct {
	IDs   []int32
	Start int // index (>= 1) of the first response token; len(IDs) = no response (score only)
}

// Want says what a pass is to compute.
type Want uint8

const (
	// WantLogprobs asks for Pass.Logprobs.
	WantLogprobs Want = 1 << iota
	// WantValues asks for Pass.Values; the model needs a scalar head.
	WantValues
	// WantEntropy asks for Pass.Entropy.
	WantEntropy
	// WantScore asks for Pass.Score; the model needs a scalar head.
	WantScore
)

// Pass is what the model says about a batch. Rows of Logprobs, Values and Entropy
// have len(IDs)-Start entries, one per response token; fields not asked for are
// nil. The numbers stay valid for as long as the caller likes.
type Pass struct {
	Logprobs [][]float32 // log pi(y_t | x, y_<t), natural logarithm
	Values   [][]float32 // scalar head at the position before response token t, the state y_t is drawn in
	Entropy  [][]float32 // of that next-token distribution, in nats
	Score    []float32   // scalar head at the last token of each sequence

	m *Transformer
	p *planes
}

// Grads holds the derivatives of a loss by the numbers of a Pass, in the same
// shapes; nil means zero.
type Grads struct {
	Logprobs, Values, Entropy [][]float32
	Score                     []float32
}
