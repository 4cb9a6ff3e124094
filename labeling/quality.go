package labeling

import (
	"cmp"
	"math"
	"slices"
)

// Share is a proportion with its 95% interval; trials of one task are not independent of each other, which the interval knows.
type Share struct {
	Value, Low, High float64
	N                int // trials
}

// Quality is what the rankings of one labeler say of the labeler, against the others who ranked the same tasks. A figure
// without data is 0 with N = 0.
type Quality struct {
	Labeler  string
	Labels   int     // rankings looked at
	Pairwise Share   // pairs ordered as another labeler orders them, of those that both order
	Tau      float64 // Kendall's tau-b with each of the others, mean
	Alpha    float64 // Krippendorff's alpha, ordinal, of the labeler and the others' mean rank
	Gold     Share   // strict pairs of the known ranks ordered alike
	Self     Share   // pairs of control tasks ordered as before
	Drift    float64 // z of the newer half's agreement with others and gold against the older half's; below -2 is worse
	First    Place   // pull of the place shown
	Longer   Share   // pairs of unlike length in which the longer answer is preferred
	Others   float64 // the same share among all the others
	Speed    float64 // median milliseconds a unit of length over the crowd's median; 0 unknown
}

// Place is a labeler's pull towards the answers shown first.
type Place struct {
	Slope float64 // mean rank at the last place less that at the first, as fitted by a line; 0 where places do not matter
	P     float64 // of Page's test that no trend is there, two-sided; 1 without data
	Ranks []float64
}

// Timed is a Label with what the quality of a labeler needs besides.
type Timed struct {
	Label
	Active int64 // milliseconds at work; 0 unknown
	Former []int // of a control task: the ranks that the labeler gave before; nil of all others
}

// Measured is a task with its timed labels.
type Measured struct {
	Lengths []int
	Gold    []int
	Labels  []Timed
}

// Judged is the part that the quarantine rule looks at. Control tasks have one reader only and say nothing to it.
func (m Measured) Judged() Judged {
	j := Judged{Lengths: m.Lengths, Gold: m.Gold}
	for _, l := range m.Labels {
		j.Labels = append(j.Labels, l.Label)
	}
	return j
}

// trial is a labeler's agreement on one task.
type trial struct {
	at        int64
	hits, all float64
}

// portrait gathers one labeler's figures.
type portrait struct {
	labels            int
	pairs, gold, self []trial
	tau               float64
	taus              int
	alpha             Units
	shown             [MaxAnswers + 1][][]int // by K: ranks in the order shown
	longer, unlike    []float64
	speeds            []float64
}

// Measure describes every labeler, in the order of their names.
func Measure(tasks []Measured) []Quality {
	all := map[string]*portrait{}
	for _, task := range tasks {
		for i, l := range task.Labels {
			p := all[l.Labeler]
			if p == nil {
				p = &portrait{}
				all[l.Labeler] = p
			}
			p.see(task, i)
		}
	}
	var speeds []float64
	var longer, unlike float64
	for _, p := range all {
		if len(p.speeds) > 0 {
			speeds = append(speeds, median(p.speeds))
		}
		longer, unlike = longer+total(p.longer), unlike+total(p.unlike)
	}
	out := make([]Quality, 0, len(all))
	for name, p := range all {
		q := p.quality(name)
		if rest := unlike - total(p.unlike); rest > 0 {
			q.Others = (longer - total(p.longer)) / rest
		}
		if len(p.speeds) > 0 {
			q.Speed = median(p.speeds) / median(speeds)
		}
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b Quality) int { return cmp.Compare(a.Labeler, b.Labeler) })
	return out
}

// see takes in label i of a task.
func (p *portrait) see(task Measured, i int) {
	l := task.Labels[i]
	p.labels++
	if l.Former != nil {
		p.self = append(p.self, agreed(l.At, l.Former, l.Ranks))
		return
	}
	if task.Gold != nil {
		p.gold = append(p.gold, againstGold(l.At, task.Gold, l.Ranks))
	}
	others := trial{at: l.At}
	mean := make([]int, len(l.Ranks)) // sum of the others' ranks
	for j, o := range task.Labels {
		if j == i {
			continue
		}
		t := agreed(l.At, o.Ranks, l.Ranks)
		others.hits, others.all = others.hits+t.hits, others.all+t.all
		if tau, ok := Concordance(o.Ranks, l.Ranks).TauB(); ok {
			p.tau += tau
			p.taus++
		}
		for n, r := range o.Ranks {
			mean[n] += r
		}
	}
	if len(task.Labels) > 1 {
		p.pairs = append(p.pairs, others)
		consensus, _ := Canonical(mean)
		for n := range mean {
			p.alpha.Add([]int{l.Ranks[n], consensus[n]})
		}
	}
	shown := make([]int, len(l.Order))
	length := 0
	for d, pos := range l.Order {
		shown[d] = l.Ranks[pos]
		length += task.Lengths[pos]
	}
	p.shown[len(shown)] = append(p.shown[len(shown)], shown)
	hits, n := 0.0, 0.0
	for _, pair := range Pairs(l.Ranks) {
		if w, o := task.Lengths[pair[0]], task.Lengths[pair[1]]; w != o {
			n++
			if w > o {
				hits++
			}
		}
	}
	p.longer, p.unlike = append(p.longer, hits), append(p.unlike, n)
	if l.Active > 0 && length > 0 {
		p.speeds = append(p.speeds, float64(l.Active)/float64(length))
	}
}

