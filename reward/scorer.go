package reward

import (
	"context"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
)

// Scorer gives normalised rewards: (r - Mean) / Std, so that reference answers score 0 on average. It is what PPO
// maximises, and it satisfies ppo.Scorer. It may be used by several goroutines.
type Scorer struct {
	m         *model.Transformer
	mean, std float64
	digest    string
}

// NewScorer wraps a model with a score head and the normalisation that its card holds. std 0 counts as 1.
func NewScorer(m *model.Transformer, mean, std float64) *Scorer {
	if std == 0 {
		std = 1
	}
	return &Scorer{m: m, mean: mean, std: std, digest: fmt.Sprintf("%s/%x/%x", m.Digest(), math.Float64bits(mean), math.Float64bits(std))}
}

// Norm returns the normalisation.
func (s *Scorer) Norm() (mean, std float64) { return s.mean, s.std }

// Model returns the model that scores. It must not be changed.
func (s *Scorer) Model() *model.Transformer { return s.m }

// Digest names weights and normalisation: scorers with the same digest give the same rewards.
func (s *Scorer) Digest() string { return s.digest }

// scoreTokens bounds the tokens of one forward pass of Score.
const scoreTokens = 8192

// Score returns the normalised reward of each sequence (prompt and answer). A reward that is not finite is an error.
func (s *Scorer) Score(ctx context.Context, seqs []model.Sequence) ([]float64, error) {
	out := make([]float64, 0, len(seqs))
	for _, chunk := range chunks(seqs, scoreTokens) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, r := range s.m.Score(chunk, model.WantScore).Score {
			x := (float64(r) - s.mean) / s.std
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("%w: reward of sequence %d", ErrNotFinite, len(out))
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// chunks cuts a batch so that each part has at most limit tokens, or one sequence.
func chunks(seqs []model.Sequence, limit int) [][]model.Sequence {
	var out [][]model.Sequence
	for len(seqs) > 0 {
		n, tokens := 0, 0
		for n < len(seqs) && (n == 0 || tokens+len(seqs[n].IDs) <= limit) {
			tokens += len(seqs[n].IDs)
			n++
		}
		out, seqs = append(out, seqs[:n]), seqs[n:]
	}
	return out
}
