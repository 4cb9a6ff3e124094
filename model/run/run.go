package run

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"
)

var (
	// ErrNotFound says that there is no such run.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that the act does not fit the run's state, as pausing one that is done.
	ErrConflict = errors.New("conflict")
)

// InvalidError says which field of the input is wrong and why.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// HaltError says that a run must not go on by itself: it is paused, and Resume goes on. Where Step returns it beside metrics, the step
// was done and its state is kept; without metrics it was not, and the run is back at its last committed step.
type HaltError struct{ Err error }

func (e *HaltError) Error() string { return "halted: " + e.Err.Error() }

// Unwrap gives the reason.
func (e *HaltError) Unwrap() error { return e.Err }

// States of a run.
const (
	Queued    = "queued"    // waits for its first slice, or for the next one after a restart
	Running   = "running"   // a slice works on it, or its next slice is queued
	Paused    = "paused"    // by a person; Resume goes on from the last committed step
	Done      = "done"      // finished, its result registered
	Failed    = "failed"    // by an error that a retry would meet again; see Error
	Cancelled = "cancelled" // by a person
)

// Run is one training run.
type Run struct {
	ID          string          `json:"id"`
	Kind        string          `json:"kind"` // "reward.train"; also the kind of its River jobs
	State       string          `json:"state"`
	Config      json.RawMessage `json:"config"`
	RoundID     *string         `json:"round_id"`
	Epoch       int             `json:"epoch"`     // raised at every restart; writers of an older one are fenced off
	Step        int             `json:"step"`      // steps committed
	LiveStep    int             `json:"live_step"` // steps done, of which the last may not be committed yet
	Total       int             `json:"total"`     // steps in all, 0 while not known
	StateFile   string          `json:"-"`         // trainer's state at Step, relative to Options.Dir; "" at step 0
	Error       string          `json:"error"`     // why it failed
	CreatedAt   time.Time       `json:"created_at"`
	StartedAt   *time.Time      `json:"started_at"`   // of the first slice
	HeartbeatAt *time.Time      `json:"heartbeat_at"` // null while no slice runs
	FinishedAt  *time.Time      `json:"finished_at"`

	restarts int // since the last committed step
}

// Trainer is the work of a run, held in memory by one worker at a time.
type Trainer interface {
	// Step does one optimizer step, or another unit that can't be divided, and returns what it measured. It should end
	// early only when ctx is cancelled; after an error the Trainer is not used any more, but for a HaltError beside metrics.
	Step(ctx context.Context) (Metrics, error)
	// Done tells that no step is left.
	Done() bool
	// Progress returns the steps done and the steps in all (0: not known yet). step grows by one with each Step.
	Progress() (step, total int)
	// Save writes the whole state into the folder dir. Two Trainers in the same state write the same bytes.
	Save(dir string) error
	// Load restores what Save wrote. What follows is bit for bit what would have followed without Save and Load.
	Load(dir string) error
}

// Metrics are the numbers of one step, by name. In the database and in JSON a number that is not finite is null.
type Metrics map[string]float64

// MarshalJSON writes numbers that JSON can't hold as null.
func (m Metrics) MarshalJSON() ([]byte, error) {
	object := make(map[string]*float64, len(m))
	for name, x := range m {
		if object[name] = nil; !math.IsNaN(x) && !math.IsInf(x, 0) {
			object[name] = &x
		}
	}
	return json.Marshal(object)
}

// UnmarshalJSON reads null as NaN.
func (m *Metrics) UnmarshalJSON(b []byte) error {
	var object map[string]*float64
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	*m = make(Metrics, len(object))
	for name, x := range object {
		(*m)[name] = math.NaN()
		if x != nil {
			(*m)[name] = *x
		}
	}
	return nil
}

// Point is what one step measured.
type Point struct {
	Step    int       `json:"step"`
	At      time.Time `json:"at"`
	Metrics Metrics   `json:"metrics"`
}
