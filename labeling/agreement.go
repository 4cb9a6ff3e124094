package labeling

import (
	"cmp"
	"math"
	"slices"
)

// Agree measures how far labelers agree. tasks[t] holds the rank vectors of the
// labelers of task t, all of the same length.
func Agree(tasks [][][]int) Agreement {
	var s agreementSum
	for _, rankings := range tasks {
		s.add(rankings)
	}
	return s.agreement()
}

// agreementSum gathers what Agreement needs, task by task. Its sums are whole numbers, so that what one adds another takes
// away exactly, in whatever order (see figures). The zero value is ready for use.
type agreementSum struct {
	N, Tasks     int64
	Agreed       shareSum // over labeler pairs and answer pairs
	Credit2, All int64    // Credit2 counts halves
	Tau, Taus    int64    // Tau in units of 1/tauUnit
	// Coincidences of Krippendorff's alpha, by coincidence.key: pairs of values, each to be divided by its unit's raters less one.
	Alpha map[int]int64
}

// tauUnit is the precision to which tau-b is summed.
const tauUnit = 1e6

// coincidence is a pair of values in a unit of m raters.
type coincidence struct{ m, c, k int }

const coincidenceBase = 1 << 10 // values and raters are below: at most 9 answers, and 100 labelers of a task

func (x coincidence) key() int { return (x.m*coincidenceBase+x.c)*coincidenceBase + x.k }

func coincidenceOf(key int) coincidence {
	return coincidence{key / coincidenceBase / coincidenceBase, key / coincidenceBase % coincidenceBase, key % coincidenceBase}
}

// add takes the rank vectors of one task, all of the same length.
func (s *agreementSum) add(rankings [][]int) { s.merge(agreementOf(rankings), 1) }

// agreementOf is what one task gives.
func agreementOf(rankings [][]int) agreementSum {
	s := agreementSum{N: int64(len(rankings))}
	if len(rankings) < 2 {
		return s
	}
	s.Tasks = 1
	var hit, both int64
	for i, x := range rankings {
		for _, y := range rankings[:i] {
			c := Concordance(x, y)
			hit += int64(c.Concordant)
			both += int64(c.Concordant + c.Discordant)
			s.Credit2 += int64(2*(c.Concordant+c.TiesBoth) + c.TiesX + c.TiesY - 2*c.TiesBoth)
			s.All += int64(c.Pairs)
			if t, ok := c.TauB(); ok {
				s.Tau += int64(math.Round(t * tauUnit))
				s.Taus++
			}
		}
	}
	s.Agreed.add(hit, both)
	m := len(rankings)
	s.Alpha = make(map[int]int64, 4*len(rankings[0]))
	highest := 0
	for _, r := range rankings {
		highest = max(highest, slices.Max(r))
	}
	counts := make([]int64, highest+1)
	values := make([]int, 0, highest)
	for j := range rankings[0] {
		values = values[:0]
		for i := range rankings {
			v := rankings[i][j]
			if counts[v]++; counts[v] == 1 {
				values = append(values, v)
			}
		}
		for _, c := range values {
			for _, k := range values {
				pairs := counts[c] * counts[k]
				if c == k {
					pairs = counts[c] * (counts[c] - 1)
				}
				if pairs > 0 {
					s.Alpha[coincidence{m, c, k}.key()] += pairs
				}
			}
		}
		for _, v := range values {
			counts[v] = 0
		}
	}
	return s
}

// merge adds what o has gathered, or with sign -1 takes it away.
func (s *agreementSum) merge(o agreementSum, sign int64) {
	s.N, s.Tasks = s.N+sign*o.N, s.Tasks+sign*o.Tasks
	s.Agreed.merge(o.Agreed, sign)
	s.Credit2, s.All = s.Credit2+sign*o.Credit2, s.All+sign*o.All
	s.Tau, s.Taus = s.Tau+sign*o.Tau, s.Taus+sign*o.Taus
	mergeCounts(&s.Alpha, o.Alpha, sign)
}

