package ppo

import "math"

// scoring turns what the scorer says into final scores: scaled, clipped, and by the end-token rule. Its moments are part of the
// state.
type scoring struct {
	score ScoreConfig
	eos   EOSConfig
	moments
}

// moments are count, mean and sum of squared deviations of all scores so far (Welford's method by batches: Chan et al. 1979).
type moments struct {
	N    float64 `json:"n"`
	Mean float64 `json:"mean"`
	M2   float64 `json:"m2"`
}

func (m moments) add(scores []float64) moments {
	b, _ := Moments([][]float64{scores})
	n, m2 := float64(len(scores)), 0.0
	for _, x := range scores {
		m2 += (x - b) * (x - b)
	}
	if n == 0 {
		return m
	}
	d, all := b-m.Mean, m.N+n
	return moments{all, m.Mean + d*n/all, m.M2 + m2 + d*d*m.N*n/all}
}

// scale is what scores are divided by; 1 where they do not vary.
func (m moments) scale() float64 {
	if m.N == 0 || m.M2 == 0 {
		return 1
	}
	return math.Sqrt(m.M2 / m.N)
}

// final returns the final scores of an iteration's episodes, and the divisor.
func (s *scoring) final(episodes []episode) (scores []float64, scale float64) {
	scores = make([]float64, len(episodes))
	for i, e := range episodes {
		scores[i] = e.score
	}
	scale = 1
	switch s.score.Scale {
	case ScaleRunning:
		s.moments = s.add(scores)
		scale = s.scale()
	case ScaleReference:
		if s.N == 0 {
			s.moments = s.add(scores)
		}
		scale = s.scale()
	}
	for i, e := range episodes {
		x := scores[i] / scale
		if c := s.score.Clip; c > 0 {
			x = min(max(x, -c), c)
		}
		scores[i] = s.eos.finalScore(x, e.ended)
	}
	return scores, scale
}

// finalScore is an episode's score after the end-token rule.
func (c EOSConfig) finalScore(score float64, ended bool) float64 {
	switch {
	case ended || c.Missing == EOSKeep:
		return score
	case c.Missing == EOSSet:
		return c.Value
	}
	return score - c.Value
}
