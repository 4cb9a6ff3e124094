package registry

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func (s *shelf) begin(id string) (c Canary, err error) {
	err = s.tx(func(tx pgx.Tx) error {
		c, err = s.store.StartCanary(s.Context(), tx, NewCanary{Channel: "default", VersionID: id, Actor: "user:ada", Reason: "try it"})
		return err
	})
	return c, err
}

// TestCanary walks a canary through its states, and sees that nothing else can.
func TestCanary(t *testing.T) {
	s := newShelf(t)
	ctx := t.Context()
	a, b, c := s.version(SFT, "a"), s.version(Policy, "b"), s.version(Policy, "c")
	if _, err := s.begin(b.ID); !errors.Is(err, ErrConflict) {
		t.Errorf("beside nothing: %v", err)
	}
	if err := s.promote("default", a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.begin(a.ID); !errors.Is(err, ErrConflict) {
		t.Errorf("of what serves: %v", err)
	}
	canary, err := s.begin(b.ID)
	if err != nil || canary.Share != 0.01 || canary.State != CanaryRunning || canary.ServingID != a.ID {
		t.Fatalf("%+v %v", canary, err)
	}
	if _, err := s.begin(c.ID); !errors.Is(err, ErrCanaryOpen) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := s.pool.Exec(ctx, `INSERT INTO canaries (id, channel, version_id, serving_id, share, config, actor) SELECT gen_random_uuid(), channel, $1, serving_id, share, config, actor FROM canaries`, c.ID); err == nil {
		t.Error("the database takes two canaries at once")
	}
	if v, open, err := s.store.Routing(ctx, "default"); err != nil || v.ID != a.ID || open == nil || open.Version.ID != b.ID {
		t.Errorf("routing %s %+v %v", v.Name, open, err)
	}
	do := func(f func(tx pgx.Tx) error) {
		t.Helper()
		if err := s.tx(f); err != nil {
			t.Fatal(err)
		}
	}
	do(func(tx pgx.Tx) error { return s.store.PauseCanary(ctx, tx, canary.ID, "user:ada", "wait", true) })
	do(func(tx pgx.Tx) error { return s.store.PauseCanary(ctx, tx, canary.ID, "user:ada", "go", false) })
	do(func(tx pgx.Tx) error {
		grown, err := s.store.GrowCanary(ctx, tx, canary.ID, "canary", "fine", []Verdict{{Guard: GuardErrors, Verdict: VerdictFine}})
		if grown.Share != 0.1 || !grown.StepAt.After(canary.StepAt) {
			t.Errorf("%+v", grown)
		}
		return err
	})
	if err := s.tx(func(tx pgx.Tx) error { _, err := s.store.GrowCanary(ctx, tx, canary.ID, "canary", "", nil); return err }); !errors.Is(err, ErrConflict) {
		t.Errorf("beyond its last step: %v", err)
	}
	// What it answers at its last step is all that the guards see.
	for range 30 {
		err = errors.Join(err, s.store.Observe(ctx, []Observation{{CanaryID: canary.ID, Canary: true, Milliseconds: 900, Cut: true}, {CanaryID: canary.ID, Milliseconds: 100, Reward: new(float64)}}))
	}
	if err = errors.Join(err, s.store.Observe(ctx, []Observation{{CanaryID: canary.ID, Canary: true, Failed: true}})); err != nil {
		t.Fatal(err)
	}
	do(func(tx pgx.Tx) error {
		now, err := s.store.LockCanary(ctx, tx, canary.ID)
		if err != nil {
			return err
		}
		x, y, err := s.store.Sides(ctx, tx, now)
		if want := (Side{Answers: 31, Failed: 1, Cut: 30, Slow: 30, P95: 900}); x != want {
			t.Errorf("canary %+v, want %+v", x, want)
		}
		if want := (Side{Answers: 30, P95: 100, Scored: 30}); y != want {
			t.Errorf("serving %+v, want %+v", y, want)
		}
		now.StepAt = now.StepAt.Add(time.Hour)
		if x, y, _ := s.store.Sides(ctx, tx, now); x != (Side{}) || y != (Side{}) {
			t.Errorf("before its step: %+v %+v", x, y)
		}
		return err
	})
	if err := s.promote("default", b.ID); err != nil {
		t.Fatal(err)
	}
	got, err := s.store.Canary(ctx, canary.ID)
	if err != nil || got.State != CanaryPromoted || got.EndedAt == nil {
		t.Errorf("%+v %v", got, err)
	}
	events, err := s.store.CanaryEvents(ctx, canary.ID)
	var acts []string
	for _, e := range events {
		acts = append(acts, e.Act)
	}
	if err != nil || !slices.Equal(acts, []string{CanaryStart, CanaryPause, CanaryResume, CanaryAdvance, CanaryPromote}) || events[4].Share != 1 || events[3].Verdicts[0].Guard != GuardErrors || events[0].Reason != "try it" {
		t.Errorf("%+v %v", events, err)
	}
	if n := s.audits(b.ID, "canary."); n != 5 {
		t.Errorf("%d rows in the audit log", n)
	}
	for what, f := range map[string]func(tx pgx.Tx) error{
		"advance": func(tx pgx.Tx) error { _, err := s.store.GrowCanary(ctx, tx, canary.ID, "x", "", nil); return err },
		"pause":   func(tx pgx.Tx) error { return s.store.PauseCanary(ctx, tx, canary.ID, "x", "", true) },
		"end": func(tx pgx.Tx) error {
			_, err := s.store.EndCanary(ctx, tx, canary.ID, CanaryAborted, "x", "", nil)
			return err
		},
	} {
		if err := s.tx(f); !errors.Is(err, ErrCanaryEnded) {
			t.Errorf("%s of one that has ended: %v", what, err)
		}
	}
	// Another version's promotion, or a rollback, ends a canary; its weights stay while it is under way.
	second, err := s.begin(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	do(func(tx pgx.Tx) error {
		gone, err := s.store.Collect(ctx, tx, 1, nil)
		if slices.ContainsFunc(gone, func(v Version) bool { return v.ID == c.ID }) {
			t.Error("the weights of a canary are removed")
		}
		return err
	})
	if _, err := s.rollback("default"); err != nil || s.serving("default") != "a" {
		t.Fatal(err)
	}
	if got, err := s.store.Canary(ctx, second.ID); err != nil || got.State != CanaryAborted {
		t.Errorf("%+v %v", got, err)
	}
	if history, err := s.store.ServingHistory(ctx, "default", 1); err != nil || history[0].Reason != "worse" {
		t.Errorf("%+v %v", history, err)
	}
	if n := s.audits(a.ID, "model.rollback"); n != 1 {
		t.Errorf("%d rollbacks in the audit log", n)
	}
}

// audits counts what the audit log says of a subject.
func (s *shelf) audits(subject, act string) (n int) {
	s.Helper()
	if err := s.pool.QueryRow(s.Context(), `SELECT count(*) FROM audit WHERE subject = $1 AND starts_with(act, $2) AND detail ? 'reason'`, subject, act).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

// TestPlanned: a promotion waits for its time, once for a version, and can be taken back.
func TestPlanned(t *testing.T) {
	s := newShelf(t)
	ctx := t.Context()
	a := s.version(SFT, "a")
	plan := func(at time.Time) (p Planned, err error) {
		err = s.tx(func(tx pgx.Tx) error {
			p, err = s.store.Plan(ctx, tx, a.ID, at, "Asia/Taipei", "user:ada", "at night")
			return err
		})
		return p, err
	}
	var invalid *InvalidError
	if _, err := plan(time.Now().Add(-time.Minute)); !errors.As(err, &invalid) || invalid.Field != "at" {
		t.Errorf("of the past: %v", err)
	}
	p, err := plan(time.Date(2100, 3, 1, 20, 0, 0, 0, time.UTC))
	if err != nil || p.Local() != "2100-03-02 04:00 CST" {
		t.Fatalf("%s %v", p.Local(), err)
	}
	if _, err := plan(time.Now().Add(time.Hour)); !errors.Is(err, ErrConflict) {
		t.Errorf("planned twice: %v", err)
	}
	due := func() (n int) {
		if err := s.tx(func(tx pgx.Tx) error { list, err := s.store.Due(ctx, tx); n = len(list); return err }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if due() != 0 {
		t.Error("due before its time")
	}
	if _, err := s.pool.Exec(ctx, `UPDATE planned_promotions SET due_at = now() - interval '1 second'`); err != nil || due() != 1 {
		t.Errorf("not due at its time: %v", err)
	}
	end := func() error {
		return s.tx(func(tx pgx.Tx) error { return s.store.EndPlanned(ctx, tx, p.ID, "cancelled", "user:ada", "no") })
	}
	if err := end(); err != nil || due() != 0 {
		t.Errorf("cancelled: %v", err)
	}
	if err := end(); !errors.Is(err, ErrNotFound) {
		t.Errorf("cancelled twice: %v", err)
	}
	if s.audits(a.ID, "promotion.") != 2 {
		t.Error("the audit log does not have both acts")
	}
}
