package simulate

import "math/rand/v2"

// Labeler is a simulated reader: an account to sign in with, and a way to err.
type Labeler struct {
	Name, Email, Password string
	Seed                  uint64
	// Temperature divides gold scores before the Plackett-Luce draw: larger is noisier.
	Temperature float64
	// PositionBias is added to the first answer shown and falls linearly to zero at the last, in gold points.
	PositionBias float64
	// LengthBias is added per ten words of the answer, in gold points.
	LengthBias float64
}

// Rank draws a ranking of answers with the given gold scores. It returns competition ranks in the order of golds
// (1 is best; 1,2,2,4 has a tie).
func Rank(rng *rand.Rand, golds []float64, temperature float64) []int {
	ranks := make([]int, len(golds))
	for i := range ranks {
		ranks[i] = 1
	}
	return ranks
}
