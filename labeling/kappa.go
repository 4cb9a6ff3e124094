package labeling

import (
	"math"
	"slices"
)

// Weighting says how much a disagreement counts in Cohen's kappa.
type Weighting int

// Weightings by the distance of the categories in the sorted list of those used.
const (
	Unweighted Weighting = iota
	Linear
	Quadratic
)

// Cohen is the chance-corrected agreement of two labelers who judged the same items
// (Cohen 1960; weighted, 1968); ok is false where chance leaves no disagreement.
func Cohen(a, b []int, w Weighting) (kappa float64, ok bool) {
	categories := slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	k := len(categories)
	rows, cols := make([]float64, k), make([]float64, k)
	weight := func(i, j int) float64 {
		d := math.Abs(float64(i - j))
		switch w {
		case Linear:
			return d
		case Quadratic:
			return d * d
		}
		return math.Min(d, 1)
	}
	var observed, expected float64
	for n := range a {
		i, _ := slices.BinarySearch(categories, a[n])
		j, _ := slices.BinarySearch(categories, b[n])
		rows[i]++
		cols[j]++
		observed += weight(i, j)
	}
	for i := range rows {
		for j := range cols {
			expected += weight(i, j) * rows[i] * cols[j] / float64(len(a))
		}
	}
	if expected == 0 {
		return 0, false
	}
	return 1 - observed/expected, true
}

// Fleiss is the chance-corrected agreement of a fixed number of labelers per item
// (Fleiss 1971). counts[item][category]; ok is false where one category took everything
// or an item has fewer than two labels.
func Fleiss(counts [][]int) (kappa float64, ok bool) {
	if len(counts) == 0 {
		return 0, false
	}
	share := make([]float64, len(counts[0]))
	var total, agree, n float64
	for _, row := range counts {
		var sum, sq float64
		for j, c := range row {
			share[j] += float64(c)
			sum += float64(c)
			sq += float64(c) * float64(c)
		}
		n = sum
		total += sum
		agree += (sq - n) / (n * (n - 1))
	}
	agree /= float64(len(counts))
	var chance float64
	for _, s := range share {
		chance += s / total * s / total
	}
	if n < 2 || chance == 1 {
		return 0, false
	}
	return (agree - chance) / (1 - chance), true
}
