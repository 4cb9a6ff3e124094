package reward

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/rankloop/rankloop/model"
)

// judge measures the model that is finished, keeps it if it is among the best, and begins the next. After the last one it
// measures the ensemble.
func (t *Trainer) judge(ctx context.Context) (map[string]float64, error) {
	t.m.SetMixed(false) // rewards are given in float32
	norm, std, err := normalise(ctx, NewScorer(t.m, 0, 1), t.reference, t.cfg.Scale)
	if err != nil {
		return nil, err
	}
	report, err := Evaluate(ctx, NewScorer(t.m, norm.Mean, 1), t.valid)
	if err != nil {
		return nil, err
	}
	metrics := report.Metrics()
	metrics["reward_mean"], metrics["reward_std"], metrics["model"] = norm.Mean, std, float64(t.member)
	list := t.keep(judged{Member: t.member, Report: report, Norm: norm})
	if t.member+1 < t.cfg.models() {
		t.kept = list
		t.begin(t.member + 1)
		return metrics, nil
	}
	if t.cfg.members() > 1 {
		e, err := t.assemble(ctx, list)
		if err != nil {
			return nil, err
		}
		for name, v := range e.Report.Metrics() {
			metrics["ensemble_"+strings.TrimPrefix(name, "heldout_")] = v
		}
		t.whole = &e
	}
	t.kept, t.member, t.step = list, t.cfg.models(), 0
	return metrics, nil
}

// keep is the list of the best models with the one that is finished; of equals the earlier is the better.
func (t *Trainer) keep(j judged) []kept {
	list := slices.Clone(t.kept)
	at := len(list)
	for at > 0 && list[at-1].Report.Accuracy < j.Report.Accuracy {
		at--
	}
	if at == t.cfg.members() {
		return list
	}
	list = slices.Insert(list, at, kept{t.m.Clone(), j})
	return list[:min(len(list), t.cfg.members())]
}

// assemble sets the ensemble's zero, for the least of several rewards is not 0 on average where each of them is, and
// measures it.
func (t *Trainer) assemble(ctx context.Context, list []kept) (whole, error) {
	norm, _, err := normalise(ctx, t.combined(list, Norm{Std: 1}), t.reference, t.cfg.Scale)
	if err != nil {
		return whole{}, err
	}
	nats := 0.0 // the unit that members were scaled to
	for _, k := range list {
		nats += k.Norm.Std / float64(len(list))
	}
	report, err := Evaluate(ctx, t.combined(list, Norm{Mean: norm.Mean, Std: 1 / nats}), t.valid)
	return whole{report, norm}, err
}

func (t *Trainer) combined(list []kept, norm Norm) *Scorer {
	var members []member
	for _, k := range list {
		members = append(members, member{k.m, k.Norm})
	}
	return newScorer(members, t.cfg.Combination.named(), norm)
}

// normalise returns the normalisation that a scorer's rewards of the reference answers ask for, and their population
// standard deviation, which is the normalisation's only where scaling was asked for.
func normalise(ctx context.Context, s *Scorer, reference []model.Sequence, scale bool) (n Norm, std float64, err error) {
	r, err := s.Score(ctx, reference)
	if err != nil {
		return n, 0, err
	}
	n.Std = 1
	for _, x := range r {
		n.Mean += x
	}
	n.Mean /= float64(len(r))
	for _, x := range r {
		std += (x - n.Mean) * (x - n.Mean)
	}
	std = math.Sqrt(std / float64(len(r)))
	if !scale {
		return n, std, nil
	}
	if !(std > 1e-6) {
		return n, 0, invalid("reference", "all %d answers score alike, there is no scale to set", len(r))
	}
	n.Std = std
	return n, std, nil
}

// Scorer returns what was trained, with its normalisation: the best model or the ensemble; ErrNotDone before the last
// step. Its Fill makes the checkpoint to store.
func (t *Trainer) Scorer() (*Scorer, error) {
	switch {
	case !t.Done():
		return nil, ErrNotDone
	case t.whole != nil:
		return t.combined(t.kept, t.whole.Norm), nil
	}
	return NewScorer(t.kept[0].m, t.kept[0].Norm.Mean, t.kept[0].Norm.Std), nil
}

// Model returns the best model, an ensemble's first member; ErrNotDone before the last step. Its card is to hold the Norm
// of Scorer.
func (t *Trainer) Model() (*model.Transformer, error) {
	if !t.Done() {
		return nil, ErrNotDone
	}
	return t.kept[0].m, nil
}

// Report returns how the chosen model or the ensemble does on the held-out groups; ErrNotDone before the last step.
func (t *Trainer) Report() (Report, error) {
	switch {
	case !t.Done():
		return Report{}, ErrNotDone
	case t.whole != nil:
		return t.whole.Report, nil
	}
	return t.kept[0].Report, nil
}
