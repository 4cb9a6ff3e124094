package registry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
)

func TestJudge(t *testing.T) {
	c := DefaultCanary()
	good := func(n int) Side { return Side{Answers: n, P95: 200, Scored: n, Reward: 1, RewardVar: 1} }
	with := func(s Side, f func(*Side)) Side { f(&s); return s }
	for _, x := range []struct {
		name            string
		canary, serving Side
		trips           string // guard; empty: none
	}{
		{"equal", good(1000), good(1000), ""},
		{"all fail, but there is too little data", with(good(49), func(s *Side) { s.Failed = 49 }), good(1000), ""},
		{"all fail, but what serves was hardly asked", with(good(100), func(s *Side) { s.Failed = 100 }), good(49), ""},
		{"all fail", with(good(50), func(s *Side) { s.Failed = 50 }), good(1000), GuardErrors},
		{"four of a hundred fail", with(good(100), func(s *Side) { s.Failed = 4 }), good(1000), ""},
		{"six of a hundred fail", with(good(100), func(s *Side) { s.Failed = 6 }), good(1000), GuardErrors},
		{"a fifth fails", with(good(100), func(s *Side) { s.Failed = 20 }), good(1000), GuardErrors},
		{"a fifth fails on both sides", with(good(100), func(s *Side) { s.Failed = 20 }), with(good(1000), func(s *Side) { s.Failed = 200 }), ""},
		{"a fifth is slow", with(good(100), func(s *Side) { s.Slow = 20 }), with(good(1000), func(s *Side) { s.Slow = 1 }), GuardLatency},
		{"a tenth is slow, of few", with(good(60), func(s *Side) { s.Slow = 6 }), with(good(1000), func(s *Side) { s.Slow = 1 }), ""},
		{"half of few ratings are bad", with(good(500), func(s *Side) { s.Rated, s.Down = 40, 20 }), with(good(500), func(s *Side) { s.Rated, s.Down = 100, 10 }), ""},
		{"half of many ratings are bad", with(good(500), func(s *Side) { s.Rated, s.Down = 100, 50 }), with(good(500), func(s *Side) { s.Rated, s.Down = 100, 10 }), GuardThumbs},
		{"empty", with(good(100), func(s *Side) { s.Empty = 20 }), good(1000), GuardEmpty},
		{"cut", with(good(100), func(s *Side) { s.Cut = 60 }), with(good(1000), func(s *Side) { s.Cut = 250 }), GuardCut},
		{"repeating", with(good(100), func(s *Side) { s.Repeating = 30 }), good(1000), GuardRepeating},
		{"reward a little lower", with(good(1000), func(s *Side) { s.Reward = .8 }), good(1000), ""},
		{"reward lower", with(good(1000), func(s *Side) { s.Reward = .5 }), good(1000), GuardReward},
		{"reward lower, of few", with(good(1000), func(s *Side) { s.Reward, s.Scored = .5, 49 }), good(1000), ""},
		{"reward of other answers not lower", with(good(1000), func(s *Side) { s.Reward = 2 }), good(1000), ""},
	} {
		got := ""
		if v := Tripped(c.Judge(x.canary, x.serving)); v != nil {
			got = v.Guard
		}
		if got != x.trips {
			t.Errorf("%s: %q trips, want %q: %v", x.name, got, x.trips, c.Judge(x.canary, x.serving))
		}
	}
	for _, v := range c.Judge(Side{}, Side{}) {
		if v.Verdict != VerdictFew {
			t.Errorf("of nothing: %+v", v)
		}
	}
}

// TestWilson: the interval of 10 of 100 at three standard errors, by hand: (0.1 + 9/200 ± 3 sqrt(0.09/100 + 9/40000)) / 1.09.
func TestWilson(t *testing.T) {
	low, high := wilson(10, 100)
	half := 3 * math.Sqrt(0.0009+0.000225) / 1.09
	if mid := 0.145 / 1.09; math.Abs(low-(mid-half)) > 1e-12 || math.Abs(high-(mid+half)) > 1e-12 {
		t.Errorf("[%g, %g]", low, high)
	}
}

// TestLooks: a guard looks after every answer. Of canaries as good as what serves next to none is rolled back over 2000 answers; of those
// that fail 20 points more often each one is, soon.
func TestLooks(t *testing.T) {
	c := DefaultCanary()
	rng := rand.New(rand.NewPCG(1, 2))
	walk := func(fails float64) (at int) {
		var a, b Side
		for i := range 2000 {
			a.Answers++
			if rng.Float64() < fails {
				a.Failed++
			}
			for range 10 {
				b.Answers++
				if rng.Float64() < .02 {
					b.Failed++
				}
			}
			if Tripped(c.Judge(a, b)) != nil {
				return i + 1
			}
		}
		return 0
	}
	false1, missed, latest := 0, 0, 0
	for range 100 {
		if walk(.02) > 0 {
			false1++
		}
		at := walk(.22)
		if at == 0 {
			missed++
		}
		latest = max(latest, at)
	}
	if false1 > 1 || missed > 0 || latest > 400 {
		t.Errorf("%d of 100 equal canaries were rolled back, %d of 100 bad ones were not, the last one after %d answers", false1, missed, latest)
	}
}

// TestTakes: shares are right, the same customers stay in as the share grows, and another canary begins with others.
func TestTakes(t *testing.T) {
	one, two := uuid.Must(uuid.NewV7()).String(), uuid.Must(uuid.NewV7()).String()
	const n = 20_000
	for _, share := range []float64{0.01, 0.1, 0.5} {
		in, both := 0, 0
		for i := range n {
			who := fmt.Sprintf("key %08d", i)
			takes := Takes(one, who, share)
			if takes {
				in++
				if !Takes(one, who, share+.01) {
					t.Fatalf("%s falls out of %g when the share grows", who, share)
				}
				if Takes(two, who, share) {
					both++
				}
			}
		}
		// Five standard deviations of a binomial.
		near := func(k int, p float64) bool {
			return math.Abs(float64(k)-n*p) < 5*math.Sqrt(n*p*(1-p))
		}
		if !near(in, share) || !near(both, share*share) {
			t.Errorf("%d of %d are taken at %g, %d by both", in, n, share, both)
		}
	}
	if Takes(one, "x", 0) || !Takes(one, "x", 1) {
		t.Error("of nobody, and of all")
	}
}

func TestCanaryConfig(t *testing.T) {
	if err := DefaultCanary().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, f := range map[string]func(*CanaryConfig){
		"canary.shares": func(c *CanaryConfig) { c.Shares = []float64{.1, .1} }, "canary.answers": func(c *CanaryConfig) { c.Answers = c.Least - 1 },
		"canary.least": func(c *CanaryConfig) { c.Least = 1 }, "canary.seconds": func(c *CanaryConfig) { c.Seconds = -1 }, "canary.slower": func(c *CanaryConfig) { c.Slower = .5 },
		"canary.errors": func(c *CanaryConfig) { c.Errors = math.NaN() }, "canary.thumbs": func(c *CanaryConfig) { c.Thumbs = 2 }, "canary.reward_gap": func(c *CanaryConfig) { c.RewardGap = -1 },
	} {
		c := DefaultCanary()
		f(&c)
		if err, ok := c.Validate().(*InvalidError); !ok || err.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, shares := range [][]float64{{}, {0}, {1}, {-1}, {.5, .1}, {math.NaN()}} {
		c := DefaultCanary()
		c.Shares = shares
		if c.Validate() == nil {
			t.Errorf("shares %v", shares)
		}
	}
}
