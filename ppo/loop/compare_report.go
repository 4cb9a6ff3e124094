package loop

import (
	"cmp"
	"math"
	"slices"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/eval"
)

// CompareReport is the result of a comparison, of B over A. Win rates count ties as one half; each prompt weighs the same, however
// many judged it. Intervals are of 95% over prompts, by bootstrap.
type CompareReport struct {
	Prompts    int `json:"prompts"`    // answered by both
	Unfit      int `json:"unfit"`      // too long for one of them, and left out
	Judged     int `json:"judged"`     // prompts with a judgement
	Judgements int `json:"judgements"` // that count
	Judges     int `json:"judges"`     // people
	WinsA      int `json:"wins_a"`     // judgements
	WinsB      int `json:"wins_b"`
	Ties       int `json:"ties"`

	Win              Estimate       `json:"win"`               // as people judged
	LengthControlled Estimate       `json:"length_controlled"` // eval.LengthControlled of the same
	Slices           []CompareSlice `json:"slices"`            // Win by category; empty where there is one alone
	Agreement        Estimate       `json:"agreement"`         // share of pairs of judges who prefer the same, both having a preference
	WithTies         float64        `json:"agreement_with_ties"`
	Alpha            float64        `json:"alpha"` // Krippendorff's, ordinal
	Shared           int            `json:"shared"`

	Reward       *Estimate `json:"reward,omitempty"`        // win rate as the reward model judges all prompts; nil: none judged
	RewardJudged *Estimate `json:"reward_judged,omitempty"` // the same on the prompts that people judged
	RewardAgrees *Estimate `json:"reward_agrees,omitempty"` // share of prompts with a preference of people that the reward model shares
	KL           *Estimate `json:"kl,omitempty"`            // of B from A on B's answers, nats per answer; nil where their tokens differ
	LengthA      Estimate  `json:"length_a"`                // characters
	LengthB      Estimate  `json:"length_b"`
	TokensA      Estimate  `json:"tokens_a"`
	TokensB      Estimate  `json:"tokens_b"`
}

// CompareSlice is the win rate within a category.
type CompareSlice struct {
	Name   string   `json:"name"`
	Judged int      `json:"judged"`
	Win    Estimate `json:"win"`
}

// ComparePair is one prompt of a comparison with both answers.
type ComparePair struct {
	Position int                `json:"position"`
	Category string             `json:"category,omitempty"`
	State    string             `json:"state"`              // asked, answered, unfit
	Messages []labeling.Message `json:"messages,omitempty"` // nil: withdrawn or erased since
	A        string             `json:"a"`
	B        string             `json:"b"`
	TokensA  int                `json:"tokens_a"`
	TokensB  int                `json:"tokens_b"`
	LengthA  int                `json:"length_a"`
	LengthB  int                `json:"length_b"`
	RewardA  *float64           `json:"reward_a,omitempty"`
	RewardB  *float64           `json:"reward_b,omitempty"`
	KL       *float64           `json:"kl,omitempty"`
	First    string             `json:"first"` // a or b: which answer is the task's first; each judge's page shuffles anew
	Votes    []CompareVote      `json:"votes"`

	TaskID string  `json:"-"`
	ranks  [][]int // of the votes, as in the task
}

// CompareVote is one person's judgement of a pair.
type CompareVote struct {
	Labeler  string  `json:"labeler"`
	B        float64 `json:"b"`                  // 1: B won, 1/2: a tie, 0: A won
	Strength int     `json:"strength,omitempty"` // 1..4; 0 for a tie
}

// vote adds a judgement, given as ranks of the task's two answers.
func (p *ComparePair) vote(k labeling.LabelerRanking) {
	a, b := k.Ranks[0], k.Ranks[1]
	if p.First == "b" {
		a, b = b, a
	}
	v := CompareVote{Labeler: k.LabelerID, B: won(float64(a), float64(b)), Strength: k.Strength} // the better one has the smaller rank
	p.Votes, p.ranks = append(p.Votes, v), append(p.ranks, k.Ranks)
}

// won is 1 where x is above y, one half where they are equal, and 0 else.
func won(x, y float64) float64 {
	switch {
	case x > y:
		return 1
	case x < y:
		return 0
	}
	return .5
}

// Mean is the share of judgements that B won. ok is false where there is none.
func (p ComparePair) Mean() (mean float64, ok bool) {
	for _, v := range p.Votes {
		mean += v.B / float64(len(p.Votes))
	}
	return mean, len(p.Votes) > 0
}

