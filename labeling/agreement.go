package labeling

import "math"

// Agree measures how far labelers agree. tasks[t] holds the rank vectors of the
// labelers of task t, all of the same length.
func Agree(tasks [][][]int) Agreement {
	var s agreementSum
	for _, rankings := range tasks {
		s.add(rankings)
	}
	return s.agreement()
}

// agreementSum gathers what Agreement needs, task by task. The zero value is ready for use.
type agreementSum struct {
	n, tasks       int
	agreed, strict []float64 // by task, over labeler pairs and answer pairs
	credit, all    float64
	tau            float64
	taus           int
	alpha          Units
}

// add takes the rank vectors of one task, all of the same length.
func (s *agreementSum) add(rankings [][]int) {
	s.n += len(rankings)
	if len(rankings) < 2 {
		return
	}
	s.tasks++
	hit, both := 0.0, 0.0
	for i, x := range rankings {
		for _, y := range rankings[:i] {
			c := Concordance(x, y)
			hit += float64(c.Concordant)
			both += float64(c.Concordant + c.Discordant)
			oneTied := c.TiesX + c.TiesY - 2*c.TiesBoth
			s.credit += float64(c.Concordant+c.TiesBoth) + float64(oneTied)/2
			s.all += float64(c.Pairs)
			if t, ok := c.TauB(); ok {
				s.tau += t
				s.taus++
			}
		}
	}
	s.agreed, s.strict = append(s.agreed, hit), append(s.strict, both)
	values := make([]int, len(rankings))
	for j := range rankings[0] {
		for i := range rankings {
			values[i] = rankings[i][j]
		}
		s.alpha.Add(values)
	}
}

func (s *agreementSum) agreement() Agreement {
	a := Agreement{N: s.n, Tasks: s.tasks}
	for _, both := range s.strict {
		a.Pairs += int(both)
	}
	if a.Pairs == 0 {
		return a
	}
	a.Pairwise, a.CI[0], a.CI[1] = ClusterProportion(s.agreed, s.strict)
	a.WithTies = s.credit / s.all
	a.Alpha, _ = s.alpha.Alpha(Ordinal)
	if s.taus > 0 {
		a.Tau = s.tau / float64(s.taus)
	}
	return a
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
	if m < 2 {
		return p, 0, 1
	}
	var ss float64
	for i := range hits {
		e := hits[i] - p*trials[i]
		ss += e * e
	}
	variance := m / (m - 1) * ss / (n * n)
	effective := m
	if variance > 0 {
		effective = math.Min(n, p*(1-p)/variance)
	}
	low, high = Wilson(p, effective)
	return p, low, high
}
