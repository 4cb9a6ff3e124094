package conversation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Sentinels of this room.
var (
	ErrNotFound = errors.New("conversation: not found") // or somebody else's
	ErrFull     = errors.New("conversation: full")      // MaxTurns, MaxConversations or MaxPresets reached
)

// InvalidError names a field that cannot be used, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

// Bounds of what one person keeps.
const (
	MaxConversations = 10_000
	MaxTurns         = 2_000  // of one conversation
	MaxContent       = 32_000 // bytes of one question
	MaxPresets       = 100
	maxTitle         = 200 // characters
	maxPreset        = 60  // characters of its name
)

// Roles of turns.
const (
	User      = "user"
	Assistant = "assistant"
)

// Votes on a comparison, each of the answer that it is stored with.
const (
	Better = "better"
	Worse  = "worse"
	Tie    = "tie" // both alike, and fine
	Bad    = "bad" // both alike, and neither fine
)

// Settings are how answers are drawn; zero values of pointers mean the default.
type Settings struct {
	Temperature *float64 `json:"temperature,omitempty"` // 0 to 2; 1
	TopP        *float64 `json:"top_p,omitempty"`       // 0 to 1; 1
	MaxTokens   int      `json:"max_tokens,omitempty"`  // 0: a quarter of the model's context
	Seed        *int64   `json:"seed,omitempty"`        // nil: another one each time
	System      string   `json:"system,omitempty"`      // system prompt
}

// Check refuses what is out of bounds.
func (s Settings) Check() error {
	switch {
	case s.Temperature != nil && !(*s.Temperature >= 0 && *s.Temperature <= 2):
		return &InvalidError{"temperature", "must be 0 to 2"}
	case s.TopP != nil && !(*s.TopP >= 0 && *s.TopP <= 1):
		return &InvalidError{"top_p", "must be 0 to 1"}
	case s.MaxTokens < 0 || s.MaxTokens > 1_000_000:
		return &InvalidError{"max_tokens", "must be a number of tokens from 1, or be left out"}
	case s.Seed != nil && (*s.Seed < 0 || *s.Seed > 1<<53-1):
		return &InvalidError{"seed", "must be a whole number from 0 to 9007199254740991"}
	case len(s.System) > MaxContent || !text(s.System):
		return &InvalidError{"system", "must be text of at most 32000 bytes"}
	}
	return nil
}

func text(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Conversation is one without its turns.
type Conversation struct {
	ID        string
	Owner     string // user id
	Title     string // "" = First
	First     string // beginning of the first question
	Training  bool   // what is said may be used for training
	Leaf      string // last turn of the open branch; "" = nothing was said
	Settings  Settings
	SharedAt  *time.Time // nil: not shared
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Turn is a question or an answer.
type Turn struct {
	ID               string
	Parent           string // "" = the conversation begins with it
	Role             string
	Content          string
	CompletionID     string // of an answer; both answers of a comparison have the same
	Choice           int    // which of the completion's answers it is
	ModelName        string
	ModelVersion     string
	Finish           string // stop, length, cancelled
	PromptTokens     int
	CompletionTokens int
	LeftOut          int // earlier turns that the model's context had no room for
	Settings         Settings
	HasTokens        bool // its log-probabilities are kept
	Rating           int  // 1, -1; 0 none
	Vote             string
	CreatedAt        time.Time
}

// NewAnswer is an answer to be kept. Tokens are as Tokens returns them; nil where there are none.
type NewAnswer struct {
	Turn
	Tokens json.RawMessage
}

// Preset is a named set of settings.
type Preset struct {
	ID       string
	Name     string
	Settings Settings
}

// Change is what is to be another way; nil leaves it.
type Change struct {
	Title    *string
	Training *bool
	Leaf     *string
	Settings *Settings
}

func (c Change) check() error {
	if c.Title != nil && (!text(*c.Title) || utf8.RuneCountInString(*c.Title) > maxTitle) {
		return &InvalidError{"title", "must be at most 200 characters"}
	}
	if c.Settings != nil {
		return c.Settings.Check()
	}
	return nil
}
