package labeling

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// Feedback is what a customer says of an answer of its own. It is taken only where the customer consents to training, and
// then it teaches: the answered prompt becomes a task of the labelers, a preference a comparison, a correction a
// demonstration.

// OriginCustomer marks a demonstration that a customer wrote as the correction of an answer.
const OriginCustomer = "customer"

// customerLabeler is the name under which a customer ranks: its preferences stand beside the labelers' rankings.
const customerLabeler = "customer:"

// CustomerLabeler is the labeler as whom a customer's preferences are kept.
func CustomerLabeler(customerID string) string { return customerLabeler + customerID }

// FeedbackDays is how long a completion is kept when no feedback comes.
const FeedbackDays = 30

// Bounds of feedback.
const (
	maxTags = 16
	maxTag  = 50 // characters
)

// Answered is one prompt of a request with all its answers, or with none where they were broken off. The request's choices
// count through its prompts.
type Answered struct {
	Prompt       NewPrompt // Consent, CustomerID and APIKeyID say under whose decision it is kept
	CompletionID string    // as the customer knows the request
	EndUser      string    // "user" of the request
	Position     int       // of the prompt in its request
	Answers      []NewResponse
	ModelVersion string
}

func (a Answered) check() error {
	if len(a.CompletionID) < 1 || len(a.CompletionID) > 100 {
		return invalid("completion", "1 to 100 bytes are wanted")
	}
	for _, f := range []struct{ field, value string }{{"completion", a.CompletionID}, {"user", a.EndUser}, {"model_version", a.ModelVersion}} {
		if err := CheckText(f.field, f.value); err != nil {
			return err
		}
	}
	return nil
}

// keptAnswer is an answer as it is kept: readable, without personal data. The tokens go with what was redacted.
type keptAnswer struct {
	Text      string  `json:"text"`
	TokenIDs  []int32 `json:"token_ids,omitempty"`
	Tokenizer string  `json:"tokenizer,omitempty"`
	Finish    string  `json:"finish,omitempty"`
}

func keep(r NewResponse) keptAnswer {
	text, raw := Sanitize(r.Text)
	clean, finds := Redact(text)
	k := keptAnswer{Text: clean, TokenIDs: r.TokenIDs, Tokenizer: r.TokenizerDigest, Finish: r.Finish}
	if finds != nil || raw != nil && len(r.TokenIDs) == 0 {
		k.TokenIDs, k.Tokenizer = nil, ""
	}
	return k
}

func (k keptAnswer) response(modelVersion string) NewResponse {
	return NewResponse{Text: k.Text, TokenIDs: k.TokenIDs, TokenizerDigest: k.Tokenizer, ModelVersion: modelVersion, Finish: k.Finish}
}

// NewFeedback is what a customer says of one choice of a completion; one of Rating, Preferred, Tied, Correction, Tags and
// Comment must be there.
type NewFeedback struct {
	CompletionID   string
	CustomerID     string
	APIKeyID       string // by which it came
	IdempotencyKey string // "" = the same words are the same feedback
	Choice         int    // from 0, through the whole request
	Rating         int    // 1 good, -1 bad, 0 none
	Preferred      bool   // the choice is better than the other answers to its prompt
	Tied           bool   // no answer to the prompt is better than another
	Correction     string // what the answer should have been
	Tags           []string
	Comment        string
}

func (n NewFeedback) check() (NewFeedback, error) {
	if len(n.IdempotencyKey) > 200 {
		return n, invalid("idempotency_key", "at most 200 bytes are wanted")
	}
	if n.Rating < -1 || n.Rating > 1 {
		return n, invalid("rating", "%d is none of 1 (good) and -1 (bad)", n.Rating)
	}
	if n.Preferred && n.Tied {
		return n, invalid("tied", "a preference is no tie")
	}
	if n.Choice < 0 {
		return n, invalid("choice", "%d is negative", n.Choice)
	}
	if len(n.Correction) > maxWritten {
		return n, invalid("correction", "%d bytes, at most %d", len(n.Correction), maxWritten)
	}
	if n.Correction != "" && Normalize(n.Correction) == "" {
		return n, invalid("correction", "empty")
	}
	if len(n.Comment) > maxComment {
		return n, invalid("comment", "%d bytes, at most %d", len(n.Comment), maxComment)
	}
	if len(n.Tags) > maxTags {
		return n, invalid("tags", "%d given, at most %d", len(n.Tags), maxTags)
	}
	for _, tag := range n.Tags {
		if tag == "" || utf8.RuneCountInString(tag) > maxTag || !utf8.ValidString(tag) || contains(tag, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return n, invalid("tags", "a tag has 1 to %d printable characters", maxTag)
		}
	}
	for _, f := range []struct{ field, value string }{{"idempotency_key", n.IdempotencyKey}, {"correction", n.Correction}, {"comment", n.Comment}} {
		if err := CheckText(f.field, f.value); err != nil {
			return n, err
		}
	}
	n.Tags = slices.Compact(slices.Sorted(slices.Values(n.Tags)))
	if n.Rating == 0 && !n.Preferred && !n.Tied && n.Correction == "" && len(n.Tags) == 0 && Normalize(n.Comment) == "" {
		return n, invalid("", "nothing is said: one of rating, preferred, correction, tags and comment is wanted")
	}
	return n, nil
}

func contains(s string, f func(rune) bool) bool {
	return slices.ContainsFunc([]rune(s), f)
}

// hash identifies what is said, whatever the key and by which API key it came.
func (n NewFeedback) hash() ([32]byte, error) {
	n.IdempotencyKey, n.APIKeyID = "", ""
	b, err := json.Marshal(n)
	return sha256.Sum256(b), err
}

// ranks are those that a preference gives the answers to its prompt: the preferred is first, answers of the same words with
// it, all others behind. A tie makes all equal.
func (n NewFeedback) ranks(answers []NewResponse, preferred int) []int {
	ranks := make([]int, len(answers))
	first := 0
	for i, a := range answers {
		if n.Tied || a.Text == answers[preferred].Text {
			ranks[i] = 1
			first++
		}
	}
	for i := range ranks {
		if ranks[i] == 0 {
			ranks[i] = first + 1
		}
	}
	return ranks
}

// Feedback is feedback as it is stored, with what became of it.
type Feedback struct {
	ID              string
	CompletionID    string
	CustomerID      string
	APIKeyID        string
	EndUser         string
	ModelVersion    string
	Choice          int
	Rating          int
	Preferred       bool
	Tied            bool
	Correction      string
	Tags            []string
	Comment         string
	PromptID        string // "" = the pool took none: the customer has brought all that one may
	TaskID          string // what labelers are asked; "" while answers to compare with are sampled
	RankingID       string // of a preference
	DemonstrationID string // of a correction; "" where the same words were there
	CreatedAt       time.Time
	Replayed        bool // it was there already
}
