package eval

import (
	"context"
	"math"

	"github.com/rankloop/rankloop/model"
)

// HeldOutLoss returns -log pi per response token over all sequences, in nats, with a 95% interval clustered by sequence,
// and the perplexity exp of it. It ends early with ctx's error.
func HeldOutLoss(ctx context.Context, m *model.Transformer, seqs []model.Sequence) (loss Estimate, perplexity float64, err error) {
	rows, err := logprobs(ctx, m, seqs, nil)
	if err != nil {
		return Estimate{}, 0, err
	}
	sums, counts := make([]float64, len(rows)), make([]float64, len(rows))
	for i, row := range rows {
		sums[i], counts[i] = -sum(row), float64(len(row))
	}
	loss = ratio(sums, counts)
	return loss, math.Exp(loss.Mean), nil
}

// ratio estimates sum(x)/sum(n) over clusters.
func ratio(x, n []float64) Estimate {
	total, count := 0.0, 0.0
	for i := range x {
		total += x[i]
		count += n[i]
	}
	mean := total / count
	residual := make([]float64, len(x))
	for i := range residual {
		residual[i] = x[i] - mean*n[i]
	}
	return estimate(mean, int(count), residual)
}
