package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Sentinels of this room.
var (
	ErrNotFound = errors.New("account: not found")
	ErrConflict = errors.New("account: already exists")
	ErrDenied   = errors.New("account: denied") // wrong password, unknown, expired or revoked credential: never says which
	ErrBusy     = errors.New("account: too many sign-ins at once")
)

// InvalidError names a field that cannot be used, and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

// LimitError says that too many sign-ins failed; RetryAfter is when the next one is looked at.
type LimitError struct{ RetryAfter time.Duration }

func (e *LimitError) Error() string {
	return fmt.Sprintf("account: too many failed sign-ins, wait %s", e.RetryAfter.Round(time.Second))
}

// User is a person, or a program that acts as one.
type User struct {
	ID         string
	Email      string // lower case
	Name       string
	Role       Role
	Language   string // BCP 47, of the pages; empty: as the browser asks
	CreatedAt  time.Time
	DisabledAt *time.Time
}

// NewUser is what a user is made from.
type NewUser struct {
	Email    string
	Name     string // empty: the part of Email before the @
	Role     Role
	Password string // empty: one is generated and returned
	Actor    string // who makes it, for the audit log: "user:<id>", "system"
}

func (n *NewUser) normalise() error {
	n.Email = strings.ToLower(strings.TrimSpace(n.Email))
	local, domain, ok := strings.Cut(n.Email, "@")
	switch {
	case !ok || local == "" || domain == "" || len(n.Email) > 254 || strings.ContainsFunc(n.Email, notPrintable) || strings.Contains(n.Email, " "):
		return &InvalidError{"email", "must be an address such as ada@example.com"}
	case !n.Role.Valid():
		return &InvalidError{"role", wantRole}
	}
	if n.Name = strings.TrimSpace(n.Name); n.Name == "" {
		n.Name = local
	}
	if err := checkName("name", n.Name); err != nil {
		return err
	}
	return nil
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

func checkName(field, s string) error {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) < 1 || utf8.RuneCountInString(s) > 200 || strings.ContainsFunc(s, notPrintable) {
		return &InvalidError{field, "must be 1 to 200 printable characters"}
	}
	return nil
}

// Key is an API key without its secret.
type Key struct {
	ID            string // 8 characters, the part of the key that may be shown
	CustomerID    string // the user it acts for
	Name          string
	Scopes        []string
	TrainingOptIn bool // whether its prompts may join the labeling pool
	RPM           int  // requests a minute
	CreatedAt     time.Time
	ExpiresAt     *time.Time
	RevokedAt     *time.Time
	LastUsedAt    *time.Time
}

// Allows says whether the key has the scope.
func (k Key) Allows(scope string) bool { return slices.Contains(k.Scopes, scope) }

// DefaultRPM is the limit of a key made without one.
const DefaultRPM = 60

// NewKey is what an API key is made from.
type NewKey struct {
	CustomerID    string
	Name          string
	Scopes        []string // empty: DefaultScopes
	TrainingOptIn bool
	RPM           int           // requests a minute; 0: DefaultRPM
	Lifetime      time.Duration // 0: no end
	Actor         string        // who makes it, for the audit log
}

// Usage is what one request used.
type Usage struct {
	KeyID            string // empty for the chat page
	UserID           string // the customer, or the person at the chat page
	Endpoint         string // such as /v1/chat/completions
	ModelVersion     string
	PromptTokens     int
	CompletionTokens int
	Finish           string // stop, length, cancelled or error
	Duration         time.Duration
}

// Day is the usage of one key, model and UTC day.
type Day struct {
	Day              time.Time
	KeyID            string
	ModelVersion     string
	Requests         int64
	PromptTokens     int64
	CompletionTokens int64
}
