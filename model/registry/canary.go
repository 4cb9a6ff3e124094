package registry

import (
	"fmt"
	"hash/fnv"
	"time"
)

// States of a canary.
const (
	CanaryRunning    = "running"
	CanaryPaused     = "paused"      // its share stays, and the guards go on watching
	CanaryPromoted   = "promoted"    // it serves
	CanaryRolledBack = "rolled_back" // by a guard
	CanaryAborted    = "aborted"     // by a person
)

// Acts of a canary's history.
const (
	CanaryStart    = "start"
	CanaryAdvance  = "advance"
	CanaryPause    = "pause"
	CanaryResume   = "resume"
	CanaryPromote  = "promote"
	CanaryRollback = "rollback"
	CanaryAbort    = "abort"
)

// CanaryConfig says how a canary grows, and what ends it. What a guard allows is how much worse than the version that serves the canary
// may be; see Judge.
type CanaryConfig struct {
	Shares  []float64 `json:"shares"`  // of requests, growing, below 1; after the last one comes the promotion
	Answers int       `json:"answers"` // by the canary, that a step takes at least
	Seconds int       `json:"seconds"` // that a step takes at least
	Least   int       `json:"least"`   // observations on each side below which a guard does not decide

	Errors    float64 `json:"errors"`     // share of requests that fail, above what serves
	Slower    float64 `json:"slower"`     // latency: times the 95th percentile of what serves
	Thumbs    float64 `json:"thumbs"`     // share of thumbs down among the ratings, above what serves
	Empty     float64 `json:"empty"`      // share of answers without text, above what serves
	Cut       float64 `json:"cut"`        // share of answers that reach the greatest length, above what serves
	Repeating float64 `json:"repeating"`  // share of answers that repeat themselves, above what serves
	RewardGap float64 `json:"reward_gap"` // mean reward below what serves, in standard deviations of its rewards
}

// DefaultCanary takes 1% of the requests, then 10%, each for ten minutes and 100 answers at least.
func DefaultCanary() CanaryConfig {
	return CanaryConfig{Shares: []float64{0.01, 0.1}, Answers: 100, Seconds: 600, Least: 50,
		Errors: 0.01, Slower: 1.5, Thumbs: 0.1, Empty: 0.02, Cut: 0.1, Repeating: 0.05, RewardGap: 0.2}
}

// Validate reports the first field that cannot be used, as *InvalidError.
func (c CanaryConfig) Validate() error {
	bad := func(field, format string, args ...any) error {
		return &InvalidError{"canary." + field, fmt.Sprintf(format, args...)}
	}
	if len(c.Shares) < 1 || len(c.Shares) > 20 {
		return bad("shares", "%d steps; 1 to 20 are possible", len(c.Shares))
	}
	for i, s := range c.Shares {
		if !(s > 0 && s < 1) || i > 0 && s <= c.Shares[i-1] {
			return bad("shares", "must grow, from above 0 to below 1: the promotion is what follows the last one")
		}
	}
	switch {
	case c.Least < 10 || c.Least > 1_000_000:
		return bad("least", "%d; at least 10 observations are wanted for a decision", c.Least)
	case c.Answers < c.Least || c.Answers > 10_000_000:
		return bad("answers", "%d; at least as many are wanted as a guard needs, %d", c.Answers, c.Least)
	case c.Seconds < 0 || c.Seconds > 30*24*3600:
		return bad("seconds", "%d; 0 to 30 days are possible", c.Seconds)
	case !(c.Slower >= 1 && c.Slower <= 100):
		return bad("slower", "%g; 1 to 100 times are possible", c.Slower)
	case !(c.RewardGap >= 0 && c.RewardGap <= 100):
		return bad("reward_gap", "%g; 0 to 100 standard deviations are possible", c.RewardGap)
	}
	for _, m := range []struct {
		field string
		v     float64
	}{{"errors", c.Errors}, {"thumbs", c.Thumbs}, {"empty", c.Empty}, {"cut", c.Cut}, {"repeating", c.Repeating}} {
		if !(m.v >= 0 && m.v <= 1) {
			return bad(m.field, "%g is not a share from 0 to 1", m.v)
		}
	}
	return nil
}

// OrDefault is the default where nothing is set.
func (c CanaryConfig) OrDefault() CanaryConfig {
	if c.Shares == nil {
		return DefaultCanary()
	}
	return c
}

// Canary is a version that answers a share of the requests before it answers all.
type Canary struct {
	ID        string       `json:"id"`
	Channel   string       `json:"channel"`
	Version   Version      `json:"version"`
	ServingID string       `json:"serving_id"` // version that it is compared with
	RoundID   *string      `json:"round_id"`   // whose rule began it; null: a person
	State     string       `json:"state"`
	Step      int          `json:"step"`  // index of Config.Shares
	Share     float64      `json:"share"` // of the requests
	Config    CanaryConfig `json:"config"`
	Actor     string       `json:"actor"`
	Reason    string       `json:"reason"`
	EndedWhy  string       `json:"ended_why"`
	StartedAt time.Time    `json:"started_at"`
	StepAt    time.Time    `json:"step_at"`
	EndedAt   *time.Time   `json:"ended_at"` // null while it is under way
}

// Open says whether the canary is under way.
func (c Canary) Open() bool { return c.EndedAt == nil }

// Last says whether the promotion follows this step.
func (c Canary) Last() bool { return c.Step == len(c.Config.Shares)-1 }

// Takes says whether the requests of somebody are answered by a canary that has that share: always the same for the same canary and
// somebody, and for a greater share if for a smaller one. Another canary begins with others.
func Takes(canaryID, somebody string, share float64) bool {
	h := fnv.New64a()
	h.Write([]byte(canaryID))
	h.Write([]byte{0})
	h.Write([]byte(somebody))
	x := h.Sum64() // its high bits hardly know the last letters: mix (splitmix64)
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11)/(1<<53) < share
}

// CanaryEvent is a line of a canary's history.
type CanaryEvent struct {
	Act      string    `json:"act"`
	Share    float64   `json:"share"` // from then on
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason"`
	Verdicts []Verdict `json:"verdicts"` // of the guards at that moment
	At       time.Time `json:"at"`
}

// Observation is how a request was answered while a canary ran.
type Observation struct {
	CanaryID     string
	Canary       bool // by the canary; else by what serves
	Milliseconds int
	Failed       bool
	Empty        bool     // an answer has no text
	Cut          bool     // an answer reached the greatest length
	Repeating    bool     // an answer repeats itself
	Reward       *float64 // mean of the answers; nil: not scored
}

// Planned is a promotion that waits for its time.
type Planned struct {
	ID        string     `json:"id"`
	Version   Version    `json:"version"`
	DueAt     time.Time  `json:"due_at"`
	TimeZone  string     `json:"time_zone"`
	Actor     string     `json:"actor"`
	Reason    string     `json:"reason"`
	State     string     `json:"state"` // planned, done, cancelled or failed
	EndedWhy  string     `json:"ended_why"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at"`
}

// Local is when it is due, by the clock of its time zone.
func (p Planned) Local() string {
	loc, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	return p.DueAt.In(loc).Format("2006-01-02 15:04 MST")
}
