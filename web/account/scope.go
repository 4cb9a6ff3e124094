package account

import "slices"

// Scopes of an API key: a route asks for one of them. Another one is a constant here and in Scopes, and its name on the pages.
const (
	ScopeCompletions = "completions" // answers, and those that were kept: /v1/models, /v1/completions, /v1/chat/completions
	ScopeFeedback    = "feedback"    // says what an answer was worth
	ScopeReward      = "reward"      // scores prompt and completion pairs: /api/v1/reward
)

// Scopes lists them all.
var Scopes = []string{ScopeCompletions, ScopeFeedback, ScopeReward}

// DefaultScopes are those of a key made without: what a customer's program needs to answer and to learn from it.
var DefaultScopes = []string{ScopeCompletions, ScopeFeedback}

// scopes checks a list and puts it in the order of Scopes, each once.
func scopes(list []string) ([]string, error) {
	var out []string
	for _, s := range Scopes {
		if slices.Contains(list, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 || slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(Scopes, s) }) {
		return nil, &InvalidError{"scopes", "must be of completions, feedback and reward"}
	}
	return out, nil
}
