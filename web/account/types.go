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
	ErrNotFound  = errors.New("account: not found")
	ErrConflict  = errors.New("account: already exists")
	ErrDenied    = errors.New("account: denied") // wrong password, unknown, expired or revoked credential: never says which
	ErrBusy      = errors.New("account: too many sign-ins at once")
	ErrNoAccount = errors.New("account: nobody has the address, and no account may be made")
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
	Limits
	CreatedAt  time.Time
	ExpiresAt  *time.Time
	RevokedAt  *time.Time
	LastUsedAt *time.Time
	ReplacedBy string // the key that took its place by rotation; empty: none
}

// Limits are how much a key may use.
type Limits struct {
	RPM         int   // requests a minute
	TPM         int   // tokens a minute, of prompts and completions
	DailyTokens int64 // tokens in a UTC day; 0: no quota
}

// Limits of a key made without.
const (
	DefaultRPM = 60
	DefaultTPM = 100_000
)

func (l Limits) check() error {
	switch {
	case l.RPM < 1 || l.RPM > 1_000_000:
		return &InvalidError{"rpm", "must be 1 to 1000000 requests a minute"}
	case l.TPM < 1 || l.TPM > 100_000_000:
		return &InvalidError{"tpm", "must be 1 to 100000000 tokens a minute"}
	case l.DailyTokens < 0 || l.DailyTokens > 1_000_000_000_000:
		return &InvalidError{"daily_tokens", "must be 0 (no quota) to 1000000000000 tokens a day"}
	}
	return nil
}

// Allows says whether the key has the scope.
func (k Key) Allows(scope string) bool { return slices.Contains(k.Scopes, scope) }

// KeyState is whether a key works, and why not.
type KeyState string

// States of a key.
const (
	KeyLive    KeyState = "live"
	KeyEnding  KeyState = "ending" // works until it expires: another has taken its place
	KeyExpired KeyState = "expired"
	KeyRevoked KeyState = "revoked"
)

// State is that of a key at a time.
func (k Key) State(now time.Time) KeyState {
	switch {
	case k.RevokedAt != nil:
		return KeyRevoked
	case k.ExpiresAt != nil && !k.ExpiresAt.After(now):
		return KeyExpired
	case k.ReplacedBy != "":
		return KeyEnding
	}
	return KeyLive
}

// NewKey is what an API key is made from.
type NewKey struct {
	CustomerID    string
	Name          string
	Scopes        []string // empty: DefaultScopes
	TrainingOptIn bool
	RPM           int           // requests a minute; 0: DefaultRPM
	TPM           int           // tokens a minute; 0: DefaultTPM
	DailyTokens   int64         // tokens in a UTC day; 0: no quota
	Lifetime      time.Duration // 0: no end
	Actor         string        // who makes it, for the audit log
}

func (n NewKey) limits() Limits { return Limits{n.RPM, n.TPM, n.DailyTokens} }

// KeyChange is what of a key can be changed while it is in use; the next request meets it.
type KeyChange struct {
	Name          string
	Scopes        []string
	TrainingOptIn bool
	Limits
	Actor string
}

// MaxOverlap is how long a key may work on beside the one that took its place.
const MaxOverlap = 30 * 24 * time.Hour

// Usage is what one request used.
type Usage struct {
	KeyID            string // empty for the chat page
	UserID           string // the customer, or the person at the chat page
	Endpoint         string // such as /v1/chat/completions
	ModelVersion     string
	PromptTokens     int
	CachedTokens     int // of these, those that were not read again
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
	CachedTokens     int64 // of these, those that were not read again
	CompletionTokens int64
}
