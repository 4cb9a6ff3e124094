package labeling

import (
	"errors"
	"fmt"
	"strings"
)

// The room's sentinels. Every error that leaves the package is one of these, an
// InvalidError, a FrozenError or an error of the database, wrapped once with the
// operation and the id.
var (
	// ErrNotFound: no such row, or not this labeler's, or hidden by its customer.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row is in a state that forbids the act, or an idempotency
	// key was used before with another body.
	ErrConflict = errors.New("conflict")
	// ErrEmpty: nothing is left for this labeler (Claim), nothing matches (Snapshot).
	ErrEmpty = errors.New("nothing to do")
	// ErrUnqualified: the project wants labelers to pass its test first.
	ErrUnqualified = errors.New("not qualified")
	// ErrCapped: the customer has its full number of prompts in this project.
	ErrCapped = errors.New("prompt cap of the customer reached")
	// ErrAlike: the project has a prompt that begins with the same PrefixRunes characters.
	ErrAlike = errors.New("a prompt that begins alike is there")
	// ErrErased: rows of the snapshot were erased since; it is no longer what was hashed.
	ErrErased = errors.New("rows of it were erased")
	// ErrTooManyLeases: the labeler holds MaxLeases tasks at once.
	ErrTooManyLeases = errors.New("too many tasks held at once")
)

// InvalidError says which field of the input is wrong and why. Field is a path in
// the caller's terms, such as "ranks" or "messages[2].content", "" where the whole is wrong. Reason is the English sentence
// Form with Args in their places; pages say Form in the reader's language.
type InvalidError struct {
	Field  string
	Reason string
	Form   string
	Args   []any
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...), Form: format, Args: args}
}

// reasonParts are what is kept of a reason: field, form and arguments as JSON holds them. form is "" where an error is no
// InvalidError.
func reasonParts(err error) (field, form string, args []any) {
	var e *InvalidError
	if !errors.As(err, &e) || e.Form == "" {
		return "", "", []any{}
	}
	args = make([]any, len(e.Args))
	for i, a := range e.Args {
		switch a.(type) {
		case int, int32, int64:
			args[i] = a
		default:
			args[i] = storable(fmt.Sprint(a))
		}
	}
	return storable(e.Field), e.Form, args
}

// storable is s without what Postgres refuses.
func storable(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "?"), "?")
}

// storedReason puts a reason together again.
func storedReason(reason, field, form string, args []any) error {
	if form == "" {
		return errors.New(reason)
	}
	for i, a := range args {
		if n, ok := a.(float64); ok { // all were whole
			args[i] = int(n)
		}
	}
	return &InvalidError{Field: field, Reason: strings.TrimPrefix(reason, field+": "), Form: form, Args: args}
}

// FrozenError: the ranking is part of a snapshot and cannot be changed any more.
// errors.Is(err, ErrConflict) holds.
type FrozenError struct {
	Ranking  string // id
	Snapshot string // name of the first snapshot that holds it
}

func (e *FrozenError) Error() string {
	return "ranking " + e.Ranking + " is frozen by snapshot " + e.Snapshot
}

// Is makes a FrozenError a kind of ErrConflict.
func (e *FrozenError) Is(target error) bool { return target == ErrConflict }
