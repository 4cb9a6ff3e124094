package labeling

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Judged is a task as the quality rule reads it: what its answers look like, what is known of them, and who ranked them how.
type Judged struct {
	Lengths []int // of the answers, in any one unit, in the task's own order
	Gold    []int // the known ranks in the task's own order; nil where the task is no gold task
	Labels  []Label
}

// Label is one labeler's ranking of a Judged task.
type Label struct {
	Labeler string
	Ranks   []int // competition ranks, in the task's own order
	Order   []int // Order[d] = position of the answer shown at d
	At      int64 // when, in any unit that grows; ties are broken by the order of the tasks
}

// reader is one hypothesis of how a labeler ranks: the utility of an answer is
//
//	u = Sense*quality + Length*z + Place*p - Habit*h
//
// with quality the answer's worth to the crowd (in units in which the crowd's own noise is one Gumbel), z its log length
// within the task in standard deviations, p the place it is shown at (1/2 first, -1/2 last), and h the labeler's own mean
// rank of that place in all tasks before (-1 best, 1 worst). Rankings are Plackett-Luce in u.
type reader struct{ Sense, Length, Place, Habit float64 }

// goldSense is how much sharper than a labeler the known ranks of a gold task are.
const goldSense = 4

// spread holds standard normal vectors in pairs of opposite signs: what an integral over an answer's quality is a mean of.
var spread = func() (out [24][MaxAnswers]float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	for m := 0; m < len(out); m += 2 {
		for j := range out[m] {
			x := rng.NormFloat64()
			out[m][j], out[m+1][j] = x, -x
		}
	}
	return out
}()

// plackettLuce is the log likelihood of ranks under utilities u (Plackett 1975). Ties are Breslow's (1974): each of the tied
// is drawn against all that are not ranked above it. weights is scratch.
func plackettLuce(ranks []int, u, weights []float64) float64 {
	top := slices.Max(u)
	for j, v := range u {
		weights[j] = math.Exp(v - top)
	}
	sum, product := 0.0, 1.0
	for j, r := range ranks {
		rest := 0.0
		for i, q := range ranks {
			if q >= r {
				rest += weights[i]
			}
		}
		sum += u[j] - top
		product *= rest
	}
	if product > 1e-280 {
		return sum - math.Log(product)
	}
	sum = 0 // utilities so far apart that the product leaves the range of numbers: each choice in logarithms of its own
	for j, r := range ranks {
		high, rest := math.Inf(-1), 0.0
		for i, q := range ranks {
			if q >= r {
				high = math.Max(high, u[i])
			}
		}
		for i, q := range ranks {
			if q >= r {
				rest += math.Exp(u[i] - high)
			}
		}
		sum += u[j] - high - math.Log(rest)
	}
	return sum
}

// opinion is a ranking of a task together with how far its author's sense can be trusted.
type opinion struct {
	ranks []int
	sense float64
}

// belief is what is known of the quality of a task's answers: normal, around mean, with draws from it.
type belief struct {
	mean  []float64
	draws [len(spread)][]float64
}

// believe is the Laplace approximation of the posterior of the qualities: normal(prior, sigma^2) times the opinions.
func believe(prior []float64, sigma float64, opinions []opinion) belief {
	k := len(prior)
	s := slices.Clone(prior)
	h := make([][]float64, k)
	for i := range h {
		h[i] = make([]float64, k)
	}
	g := make([]float64, k)
	weights := make([]float64, k)
	for range 25 {
		for i := range s {
			clear(h[i])
			h[i][i] = 1 / (sigma * sigma)
			g[i] = (s[i] - prior[i]) / (sigma * sigma)
		}
		for _, o := range opinions {
			curve(o, s, g, h, weights)
		}
		step := cholesky(h, g)
		worst := 0.0
		for i := range s {
			d := max(-2, min(2, step[i]))
			s[i] -= d
			worst = max(worst, math.Abs(d))
		}
		if worst < 1e-6 {
			break
		}
	}
	b := belief{mean: s}
	// h now holds its Cholesky factor L; s + L'^-1 e has covariance H^-1.
	for m := range b.draws {
		x := make([]float64, k)
		for i := k - 1; i >= 0; i-- {
			x[i] = spread[m][i]
			for j := i + 1; j < k; j++ {
				x[i] -= h[j][i] * x[j]
			}
			x[i] /= h[i][i]
		}
		for i := range x {
			x[i] += s[i]
		}
		b.draws[m] = x
	}
	return b
}

