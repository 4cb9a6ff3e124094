package setting

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Name of a setting; the part before the dot groups them.
type Name string

// The settings.
const (
	LabelsPerMinute Name = "labels.per_minute"
	AnswerTokens    Name = "answers.max_tokens"
	ProjectOverlap  Name = "projects.overlap"
	ProjectCap      Name = "projects.prompt_cap"
	BackupDays      Name = "health.backup_days"
	KeyRequests     Name = "keys.per_minute"
	KeyTokens       Name = "keys.tokens_per_minute"
	RelabelBelow    Name = "rounds.relabel_below"
	RelabelProbe    Name = "rounds.relabel_probe"
	RelabelPrompts  Name = "rounds.relabel_prompts"
)

type sentence string

// Definition is what is known of a setting beforehand.
type Definition struct {
	Name     Name    `json:"name"`
	Title    string  `json:"title"`
	About    string  `json:"about"`
	Default  float64 `json:"default"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
	Fraction bool    `json:"fraction"` // may be a number with a fraction
}

// about says what the settings do.
var about = []struct {
	name     Name
	title    sentence
	about    sentence
	usual    float64
	min, max float64
	fraction bool
}{
	{LabelsPerMinute, "Labels a minute", "Rankings and skips of one person in a minute; more are refused for a while. People need about five.", 60, 1, 100_000, false},
	{AnswerTokens, "Tokens of an answer", "The most tokens that one answer of the API or of the chat may have. A request for more is refused.", 512, 1, 32_768, false},
	{ProjectOverlap, "Labelers of a task, in new projects", "How many people are asked the same, where a new project does not say otherwise. More make the labels surer and dearer.", 1, 1, 100, false},
	{ProjectCap, "Prompts of one customer, in new projects", "The most prompts that a new project takes from one customer, so that no customer outweighs the others (Ouyang et al. 2022 take 200).", 200, 1, 1_000_000, false},
	{BackupDays, "Days between backups", "After so many days without 'rankloop backup' the page Health says so.", 8, 1, 365, false},
	{KeyRequests, "Requests a minute, of new API keys", "What a new key may ask for in a minute, where whoever makes it says nothing else.", 60, 1, 1_000_000, false},
	{KeyTokens, "Tokens a minute, of new API keys", "Tokens of prompts and answers that a new key may use in a minute, where whoever makes it says nothing else.", 100_000, 1, 100_000_000, false},
	{RelabelBelow, "Reward accuracy that is stale, in new rounds", "After a promotion some answers of the new policy are ranked; a reward model that is right in a smaller share of their pairs is stale, and more rankings are ordered. 0 asks for nothing. A round that is set up begins with this, and may say otherwise.", 0, 0, 0.99, true},
	{RelabelProbe, "Prompts ranked to see it, in new rounds", "Prompts whose answers by the new policy are ranked after a promotion. Fewer leave it unsure whether the reward model is stale.", 64, 1, 10_000, false},
	{RelabelPrompts, "Prompts ordered where it is stale, in new rounds", "Prompts that are answered and offered for ranking, once a round, where the reward model is stale.", 256, 1, 10_000, false},
}

// Definitions are all settings, in the order in which they are shown.
func Definitions() []Definition {
	out := make([]Definition, len(about))
	for i, d := range about {
		out[i] = Definition{d.name, string(d.title), string(d.about), d.usual, d.min, d.max, d.fraction}
	}
	return out
}

var (
	// ErrNotFound: there is no such setting or change.
	ErrNotFound = errors.New("no such setting")
	// ErrConflict: somebody else changed the setting in the meantime.
	ErrConflict = errors.New("the setting was changed by somebody else")
)

// InvalidError says which field is wrong and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// Parse reads what a person typed.
func (d Definition) Parse(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) {
		return 0, &InvalidError{"value", "must be a number"}
	}
	return v, d.check(v)
}

func (d Definition) check(v float64) error {
	switch {
	case v < d.Min || v > d.Max:
		return &InvalidError{"value", fmt.Sprintf("must be from %s to %s", Text(d.Min), Text(d.Max))}
	case !d.Fraction && v != math.Trunc(v):
		return &InvalidError{"value", "must be a whole number"}
	}
	return nil
}

// Text is a value as it is typed.
func Text(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Value is a setting with what holds now.
type Value struct {
	Definition
	Value float64 `json:"value"`
	Set   bool    `json:"set"` // an admin chose it; else it is the default
}

// Change is one change of a setting. A nil value is the default.
type Change struct {
	ID     int64     `json:"id"`
	Name   Name      `json:"name"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	Old    *float64  `json:"old"`
	New    *float64  `json:"new"`
	Reason string    `json:"reason"`
}

func decode(raw json.RawMessage) (*float64, error) {
	if raw == nil {
		return nil, nil
	}
	var v float64
	return &v, json.Unmarshal(raw, &v)
}
