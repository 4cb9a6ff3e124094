package labeling

import (
	"math"
	"slices"
)

// PairCounts compares two rank vectors over all pairs of items.
type PairCounts struct {
	Pairs      int // K(K-1)/2
	Concordant int // both order the pair strictly, the same way
	Discordant int // both strictly, opposite ways
	TiesX      int // tied in x, whatever y says
	TiesY      int // tied in y, whatever x says
	TiesBoth   int
}

// Concordance counts the pairs of x and y, which have the same length.
func Concordance(x, y []int) PairCounts {
	var c PairCounts
	for i := range x {
		for j := range i {
			c.Pairs++
			dx, dy := x[i]-x[j], y[i]-y[j]
			if dx == 0 {
				c.TiesX++
			}
			if dy == 0 {
				c.TiesY++
			}
			switch {
			case dx == 0 && dy == 0:
				c.TiesBoth++
			case dx == 0 || dy == 0:
			case (dx > 0) == (dy > 0):
				c.Concordant++
			default:
				c.Discordant++
			}
		}
	}
	return c
}

// TauA is Kendall's tau-a, (C-D)/pairs; ok is false without pairs.
func (c PairCounts) TauA() (tau float64, ok bool) {
	if c.Pairs == 0 {
		return 0, false
	}
	return float64(c.Concordant-c.Discordant) / float64(c.Pairs), true
}

// TauB is Kendall's tau-b, corrected for ties (Kendall 1945); ok is false where one
// side ties everything.
func (c PairCounts) TauB() (tau float64, ok bool) {
	d := math.Sqrt(float64(c.Pairs-c.TiesX) * float64(c.Pairs-c.TiesY))
	if d == 0 {
		return 0, false
	}
	return float64(c.Concordant-c.Discordant) / d, true
}

// Midranks replaces values by their ranks, 1 = smallest, equal values sharing the mean
// of the ranks they take up.
func Midranks(x []int) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		below, equal := 0, 0
		for _, w := range x {
			if w < v {
				below++
			} else if w == v {
				equal++
			}
		}
		out[i] = float64(below) + float64(equal+1)/2
	}
	return out
}

// Spearman is the rank correlation of x and y: Pearson's of the midranks; ok is false
// where one of them is constant.
func Spearman(x, y []int) (rho float64, ok bool) {
	a, b := Midranks(x), Midranks(y)
	mean := float64(len(x)+1) / 2
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - mean) * (b[i] - mean)
		aa += (a[i] - mean) * (a[i] - mean)
		bb += (b[i] - mean) * (b[i] - mean)
	}
	if aa == 0 || bb == 0 {
		return 0, false
	}
	return ab / math.Sqrt(aa*bb), true
}

// KendallW is the coefficient of concordance of m judges over n items, corrected for
// ties: 1 = all alike, 0 = no common order. rankings[judge][item]; ok is false where
// every judge ties everything.
func KendallW(rankings [][]int) (w float64, ok bool) {
	if len(rankings) == 0 {
		return 0, false
	}
	m, n := float64(len(rankings)), float64(len(rankings[0]))
	sums := make([]float64, len(rankings[0]))
	var ties float64
	for _, r := range rankings {
		for i, v := range Midranks(r) {
			sums[i] += v
		}
		sorted := slices.Sorted(slices.Values(r))
		for i := 0; i < len(sorted); {
			j := i
			for j < len(sorted) && sorted[j] == sorted[i] {
				j++
			}
			c := float64(j - i)
			ties += c*c*c - c
			i = j
		}
	}
	mean := m * (n + 1) / 2
	var s float64
	for _, v := range sums {
		s += (v - mean) * (v - mean)
	}
	d := m*m*(n*n*n-n) - m*ties
	if d == 0 {
		return 0, false
	}
	return 12 * s / d, true
}
