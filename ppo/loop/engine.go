package loop

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/remote"
)

// Engine is a server elsewhere that answers prompts for labeling, beside the policy: vLLM, llama.cpp, Ollama, another rankloop.
// What it answers carries Provenance as its model version.
type Engine struct {
	ID          string
	Name        string // 1 to 60 characters without a slash
	URL         string // what stands before /chat/completions, such as https://vllm.example.com/v1
	Model       string // its name there
	HasKey      bool   // whether a key is stored; the key itself is never shown again
	Answers     int    // to each prompt, 1 to 9; the policy gives the rest of the project's K
	MaxTokens   int    // of one answer
	DailyTokens int64  // budget of a UTC day, prompts and answers together
	Timeout     time.Duration
	Customers   bool // whether it may be asked what customers asked; else prompts that were imported or written by labelers only
	Enabled     bool

	Error       remote.Kind // of the last failure, EngineBudget too; empty: none since the last answer
	ErrorStatus int         // HTTP; 0: none
	ErrorAt     *time.Time
	AnsweredAt  *time.Time
	Today       EngineDay
	CreatedAt   time.Time
}

// EngineDay is what an engine was asked in a UTC day.
type EngineDay struct {
	Tokens                      int64
	Requests, Answers, Failures int
}

// EngineBudget is the Error of an engine whose budget of the day is used up.
const EngineBudget remote.Kind = "budget"

// Defaults of an engine.
const (
	DefaultEngineTokens  = 256
	DefaultEngineBudget  = 1_000_000
	DefaultEngineTimeout = 60 * time.Second
)

// EngineChange is what an engine is made from or changed to.
type EngineChange struct {
	Engine
	Key     string // a new key; empty: as it was
	DropKey bool   // forget the key
	Actor   string
}

// Provenance is the model version of what another engine answered: no version of the registry, for these are UUIDs.
func (e Engine) Provenance(model string) string {
	if model == "" {
		model = e.Model
	}
	return e.Name + "/" + model
}

func (c *EngineChange) check() error {
	bad := func(field, format string, args ...any) error {
		return &InvalidError{field, fmt.Sprintf(format, args...)}
	}
	c.Name, c.URL, c.Model, c.Key = strings.TrimSpace(c.Name), strings.TrimRight(strings.TrimSpace(c.URL), "/"), strings.TrimSpace(c.Model), strings.TrimSpace(c.Key)
	u, err := url.Parse(c.URL)
	switch {
	case !printable(c.Name, 60) || strings.Contains(c.Name, "/"):
		return bad("name", "must be 1 to 60 printable characters without a slash")
	case !printable(c.Model, 200):
		return bad("model", "must be 1 to 200 printable characters")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(c.URL) > 2000 || !printable(c.URL, 2000):
		return bad("url", "an address such as https://vllm.example.com/v1 is wanted, without a password")
	case c.Answers < 1 || c.Answers > labeling.MaxAnswers:
		return bad("answers", "%d to each prompt; 1 to 9 are possible", c.Answers)
	case c.MaxTokens < 1 || c.MaxTokens > 8192:
		return bad("max_tokens", "%d; 1 to 8192 are possible", c.MaxTokens)
	case c.DailyTokens < 1 || c.DailyTokens > 1_000_000_000_000:
		return bad("daily_tokens", "%d; a budget of 1 to 1000000000000 tokens a day is wanted", c.DailyTokens)
	case c.Timeout < time.Second || c.Timeout > 10*time.Minute:
		return bad("timeout", "must be 1 to 600 seconds")
	case len(c.Key) > 4096 || strings.ContainsFunc(c.Key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return bad("key", "must be up to 4096 visible ASCII characters")
	}
	return nil
}

func printable(s string, most int) bool {
	n := utf8.RuneCountInString(s)
	return utf8.ValidString(s) && n >= 1 && n <= most && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Secrets are how keys of other engines are kept: sealed for their owner, an engine's id, so that a row moved elsewhere does not open.
type Secrets interface {
	Seal(owner, secret string) ([]byte, error)
	Unseal(owner string, sealed []byte) (string, error)
}

// estimate is about how many tokens a request uses, rather too many: what a budget is asked for before the request is sent.
func (e Engine) estimate(messages []remote.Message, n int) int64 {
	bytes := 0
	for _, m := range messages {
		bytes += len(m.Content) + 16 // a template's own words
	}
	return int64(bytes/2 + 1 + n*e.MaxTokens)
}

// used is how many tokens a reply used where the server did not count them: four bytes are about a token of English.
func used(messages []remote.Message, r remote.Reply) int64 {
	if r.Tokens > 0 {
		return int64(r.Tokens)
	}
	bytes := 0
	for _, m := range messages {
		bytes += len(m.Content)
	}
	for _, a := range r.Answers {
		bytes += len(a.Text)
	}
	if len(r.Answers) == 0 {
		return 0
	}
	return int64(bytes/4 + 1)
}
