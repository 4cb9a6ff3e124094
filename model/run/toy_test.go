package run

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"go.uber.org/goleak"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(child(url, os.Getenv(childDir)))
	}
	goleak.VerifyTestMain(pgtest.Wrap(m))
}

const toyKind = "toy.train"

// toyConfig is the config of a toy run.
type toyConfig struct {
	Steps  int
	Seed   uint64
	Pause  time.Duration // of each step
	FailAt int           // step that returns an error, 0: none
	NaNAt  int           // step whose loss is NaN
	HaltAt int           // step after which the run halts, once
	BalkAt int           // step that is not done, and halts the run
}

// toy is a Trainer whose state after a step depends, to the last bit, on all steps before it.
type toy struct {
	cfg   toyConfig
	step  int
	x     [16]float64
	hooks *toyHooks
}

// toyHooks let a test look and reach into the trainers of its workers.
type toyHooks struct {
	made, loaded atomic.Int64
	halts        atomic.Int64 // how often a step wanted to halt
	halted       func(ctx context.Context, tx pgx.Tx, r Run, cause *HaltError) error
	before       func(ctx context.Context, step int) error // called at the begin of the step with that number, from 1
	prepare      func(r Run) error
	finish       func(ctx context.Context, tx pgx.Tx, r Run) error
	failed       func(ctx context.Context, tx pgx.Tx, r Run, cause error) error
}

func (t *toy) Step(ctx context.Context) (Metrics, error) {
	if t.hooks.before != nil {
		if err := t.hooks.before(ctx, t.step+1); err != nil {
			return nil, err
		}
	}
	if t.step+1 == t.cfg.FailAt {
		return nil, errors.New("loss is not finite\x00\xff") // text that Postgres would refuse
	}
	if t.step+1 == t.cfg.BalkAt && t.hooks.halts.Add(1) == 1 {
		return nil, &HaltError{errors.New("balked")}
	}
	time.Sleep(t.cfg.Pause)
	rng := rand.New(rand.NewPCG(t.cfg.Seed, uint64(t.step)))
	loss := 0.0
	for i := range t.x {
		t.x[i] = math.Sin(t.x[i]*1.7+float64(i)) + rng.NormFloat64()
		loss += t.x[i] * t.x[i]
	}
	t.step++
	if t.step == t.cfg.NaNAt {
		loss = math.NaN()
	}
	m := Metrics{"loss": loss, "step": float64(t.step)}
	if t.step == t.cfg.HaltAt && t.hooks.halts.Add(1) == 1 {
		return m, &HaltError{errors.New("halted")}
	}
	return m, nil
}

func (t *toy) Done() bool                  { return t.step >= t.cfg.Steps }
func (t *toy) Progress() (step, total int) { return t.step, t.cfg.Steps }

func (t *toy) Save(dir string) error {
	b, err := binary.Append(nil, binary.LittleEndian, append([]float64{float64(t.step)}, t.x[:]...))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "state"), b, 0o600)
}

func (t *toy) Load(dir string) error {
	t.hooks.loaded.Add(1)
	b, err := os.ReadFile(filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	var all [17]float64
	if _, err := binary.Decode(b, binary.LittleEndian, &all); err != nil {
		return err
	}
	t.step = int(all[0])
	copy(t.x[:], all[1:])
	return nil
}

// digest of the whole state.
func (t *toy) digest() string {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, append([]float64{float64(t.step)}, t.x[:]...))
	return hex.EncodeToString(h.Sum(nil))
}

// toyRun is the digest that an undisturbed toy of this config ends with.
func toyRun(cfg toyConfig) string {
	t := &toy{cfg: cfg, hooks: &toyHooks{}}
	t.cfg.Pause = 0
	for !t.Done() {
		t.Step(context.Background())
	}
	return t.digest()
}

// toyWorkers are the kind of the toys; Finish writes the digest into the table results.
func toyWorkers(h *toyHooks) []Kind {
	return []Kind{{
		Name: toyKind,
		New: func(_ context.Context, r Run) (Trainer, error) {
			h.made.Add(1)
			t := &toy{hooks: h}
			return t, json.Unmarshal(r.Config, &t.cfg)
		},
		Prepare: func(_ context.Context, r Run, t Trainer) error {
			if h.prepare != nil {
				return h.prepare(r)
			}
			return nil
		},
		Finish: func(ctx context.Context, tx pgx.Tx, r Run, t Trainer) error {
			if h.finish != nil {
				if err := h.finish(ctx, tx, r); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `INSERT INTO results (run_id, digest) VALUES ($1, $2)`, r.ID, t.(*toy).digest())
			return err
		},
		Failed: func(ctx context.Context, tx pgx.Tx, r Run, cause error) error {
			if h.failed != nil {
				return h.failed(ctx, tx, r, cause)
			}
			return nil
		},
		Halted: func(ctx context.Context, tx pgx.Tx, r Run, cause *HaltError) error {
			if h.halted != nil {
				return h.halted(ctx, tx, r, cause)
			}
			return nil
		},
	}}
}

