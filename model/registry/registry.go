package registry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

var (
	// ErrNotFound says that there is no such version, or that nothing serves in the channel.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the act does not fit the present state: there is nothing to roll back to.
	ErrConflict = errors.New("conflict")
	// ErrCanaryOpen says that another canary is under way in the channel.
	ErrCanaryOpen = errors.New("a canary is under way")
	// ErrCanaryEnded says that a canary has ended, or stands at another step by now.
	ErrCanaryEnded = errors.New("the canary has ended or moved on")
)

// InvalidError says which field of the input is wrong and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// Kinds of versions.
const (
	Base   = "base"
	SFT    = "sft"
	Reward = "reward"
	Policy = "policy"
	Value  = "value"
)

// NotifyChannel is the Postgres channel told of every change of a serving pointer; the payload is the channel's name.
const NotifyChannel = "serving"

// Version is one set of weights. It does not change after Register.
type Version struct {
	ID        string             `json:"id"`
	Kind      string             `json:"kind"` // base, sft, reward, policy or value
	Name      string             `json:"name"`
	Digest    string             `json:"digest"`   // of the model folder; the blob's key
	Parents   []string           `json:"parents"`  // ids of the versions it was made from, the main one first
	RoundID   *string            `json:"round_id"` // round of the loop that made it
	RunID     *string            `json:"run_id"`   // training run that made it
	Snapshot  *string            `json:"snapshot"` // snapshot of rankings it was trained on
	Metrics   map[string]float64 `json:"metrics"`  // finite numbers only
	Code      string             `json:"code"`     // version of the program that made it; empty: not known
	CreatedAt time.Time          `json:"created_at"`
	GoneAt    *time.Time         `json:"weights_gone_at"` // when its weights were removed; null while they are there
}

func (v Version) validate() error {
	switch {
	case !slices.Contains([]string{Base, SFT, Reward, Policy, Value}, v.Kind):
		return &InvalidError{"kind", fmt.Sprintf("%q is none of base, sft, reward, policy, value", v.Kind)}
	case v.Digest == "":
		return &InvalidError{"digest", "is empty"}
	case v.Name == "":
		return &InvalidError{"name", "is empty"}
	}
	return nil
}

// finite is m without the numbers that JSON can't hold.
func finite(m map[string]float64) map[string]float64 {
	kept := make(map[string]float64, len(m))
	for name, x := range m {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			kept[name] = x
		}
	}
	return kept
}

// Ancestor is a version in a lineage and its distance from the one asked for: 0 itself, 1 its parents.
type Ancestor struct {
	Version
	Depth int `json:"depth"`
}

// Promotion is one row of a channel's history.
type Promotion struct {
	ID       int64      `json:"id"`
	Channel  string     `json:"channel"`
	Version  Version    `json:"version"`
	Actor    string     `json:"actor"`
	Reason   string     `json:"reason"`   // of a person or a guard; may be empty
	Rollback bool       `json:"rollback"` // made by a rollback
	Live     bool       `json:"live"`
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until"` // null while live
}
