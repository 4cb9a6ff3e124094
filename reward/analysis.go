package reward

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/rankloop/rankloop/labeling"
)

// Slice is the accuracy on a part of the pairs.
type Slice struct {
	Name     string  `json:"name"`
	Accuracy float64 `json:"accuracy"` // as Report's
	Low      float64 `json:"low"`      // 95%, clustered by prompt
	High     float64 `json:"high"`
	N        int     `json:"n"`       // pairs, each as often as labelers decided it
	Prompts  int     `json:"prompts"` // prompts with at least one of them
}

// tally counts hits by prompt.
type tally struct {
	cluster      []int // of a group: groups of one prompt are one cluster
	right, count []float64
}

func newTally(groups []Group) *tally {
	t := &tally{}
	known := map[string]int{}
	for _, g := range groups {
		at, ok := known[g.PromptID]
		if !ok || g.PromptID == "" {
			at = len(t.right)
			known[g.PromptID] = at
			t.right, t.count = append(t.right, 0), append(t.count, 0)
		}
		t.cluster = append(t.cluster, at)
	}
	return t
}

// fresh is an empty tally of the same groups.
func (t *tally) fresh() *tally {
	return &tally{t.cluster, make([]float64, len(t.right)), make([]float64, len(t.count))}
}

func (t *tally) add(group int, right, n float64) {
	t.right[t.cluster[group]] += right
	t.count[t.cluster[group]] += n
}

func (t *tally) slice(name string) Slice {
	s := Slice{Name: name}
	total := 0.0
	for _, n := range t.count {
		if total += n; n > 0 {
			s.Prompts++
		}
	}
	if s.N = int(total); s.N > 0 {
		s.Accuracy, s.Low, s.High = labeling.ClusterProportion(t.right, t.count)
	}
	return s
}

// Analysis is a report with the accuracy on parts of the pairs, and what may stand behind it other than quality.
type Analysis struct {
	Report
	Splits     []Slice `json:"splits"`     // train, valid, test
	Labelers   []Slice `json:"labelers"`   // by who ranked, the most first; "" is nobody named
	Confidence []Slice `json:"confidence"` // by |r_a - r_b|, nats
	Distance   []Slice `json:"distance"`   // by how many ranks lie between the two; 1 = neighbours
	Strength   []Slice `json:"strength"`   // by how much the labeler preferred one, where it was asked

	Length   Length   `json:"length"`
	Position Position `json:"position"`
}

// Length says how much of the accuracy is length. Lengths are tokens of the answer.
type Length struct {
	LongerWins  Slice   `json:"longer_wins"` // accuracy of always choosing the longer one, on these labels
	Correlation float64 `json:"correlation"` // Pearson's r of reward and length, both as differences from the prompt's mean
	Longer      Slice   `json:"longer"`      // the model's accuracy where the longer one was preferred
	Shorter     Slice   `json:"shorter"`     // and where the shorter one was
	Balanced    float64 `json:"balanced"`    // mean of the two: one half for a judge of length alone
	Alike       Slice   `json:"alike"`       // on pairs whose lengths differ by 10% at most
}

// Position says whether the place in which an answer is listed tells something. A reward model does not see it: that labels
// do is a fault of how they were taken, or of the file.
type Position struct {
	FirstWins  Slice   `json:"first_wins"`  // accuracy of always choosing the one listed first
	ModelFirst float64 `json:"model_first"` // share of the pairs where the model prefers the one listed first; equal = one half
}

// confidenceEdges are the bins of Analysis.Confidence.
var confidenceEdges = []float64{0, 0.1, 0.25, 0.5, 1, 2, math.Inf(1)}

// Analyse is Evaluate with everything that there is to say. Analysis of no groups is zero.
func Analyse(ctx context.Context, s *Scorer, groups []Group) (Analysis, error) {
	rewards, err := s.Score(ctx, flatten(groups))
	if err != nil {
		return Analysis{}, err
	}
	return AnalyseRewards(rewards, groups), nil
}

