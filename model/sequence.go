package model

// Sequence is one row of a batch: a prompt and its response.
type Sequence struct {
	IDs    []int32
	Start  int    // index (>= 1) of the first response token; len(IDs) = no response (score only)
	Stream uint64 // names this sequence's dropout masks: equal streams, equal masks
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

// Check reports whether the model can take the sequence, as *InvalidError: a token
// out of the vocabulary, too long for the context, Start out of range. Forward and
// Score panic on such a sequence.
func (m *Transformer) Check(s Sequence, want Want) error {
	if s.Start < 1 || s.Start > len(s.IDs) {
		return invalid("Start", "%d is not in 1..%d", s.Start, len(s.IDs))
	}
	if n := s.fed(want); n > m.cfg.Context {
		return invalid("IDs", "%d tokens exceed the context of %d", n, m.cfg.Context)
	}
	return m.CheckIDs(s.IDs)
}

// CheckIDs reports the first token out of the vocabulary, as *InvalidError.
func (m *Transformer) CheckIDs(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= m.cfg.Vocab {
			return invalid("IDs", "token %d at position %d is not in 0..%d", id, i, m.cfg.Vocab-1)
		}
	}
	return nil
}

// fed is how many tokens of s must go through the layers: the last one only where
// the score is read there, none where nothing is read.
func (s Sequence) fed(want Want) int {
	switch {
	case want&WantScore != 0:
		return len(s.IDs)
	case s.Start == len(s.IDs):
		return 0
	}
	return len(s.IDs) - 1
}

// headRows is at how many rows the heads are read: at the position before every
// response token where those are asked about, and at the last token for the score.
func (s Sequence) headRows(want Want) int {
	n := 0
	if want&(WantLogprobs|WantValues|WantEntropy) != 0 {
		n = len(s.IDs) - s.Start
	}
	if want&WantScore != 0 {
		n++
	}
	return n
}