// curve adds an opinion's gradient and Hessian of the negative log likelihood at s.
func curve(o opinion, s, g []float64, h [][]float64, weights []float64) {
	if o.sense == 0 {
		return
	}
	top := math.Inf(-1)
	for _, v := range s {
		top = max(top, o.sense*v)
	}
	for j, v := range s {
		weights[j] = math.Exp(o.sense*v - top)
	}
	for j, r := range o.ranks {
		rest := 0.0
		for i, q := range o.ranks {
			if q >= r {
				rest += weights[i]
			}
		}
		g[j] -= o.sense
		if rest < 1e-300 {
			continue
		}
		for a, qa := range o.ranks {
			if qa < r {
				continue
			}
			pa := weights[a] / rest
			g[a] += o.sense * pa
			h[a][a] += o.sense * o.sense * pa
			for b, qb := range o.ranks {
				if qb >= r {
					h[a][b] -= o.sense * o.sense * pa * weights[b] / rest
				}
			}
		}
	}
}

// cholesky factors the positive definite h in place (lower triangle) and returns h^-1 y.
func cholesky(h [][]float64, y []float64) []float64 {
	n := len(y)
	for i := range n {
		for j := 0; j <= i; j++ {
			sum := h[i][j]
			for k := range j {
				sum -= h[i][k] * h[j][k]
			}
			if i == j {
				h[i][i] = math.Sqrt(max(sum, 1e-12))
			} else {
				h[i][j] = sum / h[j][j]
			}
		}
	}
	x := slices.Clone(y)
	for i := range n {
		for k := range i {
			x[i] -= h[i][k] * x[k]
		}
		x[i] /= h[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= h[k][i] * x[k]
		}
		x[i] /= h[i][i]
	}
	return x
}

// likelihood is the log of the mean over the belief's draws of the Plackett-Luce likelihood of ranks to a reader, for whom
// the answers have the offsets that do not depend on quality.
func (b *belief) likelihood(ranks []int, sense float64, offset []float64) float64 {
	var u, weights [MaxAnswers]float64
	k := len(ranks)
	if sense == 0 {
		return plackettLuce(ranks, offset, weights[:k])
	}
	var logs [len(spread)]float64
	for m, s := range b.draws {
		for j := range ranks {
			u[j] = sense*s[j] + offset[j]
		}
		logs[m] = plackettLuce(ranks, u[:k], weights[:k])
	}
	return logSumExp(logs[:]) - math.Log(float64(len(logs)))
}

func logSumExp(x []float64) float64 {
	top := slices.Max(x)
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

// spreadOf is the standard deviation of answers' qualities at which two labelers agree on that share of pairs.
func spreadOf(agreement float64) float64 {
	low, high := 0.05, 6.0
	for range 40 {
		mid := (low + high) / 2
		if agreementAt(mid) < agreement {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// agreementAt is the inverse of spreadOf: the mean of p^2 + (1-p)^2 with p logistic in the difference of two qualities.
func agreementAt(sigma float64) float64 {
	sum, total := 0.0, 0.0
	for i := -40; i <= 40; i++ {
		z := float64(i) / 10
		w := math.Exp(-z * z / 2)
		p := 1 / (1 + math.Exp(-math.Sqrt2*sigma*z))
		sum += w * (p*p + (1-p)*(1-p))
		total += w
	}
	return sum / total
}
