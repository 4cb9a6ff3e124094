package reward

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rankloop/rankloop/model"
)

// Fold is one turn of cross-validation over labelers.
type Fold struct {
	Labelers []string `json:"labelers"` // who was left out of training
	Left     Report   `json:"left"`     // accuracy on held-out prompts as those left out ranked them
	Others   Report   `json:"others"`   // on held-out prompts as those trained on ranked them
}

// CrossValidation says how well a reward model predicts people it has not learned from.
type CrossValidation struct {
	Folds  []Fold `json:"folds"`
	Left   Spread `json:"left"`   // over the folds; InstructGPT: 69.6 +- 0.9%
	Others Spread `json:"others"` // InstructGPT: 72.4 +- 0.4%
}

// Spread is mean and standard error of accuracies over folds, all of the same weight.
type Spread struct {
	Mean  float64 `json:"mean"`
	Error float64 `json:"error"` // standard error of the mean; folds share most of their training data, so it is a rough one
}

// streamFolds deals labelers to folds.
const streamFolds = 0x7265776172640003

// CrossValidate trains once for each group of labelers on what all others ranked and asks how well that predicts those left
// out (Ouyang et al. 2022, section 4.1 and appendix E.2: five groups). Both accuracies are measured on held-out prompts, so
// that neither the prompt nor, on the left, the person is known. valid are groups of other prompts than train; a ranking without a
// labeler is an *InvalidError. show is told of progress, 0 <= fold < folds; nil = nobody.
func CrossValidate(ctx context.Context, cfg Config, m *model.Transformer, train, valid []Group, reference []model.Sequence, folds int,
	show func(fold, step, total int, metrics map[string]float64)) (CrossValidation, error) {
	var out CrossValidation
	parts, err := dealLabelers(cfg.Seed, folds, train, valid)
	if err != nil {
		return out, err
	}
	for i, left := range parts {
		isLeft := func(labeler string) bool { return slices.Contains(left, labeler) }
		isOther := func(labeler string) bool { return !isLeft(labeler) }
		others := rankedBy(valid, isOther)
		t, err := NewTrainer(cfg, m, rankedBy(train, isOther), others, reference)
		if err != nil {
			return out, err
		}
		for !t.Done() {
			metrics, err := t.Step(ctx)
			if err != nil {
				return out, err
			}
			if show != nil {
				step, total := t.Progress()
				show(i, step, total, metrics)
			}
		}
		s, err := t.Scorer()
		if err != nil {
			return out, err
		}
		f := Fold{Labelers: left}
		if f.Others, err = t.Report(); err != nil {
			return out, err
		}
		if f.Left, err = Evaluate(ctx, s, rankedBy(valid, isLeft)); err != nil {
			return out, err
		}
		if f.Left.N == 0 || f.Others.N == 0 {
			return out, invalid("valid", "labelers %v decided no pair of the held-out prompts, or they alone did: hold out more prompts, or make fewer folds", left)
		}
		out.Folds = append(out.Folds, f)
	}
	out.Left = spread(out.Folds, func(f Fold) float64 { return f.Left.Accuracy })
	out.Others = spread(out.Folds, func(f Fold) float64 { return f.Others.Accuracy })
	return out, nil
}

// dealLabelers splits the labelers into groups of about the same number of rankings: the busiest go first, each to the group
// that has the fewest.
func dealLabelers(seed uint64, folds int, lists ...[]Group) ([][]string, error) {
	count := map[string]int{}
	var names []string
	for _, g := range slices.Concat(lists...) {
		for j := range g.Rankings {
			if j >= len(g.Labelers) || g.Labelers[j] == "" {
				return nil, invalid("labelers", "prompt %s has a ranking that names no labeler", g.PromptID)
			}
			if count[g.Labelers[j]]++; count[g.Labelers[j]] == 1 {
				names = append(names, g.Labelers[j])
			}
		}
	}
	if folds < 2 || folds > len(names) {
		return nil, invalid("folds", "%d; with %d labelers 2 to %d are possible", folds, len(names), len(names))
	}
	slices.Sort(names)
	rand.New(rand.NewPCG(seed, streamFolds)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	slices.SortStableFunc(names, func(a, b string) int { return count[b] - count[a] })
	parts, load := make([][]string, folds), make([]int, folds)
	for _, name := range names {
		least := 0
		for i := range load {
			if load[i] < load[least] {
				least = i
			}
		}
		parts[least] = append(parts[least], name)
		load[least] += count[name]
	}
	return parts, nil
}

// rankedBy are the groups with the rankings of those labelers alone; groups without any are left out.
func rankedBy(groups []Group, keep func(labeler string) bool) []Group {
	var out []Group
	for _, g := range groups {
		k := g
		k.Rankings, k.Labelers, k.Strengths, k.Weights = nil, nil, nil, nil
		for j, ranks := range g.Rankings {
			if !keep(g.Labelers[j]) {
				continue
			}
			k.Rankings, k.Labelers = append(k.Rankings, ranks), append(k.Labelers, g.Labelers[j])
			if g.Strengths != nil {
				k.Strengths = append(k.Strengths, g.Strengths[j])
			}
			if g.Weights != nil {
				k.Weights = append(k.Weights, g.Weights[j])
			}
		}
		if len(k.Rankings) > 0 {
			out = append(out, k)
		}
	}
	return out
}

func spread(folds []Fold, of func(Fold) float64) (s Spread) {
	n := float64(len(folds))
	for _, f := range folds {
		s.Mean += of(f) / n
	}
	ss := 0.0
	for _, f := range folds {
		ss += (of(f) - s.Mean) * (of(f) - s.Mean)
	}
	s.Error = math.Sqrt(ss / (n - 1) / n)
	return s
}