// bench is a database with a store, and what tests do with them.
type bench struct {
	*testing.T
	pool  *pgxpool.Pool
	store *Store
	dir   string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, pool: pgtest.New(t), dir: t.TempDir()}
	b.store = NewStore(b.pool)
	b.exec(`CREATE TABLE results (run_id uuid PRIMARY KEY, digest text NOT NULL)`)
	return b
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.pool.Exec(b.Context(), sql, args...); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
}

func (b *bench) get(dst any, sql string, args ...any) {
	b.Helper()
	if err := b.pool.QueryRow(b.Context(), sql, args...).Scan(dst); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
}

func (b *bench) tx(f func(tx pgx.Tx) error) {
	b.Helper()
	if err := pgx.BeginFunc(b.Context(), b.pool, f); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) create(cfg toyConfig) (r Run) {
	b.Helper()
	b.tx(func(tx pgx.Tx) (err error) {
		r, err = b.store.Create(b.Context(), tx, toyKind, cfg, nil)
		return err
	})
	return r
}

func (b *bench) run(id string) Run {
	b.Helper()
	r, err := b.store.Get(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// work starts a River client as a training process has it; it stops with the test, or by the function returned.
func (b *bench) work(h *toyHooks, opt Options, more ...func(*river.Config)) (stop func()) {
	b.Helper()
	opt.Dir = b.dir
	opt.Logger = slog.New(slog.DiscardHandler)
	client, err := startClient(context.Background(), b.pool, h, opt, more...)
	if err != nil {
		b.Fatal(err)
	}
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := client.StopAndCancel(ctx); err != nil {
			b.Errorf("stopping River: %v", err)
		}
	}
	b.Cleanup(stop)
	return stop
}

func startClient(ctx context.Context, pool *pgxpool.Pool, h *toyHooks, opt Options, more ...func(*river.Config)) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	AddWorkers(workers, NewStore(pool), toyWorkers(h), opt)
	cfg := &river.Config{
		Schema:               "river",
		Workers:              workers,
		Queues:               map[string]river.QueueConfig{Queue: {MaxWorkers: 1}},
		JobTimeout:           time.Minute,
		RescueStuckJobsAfter: 90 * time.Second,
		FetchPollInterval:    100 * time.Millisecond,
		FetchCooldown:        5 * time.Millisecond,
		TestOnly:             true,
		Logger:               slog.New(slog.DiscardHandler),
	}
	for _, f := range more {
		f(cfg)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), cfg)
	if err != nil {
		return nil, err
	}
	return client, client.Start(ctx)
}

// wait waits until the run's state is one of those given.
func (b *bench) wait(id string, states ...string) Run {
	b.Helper()
	var r Run
	b.until(func() bool {
		r = b.run(id)
		for _, s := range states {
			if r.State == s {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("run is %+v, want state %v", r, states) })
	return r
}

func (b *bench) until(ok func() bool, what func() string) {
	b.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain: %s", what())
		}
	}
}

// finished checks that the run ended as an undisturbed one does: same state, one metric row a step, no files left.
func (b *bench) finished(r Run, cfg toyConfig) {
	b.Helper()
	r = b.wait(r.ID, Done, Failed, Cancelled)
	if r.State != Done || r.Step != cfg.Steps || r.Total != cfg.Steps || r.FinishedAt == nil || r.HeartbeatAt != nil {
		b.Fatalf("run ended as %+v", r)
	}
	var digest string
	b.get(&digest, `SELECT digest FROM results WHERE run_id = $1`, r.ID)
	if want := toyRun(cfg); digest != want {
		b.Errorf("final state %s, an undisturbed run ends with %s", digest, want)
	}
	points, err := b.store.Metrics(b.Context(), r.ID, 0)
	if err != nil {
		b.Fatal(err)
	}
	if len(points) != cfg.Steps {
		b.Fatalf("%d metric rows, want %d", len(points), cfg.Steps)
	}
	reference := &toy{cfg: cfg, hooks: &toyHooks{}}
	reference.cfg.Pause = 0
	for i, p := range points {
		want, _ := reference.Step(context.Background())
		if p.Step != i+1 || p.Metrics["loss"] != want["loss"] && !math.IsNaN(want["loss"]) {
			b.Errorf("metric row %d: %+v, want %v", i, p, want)
		}
	}
	b.sweep(r)
	if _, err := os.Stat(runDir(b.dir, r.ID)); !os.IsNotExist(err) {
		b.Errorf("state files of a finished run: %v", err)
	}
	b.until(func() bool {
		var open int
		b.get(&open, `SELECT count(*) FROM river.river_job WHERE kind = $1 AND finalized_at IS NULL AND (args->>'epoch')::int = $2 AND args->>'run_id' = $3`, toyKind, r.Epoch, r.ID)
		return open == 0
	}, func() string { return "jobs of a finished run" })
}

// sweep sweeps as if the run's files were old. A zombie or a kill may leave some for it.
func (b *bench) sweep(r Run) {
	b.Helper()
	names, _ := filepath.Glob(filepath.Join(runDir(b.dir, r.ID), "*"))
	for _, name := range append(names, runDir(b.dir, r.ID)) {
		old := time.Now().Add(-2 * sweepMinAge)
		os.Chtimes(name, old, old)
	}
	if err := b.store.Sweep(b.Context(), b.dir); err != nil {
		b.Fatal(err)
	}
}
