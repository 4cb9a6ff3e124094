package registry

import (
	"fmt"
	"math"
)

// Guards.
const (
	GuardErrors    = "errors"
	GuardLatency   = "latency"
	GuardThumbs    = "thumbs"
	GuardEmpty     = "empty"
	GuardCut       = "cut"
	GuardRepeating = "repeating"
	GuardReward    = "reward"
)

// What a guard says.
const (
	VerdictFew  = "few"  // too little data on one side
	VerdictFine = "fine" // not known to be worse than is allowed
	VerdictBad  = "bad"  // worse than is allowed
)

const (
	// sure is how many standard errors a guard wants: one-sided 99.87%. It is more than one look would need, because a guard looks each
	// second: of canaries that are exactly as bad as is allowed some percents are rolled back, of equal ones next to none.
	sure = 3
	// slowest is the share of requests beyond a 95th percentile.
	slowest = 0.05
	// SlowFloor is how many milliseconds more than the 95th percentile are always allowed.
	SlowFloor = 100
)

// Side is what was counted of one side of a canary.
type Side struct {
	Answers, Failed       int
	Empty, Cut, Repeating int     // of those that did not fail
	Slow                  int     // of those that did not fail, slower than the latency guard allows
	P95                   float64 // milliseconds
	Rated, Down           int     // ratings, and thumbs down among them
	Scored                int     // answers with a reward
	Reward, RewardVar     float64 // mean and variance of the rewards
}

// Verdict is what a guard says of the same period on both sides.
type Verdict struct {
	Guard    string  `json:"guard"`
	Canary   float64 `json:"canary"`
	Serving  float64 `json:"serving"`
	NCanary  int     `json:"n_canary"`
	NServing int     `json:"n_serving"`
	Allowed  float64 `json:"allowed"` // the canary's figure at most; of the reward at least
	Verdict  string  `json:"verdict"`
}

// guardWords are what the guards of shares are called.
var guardWords = map[string]string{GuardErrors: "errors", GuardThumbs: "thumbs down", GuardEmpty: "empty answers", GuardCut: "answers cut off", GuardRepeating: "repeating answers"}

// String tells a person what the guard saw.
func (v Verdict) String() string {
	switch v.Guard {
	case GuardLatency:
		return fmt.Sprintf("latency: 95%% of %d answers within %.0f ms, against %.0f ms of %d; %.0f ms are allowed", v.NCanary, v.Canary, v.Serving, v.NServing, v.Allowed)
	case GuardReward:
		return fmt.Sprintf("mean reward: %.3f of %d answers, against %.3f of %d; at least %.3f is wanted", v.Canary, v.NCanary, v.Serving, v.NServing, v.Allowed)
	}
	return fmt.Sprintf("%s: %.1f%% of %d, against %.1f%% of %d; %.1f%% are allowed", guardWords[v.Guard], 100*v.Canary, v.NCanary, 100*v.Serving, v.NServing, 100*v.Allowed)
}

// Judge lets every guard compare the canary with what serves over the same period.
//
// Shares (errors, thumbs down, empty, cut and repeating answers) trip where the lower end of the interval of the difference
// of two proportions (Newcombe 1998, method 10: from Wilson's score intervals) is above what is allowed. The latency guard compares
// shares too: of answers that took longer than Slower times the 95th percentile of what serves (and SlowFloor more than it), which may
// be 5 points more on the canary's side. The reward guard wants the upper end of the interval of the difference of two means
// (Welch 1947) not to be below RewardGap standard deviations of the serving side. No guard decides where a side has fewer than Least
// observations of its kind.
func (c CanaryConfig) Judge(canary, serving Side) []Verdict {
	ok := func(s Side) int { return s.Answers - s.Failed }
	out := []Verdict{
		c.shares(GuardErrors, c.Errors, canary.Failed, canary.Answers, serving.Failed, serving.Answers),
		c.latency(canary, serving),
		c.shares(GuardThumbs, c.Thumbs, canary.Down, canary.Rated, serving.Down, serving.Rated),
		c.shares(GuardEmpty, c.Empty, canary.Empty, ok(canary), serving.Empty, ok(serving)),
		c.shares(GuardCut, c.Cut, canary.Cut, ok(canary), serving.Cut, ok(serving)),
		c.shares(GuardRepeating, c.Repeating, canary.Repeating, ok(canary), serving.Repeating, ok(serving)),
		c.reward(canary, serving),
	}
	return out
}

// Tripped is the first guard that says that the canary is worse than allowed; nil: none does.
func Tripped(list []Verdict) *Verdict {
	for i := range list {
		if list[i].Verdict == VerdictBad {
			return &list[i]
		}
	}
	return nil
}

func (c CanaryConfig) verdict(bad bool, n, m int) string {
	switch {
	case n < c.Least || m < c.Least:
		return VerdictFew
	case bad:
		return VerdictBad
	}
	return VerdictFine
}

func (c CanaryConfig) shares(guard string, allowed float64, k, n, j, m int) Verdict {
	p, q := share(k, n), share(j, m)
	return Verdict{guard, p, q, n, m, min(1, q+allowed), c.verdict(differLow(k, n, j, m) > allowed, n, m)}
}

func (c CanaryConfig) latency(canary, serving Side) Verdict {
	n, m := canary.Answers-canary.Failed, serving.Answers-serving.Failed
	bad := differLow(canary.Slow, n, serving.Slow, m) > slowest
	return Verdict{GuardLatency, canary.P95, serving.P95, n, m, c.slow(serving.P95), c.verdict(bad, n, m)}
}

// slow is how many milliseconds are allowed where 95% of the answers of what serves take p95.
func (c CanaryConfig) slow(p95 float64) float64 { return max(c.Slower*p95, p95+SlowFloor) }

func (c CanaryConfig) reward(canary, serving Side) Verdict {
	n, m := canary.Scored, serving.Scored
	allowed := serving.Reward - c.RewardGap*math.Sqrt(serving.RewardVar)
	high := canary.Reward + sure*math.Sqrt(canary.RewardVar/math.Max(1, float64(n))+serving.RewardVar/math.Max(1, float64(m)))
	return Verdict{GuardReward, canary.Reward, serving.Reward, n, m, allowed, c.verdict(high < allowed, n, m)}
}

func share(k, n int) float64 { return float64(k) / math.Max(1, float64(n)) }

// wilson is the score interval of a proportion.
func wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	p, z2, N := share(k, n), float64(sure*sure), float64(n)
	mid := (p + z2/(2*N)) / (1 + z2/N)
	half := sure * math.Sqrt(p*(1-p)/N+z2/(4*N*N)) / (1 + z2/N)
	return max(0, mid-half), min(1, mid+half)
}

// differLow is the lower end of the interval of k/n - j/m.
func differLow(k, n, j, m int) float64 {
	p, q := share(k, n), share(j, m)
	low, _ := wilson(k, n)
	_, high := wilson(j, m)
	return p - q - math.Sqrt((p-low)*(p-low)+(high-q)*(high-q))
}
