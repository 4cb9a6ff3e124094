package reward

import (
	"context"
	"fmt"
	"math"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
)

// Norm is a normalisation of rewards: (r - Mean) / Std.
type Norm = checkpoint.Norm

// Scorer gives normalised rewards: (r - Mean) / Std, so that reference answers score 0 on average. It is what PPO
// maximises, and it satisfies ppo.Scorer. An ensemble normalises each member's reward, combines them, and normalises what
// comes out. It may be used by several goroutines.
type Scorer struct {
	members []member
	how     Combination
	norm    Norm // of the combined reward; {0, 1} for one model
	digest  string
}

type member struct {
	m    *model.Transformer
	norm Norm
}

// NewScorer wraps a model with a score head and the normalisation that its card holds. std 0 counts as 1.
func NewScorer(m *model.Transformer, mean, std float64) *Scorer {
	if std == 0 {
		std = 1
	}
	return newScorer([]member{{m, Norm{Mean: mean, Std: std}}}, Combination{}, Norm{Std: 1})
}

func newScorer(members []member, how Combination, norm Norm) *Scorer {
	s := &Scorer{members: members, how: how, norm: norm}
	for _, x := range members {
		s.digest += fmt.Sprintf("%s/%x/%x", x.m.Digest(), math.Float64bits(x.norm.Mean), math.Float64bits(x.norm.Std))
	}
	if len(members) > 1 {
		s.digest += fmt.Sprintf("/%s/%x/%x/%x", how.Combine, math.Float64bits(how.Lambda), math.Float64bits(norm.Mean), math.Float64bits(norm.Std))
	}
	return s
}

// Open makes the scorer of a reward model's folder, an ensemble's too. A model without a score head and a combination that
// is not known are an *InvalidError.
func Open(cp *checkpoint.Checkpoint) (*Scorer, error) {
	return open(cp, func(m *model.Transformer) *model.Transformer { return m })
}

// OpenPacked is Open with every model's matrices packed for scoring in form w.
func OpenPacked(cp *checkpoint.Checkpoint, w model.Weights) (*Scorer, error) {
	return open(cp, func(m *model.Transformer) *model.Transformer { return m.PackedCopy(w) })
}

func open(cp *checkpoint.Checkpoint, pack func(*model.Transformer) *model.Transformer) (*Scorer, error) {
	if cp.Model.ScalarHead() != model.HeadScore {
		return nil, invalid("model", "is no reward model: it has no score.weight")
	}
	first := NewScorer(pack(cp.Model), cp.Card.RewardMean, cp.Card.RewardStd)
	e := cp.Card.Ensemble
	if e == nil {
		return first, nil
	}
	how := Combination{Combine: e.Combine, Lambda: e.Lambda}
	if err := how.validate(); err != nil {
		return nil, err
	}
	members := first.members
	for i, m := range cp.Members {
		if m.ScalarHead() != model.HeadScore {
			return nil, invalid("model", "member %d is no reward model: it has no score.weight", i+2)
		}
		members = append(members, member{pack(m), e.Members[i]})
	}
	return newScorer(members, how, Norm{Mean: e.Mean, Std: e.Std}), nil
}

// Fill puts the scorer's models and all of its normalisation into a checkpoint, from which Open makes it again.
func (s *Scorer) Fill(cp *checkpoint.Checkpoint) {
	first := s.members[0]
	cp.Model, cp.Members = first.m, nil
	cp.Card.RewardMean, cp.Card.RewardStd, cp.Card.Ensemble = first.norm.Mean, first.norm.Std, nil
	if len(s.members) == 1 {
		return
	}
	e := &checkpoint.Ensemble{Combine: s.how.Combine, Lambda: s.how.Lambda, Mean: s.norm.Mean, Std: s.norm.Std}
	for _, x := range s.members[1:] {
		cp.Members = append(cp.Members, x.m)
		e.Members = append(e.Members, x.norm)
	}
	cp.Card.Ensemble = e
}

// Norm returns the normalisation of the first member, which is the only one where there is no ensemble.
func (s *Scorer) Norm() (mean, std float64) { return s.members[0].norm.Mean, s.members[0].norm.Std }

// Model returns the first member, the best on the held-out rankings. A critic starts from it. It must not be changed.
func (s *Scorer) Model() *model.Transformer { return s.members[0].m }

// Members is the number of models.
func (s *Scorer) Members() int { return len(s.members) }

// Digest names weights, normalisation and combination: scorers with the same digest give the same rewards.
func (s *Scorer) Digest() string { return s.digest }

// scoreTokens bounds the tokens of one forward pass of Score.
const scoreTokens = 8192

// Score returns the normalised reward of each sequence (prompt and answer). A reward that is not finite is an error.
func (s *Scorer) Score(ctx context.Context, seqs []model.Sequence) ([]float64, error) {
	each, err := s.Each(ctx, seqs)
	if err != nil {
		return nil, err
	}
	return s.combined(each)
}

// combined makes one reward per sequence of the members' normalised ones, [member][sequence].
func (s *Scorer) combined(each [][]float64) ([]float64, error) {
	if len(each) == 1 {
		return each[0], nil
	}
	out := s.how.combine(each)
	for i, x := range out {
		if out[i] = (x - s.norm.Mean) / s.norm.Std; math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			return nil, fmt.Errorf("%w: reward of sequence %d", ErrNotFinite, i)
		}
	}
	return out, nil
}

// Each returns every member's normalised rewards, [member][sequence].
func (s *Scorer) Each(ctx context.Context, seqs []model.Sequence) ([][]float64, error) {
	out := make([][]float64, len(s.members))
	for j, x := range s.members {
		out[j] = make([]float64, 0, len(seqs))
		for _, chunk := range chunks(seqs, scoreTokens) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			for _, r := range x.m.Score(chunk, model.WantScore).Score {
				v := (float64(r) - x.norm.Mean) / x.norm.Std
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("%w: reward of sequence %d", ErrNotFinite, len(out[j]))
				}
				out[j] = append(out[j], v)
			}
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