func agreed(at int64, x, y []int) trial {
	c := Concordance(x, y)
	return trial{at, float64(c.Concordant), float64(c.Concordant + c.Discordant)}
}

// againstGold is the share of the known strict pairs that are ordered alike: a tie is none of them.
func againstGold(at int64, gold, ranks []int) trial {
	hits, all := GoldScore(gold, ranks)
	return trial{at, float64(hits), float64(all)}
}

// GoldScore counts the strict pairs of the known ranks, and those that the ranks order alike.
func GoldScore(gold, ranks []int) (hits, all int) {
	for _, p := range Pairs(gold) {
		all++
		if ranks[p[0]] < ranks[p[1]] {
			hits++
		}
	}
	return hits, all
}

func (p *portrait) quality(name string) Quality {
	q := Quality{Labeler: name, Labels: p.labels, Pairwise: share(p.pairs), Gold: share(p.gold), Self: share(p.self), Longer: proportion(p.longer, p.unlike)}
	if p.taus > 0 {
		q.Tau = p.tau / float64(p.taus)
	}
	q.Alpha, _ = p.alpha.Alpha(Ordinal)
	q.Drift = drift(slices.Concat(p.pairs, p.gold))
	q.First = placePull(p.shown)
	return q
}

func share(list []trial) Share {
	hits, all := make([]float64, len(list)), make([]float64, len(list))
	for i, t := range list {
		hits[i], all[i] = t.hits, t.all
	}
	return proportion(hits, all)
}

func proportion(hits, all []float64) Share {
	n := total(all)
	if n == 0 {
		return Share{}
	}
	var s Share
	s.Value, s.Low, s.High = ClusterProportion(hits, all)
	s.N = int(n)
	return s
}

// drift compares the newer half of the trials with the older half: the difference of the two ratios over its standard error
// between tasks. 0 with fewer than ten tasks.
func drift(list []trial) float64 {
	slices.SortStableFunc(list, func(a, b trial) int { return cmp.Compare(a.at, b.at) })
	half := len(list) / 2
	if half < 5 {
		return 0
	}
	older, v1 := ratio(list[:half])
	newer, v2 := ratio(list[half:])
	if v1+v2 == 0 {
		return 0
	}
	return (newer - older) / math.Sqrt(v1+v2)
}

// ratio is sum(hits)/sum(all) with its variance between clusters, linearised.
func ratio(list []trial) (p, variance float64) {
	var h, n float64
	for _, t := range list {
		h, n = h+t.hits, n+t.all
	}
	if n == 0 {
		return 0, 0
	}
	p = h / n
	for _, t := range list {
		e := t.hits - p*t.all
		variance += e * e
	}
	m := float64(len(list))
	return p, variance / (n * n) * m / (m - 1)
}

// placePull is Page's test for a trend of ranks over places (1963, "Ordered hypotheses for multiple treatments"), with
// midranks and the normal approximation; tasks of different K are added by their standardised sums.
func placePull(shown [MaxAnswers + 1][][]int) Place {
	out := Place{P: 1}
	var sum, variance, slope, weight float64
	most := 0
	for k, list := range shown {
		if k < 2 || len(list) == 0 {
			continue
		}
		means := make([]float64, k)
		mid := float64(k+1) / 2
		for _, ranks := range list {
			l, ss := 0.0, 0.0
			for d, r := range Midranks(ranks) {
				means[d] += r / float64(len(list))
				l += (float64(d+1) - mid) * (r - mid)
				ss += (r - mid) * (r - mid)
			}
			sum += l
			variance += float64(k*(k*k-1)) / 12 * ss / float64(k-1)
			slope += l / (float64(k*(k*k-1)) / 12) * float64(k-1)
			weight++
		}
		if len(list) > most {
			most, out.Ranks = len(list), means
		}
	}
	if variance == 0 {
		return out
	}
	out.Slope = slope / weight
	out.P = math.Erfc(math.Abs(sum) / math.Sqrt(2*variance))
	return out
}

func total(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}