func (s *agreementSum) agreement() Agreement {
	a := Agreement{N: int(s.N), Tasks: int(s.Tasks), Pairs: int(s.Agreed.Trials)}
	if a.Pairs == 0 {
		return a
	}
	share := s.Agreed.share()
	a.Pairwise, a.CI[0], a.CI[1] = share.Value, share.Low, share.High
	a.WithTies = float64(s.Credit2) / 2 / float64(s.All)
	var u Units
	for _, key := range sortedKeys(s.Alpha, cmp.Compare[int]) {
		x := coincidenceOf(key)
		u.pair(x.c, x.k, float64(s.Alpha[key])/float64(x.m-1))
	}
	a.Alpha, _ = u.Alpha(Ordinal)
	if s.Taus > 0 {
		a.Tau = float64(s.Tau) / tauUnit / float64(s.Taus)
	}
	return a
}

// shareSum are hits and trials, and the sums over tasks that tell how much the trials of a task depend on each other.
type shareSum struct {
	Tasks, Hits, Trials                         int64
	HitsSquared, HitsTimesTrials, TrialsSquared int64
}

// add takes a task's.
func (s *shareSum) add(hits, trials int64) {
	if trials > 0 {
		s.merge(shareSum{1, hits, trials, hits * hits, hits * trials, trials * trials}, 1)
	}
}

func (s *shareSum) merge(o shareSum, sign int64) {
	s.Tasks, s.Hits, s.Trials = s.Tasks+sign*o.Tasks, s.Hits+sign*o.Hits, s.Trials+sign*o.Trials
	s.HitsSquared += sign * o.HitsSquared
	s.HitsTimesTrials += sign * o.HitsTimesTrials
	s.TrialsSquared += sign * o.TrialsSquared
}

// share is ClusterProportion's, from the sums.
func (s shareSum) share() Share {
	if s.Trials == 0 {
		return Share{}
	}
	p := float64(s.Hits) / float64(s.Trials)
	ss := float64(s.HitsSquared) - 2*p*float64(s.HitsTimesTrials) + p*p*float64(s.TrialsSquared)
	out := Share{Value: p, N: int(s.Trials)}
	out.Low, out.High = clusterInterval(p, float64(s.Trials), float64(s.Tasks), max(0, ss))
	return out
}

// z95 is the 97.5% point of the standard normal distribution.
const z95 = 1.959963984540054

// Wilson is the 95% score interval of a proportion p seen in n independent trials
// (Wilson 1927). It stays within [0, 1] and has a width also at p = 0 and 1.
func Wilson(p, n float64) (low, high float64) {
	if n <= 0 {
		return 0, 1
	}
	z2 := z95 * z95 / n
	mid := (p + z2/2) / (1 + z2)
	half := z95 / (1 + z2) * math.Sqrt(p*(1-p)/n+z2/(4*n))
	return math.Max(0, mid-half), math.Min(1, mid+half)
}

// ClusterProportion is the proportion sum(hits)/sum(trials) over clusters whose trials
// are not independent of each other, with a 95% interval: Wilson's, at the number of
// independent trials that would have the variance of the ratio estimator (linearised,
// between clusters; Kish 1965, the design effect). That number is at most the trials
// and, where clusters do not differ at all, the number of clusters.
func ClusterProportion(hits, trials []float64) (p, low, high float64) {
	var h, n, m float64
	for i := range hits {
		h += hits[i]
		n += trials[i]
		if trials[i] > 0 {
			m++
		}
	}
	if n == 0 {
		return 0, 0, 1
	}
	p = h / n
	var ss float64
	for i := range hits {
		e := hits[i] - p*trials[i]
		ss += e * e
	}
	low, high = clusterInterval(p, n, m, ss)
	return p, low, high
}

// clusterInterval is the interval of ClusterProportion: ss is the sum over the m clusters of (hits - p trials) squared.
func clusterInterval(p, n, m, ss float64) (low, high float64) {
	if m < 2 {
		return 0, 1
	}
	variance := m / (m - 1) * ss / (n * n)
	effective := m
	if variance > 1e-15 { // what rounding leaves of none
		effective = math.Min(n, p*(1-p)/variance)
	}
	return Wilson(p, effective)
}
