package eval

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/model"
)

// lossTokens bounds the tokens that go through the model at once.
const lossTokens = 8192

// HeldOutLoss returns -log pi per response token over all sequences, in nats, with a 95% interval clustered by sequence,
// and the perplexity exp of it. It ends early with ctx's error.
func HeldOutLoss(ctx context.Context, m *model.Transformer, seqs []model.Sequence) (loss Estimate, perplexity float64, err error) {
	sums, counts := make([]float64, 0, len(seqs)), make([]float64, 0, len(seqs))
	for at := 0; at < len(seqs); {
		if err := ctx.Err(); err != nil {
			return Estimate{}, 0, err
		}
		end, tokens := at, 0
		for end < len(seqs) && (end == at || tokens+len(seqs[end].IDs) <= lossTokens) {
			tokens += len(seqs[end].IDs)
			end++
		}
		for _, row := range m.Score(seqs[at:end], model.WantLogprobs).Logprobs {
			sum := 0.0
			for _, lp := range row {
				sum -= float64(lp)
			}
			sums, counts = append(sums, sum), append(counts, float64(len(row)))
		}
		at = end
	}
	total, n := 0.0, 0.0
	for i := range sums {
		total += sums[i]
		n += counts[i]
	}
	mean := total / n
	residual := make([]float64, len(sums))
	for i := range residual {
		residual[i] = sums[i] - mean*counts[i]
	}
	return estimate(mean, int(n), residual), math.Exp(mean), nil
}
