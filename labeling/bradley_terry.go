package labeling

import "math"

// BradleyTerry fits log strengths to pairwise outcomes: P(i beats j) is the logistic of
// b[i]-b[j] (Bradley and Terry 1952). wins[i][j] counts how often i beat j, a tie as
// half a win for each. With l2 > 0 the penalty l2/2 * sum b^2 is added, which also makes
// the fit finite where somebody won or lost everything. The strengths have mean zero;
// ok is false where the fit did not converge (with l2 = 0: where the comparisons do not
// tie all players together).
//
// The objective is convex; the fit is Newton's method with step halving.
func BradleyTerry(wins [][]float64, l2 float64) (b []float64, nll float64, ok bool) {
	n := len(wins)
	b = make([]float64, n)
	value := func(b []float64) float64 {
		sum := 0.0
		for i := range wins {
			for j, w := range wins[i] {
				if w > 0 {
					sum += w * softplus(b[j]-b[i])
				}
			}
			sum += l2 / 2 * b[i] * b[i]
		}
		return sum
	}
	nll = value(b)
	games := 0.0
	for _, row := range wins {
		for _, w := range row {
			games += w
		}
	}
	for range 100 {
		gradient := make([]float64, n)
		hessian := make([][]float64, n)
		for i := range hessian {
			hessian[i] = make([]float64, n)
		}
		worst := 0.0
		for i := range wins {
			for j := range wins {
				if i == j {
					continue
				}
				p := 1 / (1 + math.Exp(b[j]-b[i]))
				gradient[i] += -wins[i][j]*(1-p) + wins[j][i]*p
				h := (wins[i][j] + wins[j][i]) * p * (1 - p)
				hessian[i][i] += h
				hessian[i][j] -= h
			}
			gradient[i] += l2 * b[i]
			hessian[i][i] += l2
			for j := range hessian[i] {
				hessian[i][j]++ // fixes the direction in which all strengths move together
			}
			worst = math.Max(worst, math.Abs(gradient[i]))
		}
		if worst <= 1e-13*(1+games) {
			return b, nll - penalty(b, l2), true
		}
		step, solved := solve(hessian, gradient)
		if !solved {
			return b, nll - penalty(b, l2), false
		}
		for scale := 1.0; ; scale /= 2 {
			next := make([]float64, n)
			for i := range b {
				next[i] = b[i] - scale*step[i]
			}
			center(next)
			if v := value(next); v <= nll+1e-12 || scale < 1e-9 {
				b, nll = next, v
				break
			}
		}
	}
	return b, nll - penalty(b, l2), false
}

// penalty is the part of the objective that is not the negative log likelihood.
func penalty(b []float64, l2 float64) float64 {
	s := 0.0
	for _, v := range b {
		s += v * v
	}
	return l2 / 2 * s
}

func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func center(b []float64) {
	mean := 0.0
	for _, v := range b {
		mean += v / float64(len(b))
	}
	for i := range b {
		b[i] -= mean
	}
}

// solve is Gaussian elimination with partial pivoting; it works on a and a copy of y.
func solve(a [][]float64, y []float64) ([]float64, bool) {
	n := len(a)
	x := append([]float64(nil), y...)
	for c := range n {
		p := c
		for r := c + 1; r < n; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		if math.Abs(a[p][c]) < 1e-12 {
			return nil, false
		}
		a[c], a[p], x[c], x[p] = a[p], a[c], x[p], x[c]
		for r := c + 1; r < n; r++ {
			f := a[r][c] / a[c][c]
			for k := c; k < n; k++ {
				a[r][k] -= f * a[c][k]
			}
			x[r] -= f * x[c]
		}
	}
	for r := n - 1; r >= 0; r-- {
		for k := r + 1; k < n; k++ {
			x[r] -= a[r][k] * x[k]
		}
		x[r] /= a[r][r]
	}
	return x, true
}

// EloScale puts a log strength on the scale of chess: 1000 = average, 400 points =
// odds of ten to one.
func EloScale(strength float64) float64 { return 1000 + 400/math.Ln10*strength }

// Elo is the sequential rating: cheap to keep live, but it depends on the order of the
// games. Use BradleyTerry where all games are at hand.
type Elo struct {
	K, Scale float64 // usual: 32 and 400
	Ratings  []float64
}

// NewElo starts n players at the given rating.
func NewElo(n int, k, start, scale float64) *Elo {
	e := &Elo{K: k, Scale: scale, Ratings: make([]float64, n)}
	for i := range e.Ratings {
		e.Ratings[i] = start
	}
	return e
}

// Play enters a game of a against b; score is 1 if a won, 1/2 for a tie, 0 if b won.
func (e *Elo) Play(a, b int, score float64) {
	expected := 1 / (1 + math.Pow(10, (e.Ratings[b]-e.Ratings[a])/e.Scale))
	e.Ratings[a] += e.K * (score - expected)
	e.Ratings[b] -= e.K * (score - expected)
}
