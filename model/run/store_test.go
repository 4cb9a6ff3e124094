package run

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

func TestCreateGetList(t *testing.T) {
	b := newBench(t)
	round := uuid.Must(uuid.NewV7()).String()
	var r Run
	b.tx(func(tx pgx.Tx) (err error) {
		r, err = b.store.Create(t.Context(), tx, toyKind, json.RawMessage(`{"Steps": 3}`), &round)
		return err
	})
	got := b.run(r.ID)
	if got.State != Queued || got.Epoch != 1 || *got.RoundID != round || string(got.Config) != `{"Steps": 3}` {
		t.Errorf("created %+v", got)
	}
	b.create(toyConfig{})
	for _, tt := range []struct {
		f    Filter
		want int
	}{{Filter{}, 2}, {Filter{RoundID: round}, 1}, {Filter{Kind: toyKind, State: Queued}, 2}, {Filter{State: Done}, 0}, {Filter{Limit: 1}, 1}} {
		list, err := b.store.List(t.Context(), tt.f)
		if err != nil || len(list) != tt.want {
			t.Errorf("List(%+v): %d runs, error %v; want %d", tt.f, len(list), err, tt.want)
		}
	}
	// The row and its job come and go together.
	pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		if _, err := b.store.Create(t.Context(), tx, toyKind, toyConfig{}, nil); err != nil {
			t.Error(err)
		}
		return errors.New("roll back")
	})
	var jobs int
	b.get(&jobs, `SELECT count(*) FROM river.river_job`)
	if jobs != 2 {
		t.Errorf("%d jobs for 2 runs", jobs)
	}
}

func TestNotFoundAndInvalid(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	for _, id := range []string{"", "x", "00000000-0000-0000-0000-000000000001", "'; DROP TABLE runs"} {
		if _, err := b.store.Get(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v", id, err)
		}
		for name, act := range map[string]func(context.Context, pgx.Tx, string) error{
			"Cancel": b.store.Cancel, "Pause": b.store.Pause, "Resume": b.store.Resume,
		} {
			b.tx(func(tx pgx.Tx) error {
				if err := act(ctx, tx, id); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s(%q): %v", name, id, err)
				}
				return nil
			})
		}
	}
	b.tx(func(tx pgx.Tx) error {
		var invalid *InvalidError
		if _, err := b.store.Create(ctx, tx, "", nil, nil); !errors.As(err, &invalid) {
			t.Errorf("Create without a kind: %v", err)
		}
		if _, err := b.store.Create(ctx, tx, toyKind, math.NaN(), nil); !errors.As(err, &invalid) {
			t.Errorf("Create with a config that is no JSON: %v", err)
		}
		return nil
	})
}

func TestMetricsJSON(t *testing.T) {
	b, err := json.Marshal(Metrics{"a": 1.5, "b": math.NaN(), "c": math.Inf(1)})
	if err != nil || string(b) != `{"a":1.5,"b":null,"c":null}` {
		t.Fatalf("%s, %v", b, err)
	}
	var m Metrics
	if err := json.Unmarshal(b, &m); err != nil || m["a"] != 1.5 || !math.IsNaN(m["b"]) || len(m) != 3 {
		t.Errorf("%v, %v", m, err)
	}
}

func TestListenHearsARun(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	started, heard, ended := make(chan struct{}), make(chan string, 1000), make(chan error)
	go func() { ended <- b.store.Listen(ctx, func() { close(started) }, func(id string) { heard <- id }) }()
	<-started
	b.work(&toyHooks{}, Options{})
	r := b.create(toyConfig{Steps: 2})
	b.wait(r.ID, Done)
	for range 3 { // created, begun, done
		select {
		case id := <-heard:
			if id != r.ID {
				t.Errorf("heard %q", id)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("heard nothing")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Listen ended with %v", err)
	}
}

// The state's folder is whole or not there.
func TestSaveStateIsAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "id", "1-5.state")
	write := func(text string, err error) func(string) error {
		return func(dir string) error {
			if _, statErr := os.Stat(path); err != nil && statErr == nil {
				t.Error("the state is there before it is whole")
			}
			return errors.Join(os.WriteFile(filepath.Join(dir, "state"), []byte(text), 0o600), err)
		}
	}
	if err := saveState(path, write("half", errors.New("disk full"))); err == nil {
		t.Error("the error of Save got lost")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Errorf("a failed Save left %v", entries)
	}
	if err := saveState(path, write("whole", nil)); err != nil {
		t.Fatal(err)
	}
	if err := saveState(path, write("whole", nil)); err != nil {
		t.Errorf("saving again: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(path, "state")); string(b) != "whole" {
		t.Errorf("state %q, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
