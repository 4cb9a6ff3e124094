package reward

import (
	"context"
	"math"
)

// Report says how well rewards agree with rankings.
type Report struct {
	Accuracy float64 `json:"accuracy"` // share of decided pairs (w, l) with reward(w) > reward(l); equal rewards count one half
	Low      float64 `json:"low"`      // 95% confidence interval, clustered by prompt (groups of one PromptID)
	High     float64 `json:"high"`
	Loss     float64 `json:"loss"`    // mean -log sigmoid(r_w - r_l) over the pairs, nats
	N        int     `json:"n"`       // pairs; a pair that two labelers decided counts twice
	Prompts  int     `json:"prompts"` // prompts with at least one decided pair

	// Agreement is the share of pairs decided by two labelers that both order alike, over AgreementN pairs of decisions;
	// 0 of 0 where no prompt was ranked twice. Ceiling bounds the accuracy that any judge can reach on such labels.
	Agreement  float64 `json:"agreement"`
	AgreementN int     `json:"agreement_n"`
	Ceiling    float64 `json:"ceiling"` // see Ceiling; 1 where the agreement is unknown

	Calibration []Bin   `json:"calibration"` // by confidence, ascending; empty bins are left out
	ECE         float64 `json:"ece"`         // expected calibration error: mean over pairs of |confidence - accuracy| of their bin
}

// Bin is one line of a calibration table: pairs by how sure the model is of its own choice.
type Bin struct {
	Low        float64 `json:"low"`        // confidence from Low ...
	High       float64 `json:"high"`       // ... up to High
	Confidence float64 `json:"confidence"` // mean of sigmoid(|r_a - r_b|)
	Accuracy   float64 `json:"accuracy"`   // share where the labeler chose the same
	N          int     `json:"n"`
}

// calibrationBins split confidences from 0.5 to 1.
const calibrationBins = 10

// Metrics are the report's figures under the names that a run records.
func (r Report) Metrics() map[string]float64 {
	return map[string]float64{
		"heldout_accuracy": r.Accuracy, "heldout_low": r.Low, "heldout_high": r.High, "heldout_loss": r.Loss,
		"heldout_n": float64(r.N), "ceiling": r.Ceiling, "agreement": r.Agreement, "ece": r.ECE,
	}
}

// Ceiling is an upper bound on the accuracy of any judge on labels of which two agree with probability agreement.
//
// Let m be the chance that a pair's label falls on its likelier side. The best judge is right in m of the cases, two
// independent labels agree in m^2 + (1-m)^2 = 1/2 + 2(m-1/2)^2 of them, so m = 1/2 + sqrt((agreement-1/2)/2); over pairs
// of differing m the right-hand side bounds the mean of m, the root being concave. Agreement of one half or less says
// that labels are noise.
func Ceiling(agreement float64) float64 {
	return 0.5 + math.Sqrt(max(0, min(agreement, 1)-0.5)/2)
}

// Evaluate compares a scorer with the rankings of groups it has not been trained on. The report of no groups is zero.
func Evaluate(ctx context.Context, s *Scorer, groups []Group) (Report, error) {
	rewards, err := s.Score(ctx, flatten(groups))
	if err != nil {
		return Report{}, err
	}
	return compare(rewards, groups), nil
}

// compare is Evaluate on rewards in the order of flatten(groups).
func compare(rewards []float64, groups []Group) Report {
	var (
		rep         Report
		all         = newTally(groups)
		bins        [calibrationBins]Bin
		alike, both int
	)
	for i, g := range groups {
		r := rewards[:len(g.Sequences)]
		rewards = rewards[len(g.Sequences):]
		for a := range r {
			for b := a + 1; b < len(r); b++ {
				first, second := 0, 0 // labelers who put a first, b first
				for _, ranks := range g.Rankings {
					switch {
					case ranks[a] < ranks[b]:
						first++
					case ranks[b] < ranks[a]:
						second++
					}
				}
				n := first + second
				if n == 0 {
					continue
				}
				both += n * (n - 1) / 2
				alike += first*(first-1)/2 + second*(second-1)/2
				d := r[a] - r[b]
				agree := float64(first) // decisions that fall where the reward does
				switch {
				case d == 0:
					agree = float64(n) / 2
				case d < 0:
					agree = float64(second)
				}
				all.add(i, agree, float64(n))
				rep.Loss += float64(first)*softplus(-d) + float64(second)*softplus(d)
				p := sigmoid(math.Abs(d))
				bin := &bins[min(int((p-0.5)*2*calibrationBins), calibrationBins-1)]
				bin.N += n
				bin.Confidence += p * float64(n)
				bin.Accuracy += agree
			}
		}
	}
	share := all.slice("")
	if share.N == 0 {
		return rep
	}
	total := float64(share.N)
	rep.N, rep.Prompts, rep.Accuracy, rep.Low, rep.High = share.N, share.Prompts, share.Accuracy, share.Low, share.High
	rep.Loss /= total
	rep.Ceiling = 1
	if both > 0 {
		rep.Agreement, rep.AgreementN = float64(alike)/float64(both), both
		rep.Ceiling = Ceiling(rep.Agreement)
	}
	for i := range bins {
		b := &bins[i]
		if b.N == 0 {
			continue
		}
		b.Low, b.High = 0.5+0.05*float64(i), 0.55+0.05*float64(i)
		b.Confidence /= float64(b.N)
		b.Accuracy /= float64(b.N)
		rep.ECE += math.Abs(b.Confidence-b.Accuracy) * float64(b.N) / total
		rep.Calibration = append(rep.Calibration, *b)
	}
	return rep
}
