package labeling

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// Order is the order in which an assignment shows its k answers: Order[d] is the
// stored position of the answer shown at d. It depends on the assignment's id alone,
// uniform over ids. The order of fewer answers is that of MaxAnswers with the missing
// ones left out, so that a claim can pass it to the database before k is known.
func Order(assignmentID string, k int) []int {
	out := make([]int, 0, k)
	for _, p := range derive("order", assignmentID).Perm(MaxAnswers) {
		if p < k {
			out = append(out, p)
		}
	}
	return out
}

// derive is a stream of random numbers that belongs to (purpose, id).
func derive(purpose, id string) *rand.Rand {
	sum := sha256.Sum256([]byte(purpose + "\x00" + id))
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])))
}

// SplitByHash draws the split of a unit that stands alone, such as an imported
// prompt: the first valid share of the hash's range is Valid, the next test share
// is Test.
func SplitByHash(unit string, valid, test float64) string {
	u := derive("split", unit).Float64()
	switch {
	case u < valid:
		return Valid
	case u < valid+test:
		return Test
	}
	return Train
}

// SplitByArrival deals the customers of a project to the splits in the order of
// their arrival (ordinal from 0) by systematic sampling: of any n in a row, n*valid
// are Valid and n*test are Test, give or take one. The offset is the project's own.
func SplitByArrival(project string, ordinal int, valid, test float64) string {
	offset := derive("arrival", project).Float64()
	// due counts how many of the first n units a share has had.
	due := func(n int, share float64) int { return int(math.Floor(float64(n)*share + offset + 1e-9)) }
	if due(ordinal+1, valid) > due(ordinal, valid) {
		return Valid
	}
	rest := func(n int) int { return n - (due(n, valid) - due(0, valid)) }
	if share := test / (1 - valid); due(rest(ordinal+1), share) > due(rest(ordinal), share) {
		return Test
	}
	return Train
}
