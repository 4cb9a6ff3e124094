package labeling

import "slices"

// Level is a level of measurement: how far apart two values are.
type Level int

// Levels of Krippendorff's alpha.
const (
	Nominal  Level = iota // equal or not
	Ordinal               // by how many values lie between
	Interval              // by the squared difference
)

// Units gathers the ratings of units and computes Krippendorff's alpha from counts of
// values, in O(V^2) whatever the number of units. The zero value is ready for use.
//
// Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section E.
type Units struct {
	coincidence map[[2]int]float64 // o_ck
	total       map[int]float64    // n_c, row sums of o
}

// Add adds one unit: the values its raters gave, without the missing ones. A unit with
// fewer than two values has no pairs and does not count.
func (u *Units) Add(values []int) {
	m := len(values)
	if m < 2 {
		return
	}
	counts := map[int]float64{}
	for _, v := range values {
		counts[v]++
	}
	for c, nc := range counts {
		for k, nk := range counts {
			pairs := nc * nk
			if c == k {
				pairs = nc * (nc - 1)
			}
			u.pair(c, k, pairs/float64(m-1))
		}
	}
}

// pair adds to the coincidences of two values; a value's total is the sum of its row.
func (u *Units) pair(c, k int, o float64) {
	if u.coincidence == nil {
		u.coincidence, u.total = map[[2]int]float64{}, map[int]float64{}
	}
	u.coincidence[[2]int{c, k}] += o
	u.total[c] += o
}

// Alpha is 1 - observed/expected disagreement; ok is false where no disagreement is
// expected (all values equal, or no pairs).
func (u *Units) Alpha(level Level) (alpha float64, ok bool) {
	values := make([]int, 0, len(u.total))
	for v := range u.total {
		values = append(values, v)
	}
	slices.Sort(values)
	below := make([]float64, len(values)+1) // below[i] = n of values[:i]
	for i, v := range values {
		below[i+1] = below[i] + u.total[v]
	}
	n := below[len(values)]
	var observed, expected float64
	for i, c := range values {
		for j, k := range values[:i] {
			var d float64
			switch level {
			case Nominal:
				d = 1
			case Ordinal:
				d = below[i+1] - below[j] - (u.total[c]+u.total[k])/2
				d *= d
			case Interval:
				d = float64(c-k) * float64(c-k)
			}
			observed += 2 * d * u.coincidence[[2]int{c, k}]
			expected += 2 * d * u.total[c] * u.total[k]
		}
	}
	if expected == 0 {
		return 0, false
	}
	return 1 - (n-1)*observed/expected, true
}