// reward is won as the reward model judges.
func (p ComparePair) reward() (float64, bool) {
	if p.RewardA == nil || p.RewardB == nil {
		return 0, false
	}
	return won(*p.RewardB, *p.RewardA), true
}

// compareReport turns pairs into figures. It is a function of the pairs and the seed alone.
func compareReport(pairs []ComparePair, seed uint64) CompareReport {
	r := CompareReport{Slices: []CompareSlice{}}
	var wins, longer, rewards, rewardsJudged, agrees, kl []float64
	var lengths [4][]float64
	var tasks [][][]int
	people := map[string]bool{}
	slicesOf := map[string][]float64{}
	for _, p := range pairs {
		switch p.State {
		case pairUnfit:
			r.Unfit++
			continue
		case pairAsked:
			continue
		}
		r.Prompts++
		for i, n := range []int{p.LengthA, p.LengthB, p.TokensA, p.TokensB} {
			lengths[i] = append(lengths[i], float64(n))
		}
		if p.KL != nil {
			kl = append(kl, *p.KL)
		}
		proxy, scored := p.reward()
		if scored {
			rewards = append(rewards, proxy)
		}
		mean, judged := p.Mean()
		if !judged {
			continue
		}
		r.Judged++
		r.count(p, people)
		tasks = append(tasks, p.ranks)
		wins, longer = append(wins, mean), append(longer, float64(p.LengthB-p.LengthA))
		slicesOf[p.Category] = append(slicesOf[p.Category], mean)
		if scored {
			rewardsJudged = append(rewardsJudged, proxy)
			if mean != .5 {
				agrees = append(agrees, agreement(mean, proxy))
			}
		}
	}
	r.Judges = len(people)
	r.Win = meanOf(wins, seed)
	if len(wins) > 0 {
		r.LengthControlled = known(eval.LengthControlledRate(wins, longer, seed))
	}
	a := labeling.Agree(tasks)
	r.Agreement, r.WithTies, r.Alpha, r.Shared = Estimate{Value: a.Pairwise, Low: a.CI[0], High: a.CI[1], N: a.Pairs}, a.WithTies, a.Alpha, a.Tasks
	r.Reward, r.RewardJudged, r.RewardAgrees, r.KL = orNone(rewards, seed), orNone(rewardsJudged, seed), orNone(agrees, seed), orNone(kl, seed)
	for i, at := range []*Estimate{&r.LengthA, &r.LengthB, &r.TokensA, &r.TokensB} {
		*at = meanOf(lengths[i], seed)
	}
	if len(slicesOf) > 1 {
		for name, x := range slicesOf {
			r.Slices = append(r.Slices, CompareSlice{name, len(x), meanOf(x, seed)})
		}
		slices.SortFunc(r.Slices, func(a, b CompareSlice) int {
			return cmp.Or(cmp.Compare(b.Judged, a.Judged), cmp.Compare(a.Name, b.Name))
		})
	}
	return r
}

// count adds a pair's judgements.
func (r *CompareReport) count(p ComparePair, people map[string]bool) {
	for _, v := range p.Votes {
		people[v.Labeler] = true
		r.Judgements++
		switch v.B {
		case 1:
			r.WinsB++
		case 0:
			r.WinsA++
		default:
			r.Ties++
		}
	}
}

// agreement is 1 where a judge and a proxy prefer the same, one half where the proxy has no preference.
func agreement(mean, proxy float64) float64 {
	switch {
	case proxy == .5:
		return .5
	case (mean > .5) == (proxy > .5):
		return 1
	}
	return 0
}

// meanOf is the mean with its bootstrap interval; zero of nothing.
func meanOf(x []float64, seed uint64) Estimate {
	return known(eval.Bootstrap(len(x), seed, func(index []int) float64 {
		sum := 0.0
		for _, i := range index {
			sum += x[i]
		}
		return sum / float64(len(index))
	}))
}

func orNone(x []float64, seed uint64) *Estimate {
	if len(x) == 0 {
		return nil
	}
	e := meanOf(x, seed)
	return &e
}

// known is zero for what cannot be known, which JSON has no number for.
func known(e eval.Estimate) Estimate {
	if math.IsNaN(e.Mean) {
		return Estimate{}
	}
	return estimate(e)
}