// AnalyseRewards is Analyse on rewards from anywhere: one for each answer of each group, in order.
func AnalyseRewards(rewards []float64, groups []Group) Analysis {
	var (
		a      = Analysis{Report: compare(rewards, groups)}
		empty  = newTally(groups)
		parts  = map[string]map[string]*tally{}
		length = correlation{}
		first  float64
		offset int
	)
	add := func(kind, name string, group int, right float64) {
		if parts[kind] == nil {
			parts[kind] = map[string]*tally{}
		}
		if parts[kind][name] == nil {
			parts[kind][name] = empty.fresh()
		}
		parts[kind][name].add(group, right, 1)
	}
	for i, g := range groups {
		r := rewards[offset : offset+len(g.Sequences)]
		offset += len(r)
		size := g.lengths()
		length.add(r, size)
		for j, ranks := range g.Rankings {
			labeler := ""
			if j < len(g.Labelers) {
				labeler = g.Labelers[j]
			}
			for w := range r {
				for l := range r {
					if ranks[w] >= ranks[l] {
						continue
					}
					right := won(r[w], r[l])
					add("split", g.Split, i, right)
					add("labeler", labeler, i, right)
					add("confidence", confidenceBin(math.Abs(r[w]-r[l])), i, right)
					add("distance", fmt.Sprint(ranks[l]-ranks[w]), i, right)
					if s := g.strength(j); s > 0 {
						add("strength", fmt.Sprint(s), i, right)
					}
					add("longer wins", "", i, won(size[w], size[l]))
					switch {
					case size[w] > size[l]:
						add("longer", "", i, right)
					case size[w] < size[l]:
						add("shorter", "", i, right)
					}
					if math.Abs(size[w]-size[l]) <= 0.1*max(size[w], size[l]) {
						add("alike", "", i, right)
					}
					add("first wins", "", i, won(float64(l), float64(w)))
					if w < l {
						first += right
					} else {
						first += 1 - right
					}
				}
			}
		}
	}
	if a.N == 0 {
		return a
	}
	list := func(kind string, order func(a, b Slice) int) []Slice {
		out := []Slice{}
		for _, name := range slices.Sorted(maps.Keys(parts[kind])) {
			out = append(out, parts[kind][name].slice(name))
		}
		slices.SortStableFunc(out, order)
		return out
	}
	one := func(kind string) Slice {
		if t := parts[kind][""]; t != nil {
			return t.slice(kind)
		}
		return Slice{Name: kind}
	}
	byNumber := func(a, b Slice) int { return cmp.Compare(number(a.Name), number(b.Name)) }
	a.Splits = list("split", func(Slice, Slice) int { return 0 })
	a.Labelers = list("labeler", func(a, b Slice) int { return cmp.Compare(b.N, a.N) })
	a.Confidence, a.Distance, a.Strength = list("confidence", byNumber), list("distance", byNumber), list("strength", byNumber)
	a.Length = Length{LongerWins: one("longer wins"), Correlation: length.value(), Longer: one("longer"), Shorter: one("shorter"), Alike: one("alike")}
	if a.Length.Longer.N > 0 && a.Length.Shorter.N > 0 {
		a.Length.Balanced = (a.Length.Longer.Accuracy + a.Length.Shorter.Accuracy) / 2
	}
	a.Position = Position{FirstWins: one("first wins"), ModelFirst: first / float64(a.N)}
	return a
}

// won is 1 where a is more than b, one half where they are equal.
func won(a, b float64) float64 {
	switch {
	case a > b:
		return 1
	case a == b:
		return 0.5
	}
	return 0
}

func confidenceBin(margin float64) string {
	at := len(confidenceEdges) - 2
	for at > 0 && margin < confidenceEdges[at] {
		at--
	}
	if low := confidenceEdges[at]; at == len(confidenceEdges)-2 {
		return fmt.Sprintf("%g or more", low)
	}
	return fmt.Sprintf("%g to %g", confidenceEdges[at], confidenceEdges[at+1])
}

// number is what a name begins with.
func number(name string) (x float64) {
	fmt.Sscan(name, &x)
	return x
}

// correlation is Pearson's r within groups.
type correlation struct{ xy, xx, yy float64 }

func (c *correlation) add(x, y []float64) {
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/float64(len(x)), my+y[i]/float64(len(x))
	}
	for i := range x {
		c.xy += (x[i] - mx) * (y[i] - my)
		c.xx += (x[i] - mx) * (x[i] - mx)
		c.yy += (y[i] - my) * (y[i] - my)
	}
}

func (c *correlation) value() float64 {
	if c.xx == 0 || c.yy == 0 {
		return 0
	}
	return c.xy / math.Sqrt(c.xx*c.yy)
}

// Stale says whether a report on answers of the current policy shows that the reward model no longer judges them: that its
// accuracy is below the limit with 97.5% confidence. It is the sign to have that policy's answers ranked (a model that is
// right on its own held-out prompts may be at chance on what its maximisation leads to). A report without pairs shows
// nothing.
func (r Report) Stale(limit float64) bool { return r.N > 0 && r.High < limit }
