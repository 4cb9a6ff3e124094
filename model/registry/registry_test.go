package registry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/rankloop/rankloop/migrations/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// shelf is a database with a store.
type shelf struct {
	*testing.T
	pool  *pgxpool.Pool
	store *Store
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	pool := pgtest.New(t)
	return &shelf{t, pool, NewStore(pool)}
}

// tx runs f in a transaction and returns its error.
func (s *shelf) tx(f func(tx pgx.Tx) error) error { return pgx.BeginFunc(s.Context(), s.pool, f) }

func (s *shelf) register(v Version) Version {
	s.Helper()
	var got Version
	if err := s.tx(func(tx pgx.Tx) (err error) { got, err = s.store.Register(s.Context(), tx, v); return err }); err != nil {
		s.Fatal(err)
	}
	return got
}

func (s *shelf) version(kind, name string, parents ...string) Version {
	s.Helper()
	return s.register(Version{Kind: kind, Name: name, Digest: "sha256:" + name, Parents: parents})
}

func (s *shelf) promote(channel, id string) error {
	return s.tx(func(tx pgx.Tx) error { return s.store.Promote(s.Context(), tx, channel, id, "user:admin", "") })
}

func (s *shelf) rollback(channel string) (v Version, err error) {
	err = s.tx(func(tx pgx.Tx) error {
		v, err = s.store.Rollback(s.Context(), tx, channel, "user:admin", "worse")
		return err
	})
	return v, err
}

func (s *shelf) serving(channel string) string {
	s.Helper()
	v, err := s.store.Serving(s.Context(), channel)
	if err != nil {
		s.Fatal(err)
	}
	return v.Name
}

func TestRegister(t *testing.T) {
	s := newShelf(t)
	base := s.version(Base, "base")
	run, round, snapshot := uuid.Must(uuid.NewV7()).String(), uuid.Must(uuid.NewV7()).String(), "snap-1"
	want := Version{Kind: Reward, Name: "rm", Digest: "d1", Parents: []string{base.ID}, RunID: &run, RoundID: &round, Snapshot: &snapshot,
		Metrics: map[string]float64{"accuracy": 0.71, "nan": math.NaN(), "inf": math.Inf(-1)}}
	got := s.register(want)
	want.ID, want.CreatedAt = got.ID, got.CreatedAt
	want.Metrics = map[string]float64{"accuracy": 0.71}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registered (-want +got):\n%s", diff)
	}
	read, err := s.store.Get(t.Context(), got.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, read); diff != "" {
		t.Errorf("read back:\n%s", diff)
	}
	// The last step of a run that is repeated after a crash.
	again := want
	again.ID, again.Name = "", "another"
	if got := s.register(again); got.ID != want.ID || got.Name != "rm" {
		t.Errorf("registered twice: %+v", got)
	}
	// Another run may come to the same weights; so may an import.
	other := uuid.Must(uuid.NewV7()).String()
	again.RunID = &other
	imported := again
	imported.RunID = nil
	if a, b := s.register(again), s.register(imported); a.ID == want.ID || b.ID == want.ID || a.ID == b.ID {
		t.Error("versions of other runs were taken for the same")
	}
	if b, c := s.register(imported), s.register(imported); b.ID != c.ID {
		t.Error("an import was registered twice")
	}
	list, err := s.store.List(t.Context(), Reward, 10)
	if err != nil || len(list) != 3 || list[2].ID != want.ID {
		t.Errorf("rewards: %+v, %v", list, err)
	}
	if list, err := s.store.List(t.Context(), "", 2); err != nil || len(list) != 2 {
		t.Errorf("two of all: %d, %v", len(list), err)
	}
	for _, ref := range []string{base.ID, "base", "sha256:base", "sha256:b"} {
		if v, err := s.store.Find(t.Context(), ref); err != nil || v.ID != base.ID {
			t.Errorf("Find(%q): %+v, %v", ref, v, err)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	s := newShelf(t)
	for name, v := range map[string]Version{
		"kind":           {Kind: "gpt", Name: "a", Digest: "d"},
		"name":           {Kind: SFT, Digest: "d"},
		"digest":         {Kind: SFT, Name: "a"},
		"unknown parent": {Kind: SFT, Name: "a", Digest: "d", Parents: []string{uuid.Must(uuid.NewV7()).String()}},
		"no id":          {Kind: SFT, Name: "a", Digest: "d", Parents: []string{"base"}},
	} {
		var invalid *InvalidError
		if err := s.tx(func(tx pgx.Tx) error { _, err := s.store.Register(t.Context(), tx, v); return err }); !errors.As(err, &invalid) {
			t.Errorf("%s: %v, want an InvalidError", name, err)
		}
	}
	if list, _ := s.store.List(t.Context(), "", 10); len(list) != 0 {
		t.Errorf("refused and stored: %+v", list)
	}
	for _, id := range []string{"", "x", uuid.Nil.String(), uuid.Must(uuid.NewV7()).String()} {
		_, getErr := s.store.Get(t.Context(), id)
		_, lineErr := s.store.Lineage(t.Context(), id)
		if !errors.Is(getErr, ErrNotFound) || !errors.Is(lineErr, ErrNotFound) || !errors.Is(s.promote("c", id), ErrNotFound) {
			t.Errorf("%q: %v, %v", id, getErr, lineErr)
		}
	}
	if _, err := s.store.Find(t.Context(), "nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Find: %v", err)
	}
}

// base -> sft -> rm1, policy1 (of sft and rm1) -> rm2, policy2 (of policy1 and rm2)
func TestLineage(t *testing.T) {
	s := newShelf(t)
	base := s.version(Base, "base")
	sft := s.version(SFT, "sft", base.ID)
	rm1 := s.version(Reward, "rm1", sft.ID)
	p1 := s.version(Policy, "p1", sft.ID, rm1.ID)
	rm2 := s.version(Reward, "rm2", p1.ID)
	p2 := s.version(Policy, "p2", p1.ID, rm2.ID)
	s.version(Policy, "unrelated", base.ID)
	line, err := s.store.Lineage(t.Context(), p2.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for i, a := range line {
		got[a.Name] = a.Depth
		if i > 0 && a.Depth < line[i-1].Depth {
			t.Error("not nearest first")
		}
	}
	if diff := cmp.Diff(map[string]int{"p2": 0, "p1": 1, "rm2": 1, "sft": 2, "rm1": 2, "base": 3}, got); diff != "" || len(line) != 6 {
		t.Errorf("lineage (-want +got):\n%s", diff)
	}
	if p, _ := s.store.Get(t.Context(), p2.ID); !cmp.Equal(p.Parents, []string{p1.ID, rm2.ID}) {
		t.Errorf("parents %v: not in the order given", p.Parents)
	}
}

func TestPromoteAndRollBack(t *testing.T) {
	s := newShelf(t)
	a, b, c := s.version(Policy, "a"), s.version(Policy, "b"), s.version(Policy, "c")
	if _, err := s.store.Serving(t.Context(), "default"); !errors.Is(err, ErrNotFound) {
		t.Errorf("serving before any promotion: %v", err)
	}
	if _, err := s.rollback("default"); !errors.Is(err, ErrNotFound) {
		t.Errorf("rolling back nothing: %v", err)
	}
	for _, v := range []Version{a, b, b, c} { // the second b changes nothing
		if err := s.promote("default", v.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.promote("canary", a.ID); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"b", "a"} {
		v, err := s.rollback("default")
		if err != nil || v.Name != want || s.serving("default") != want {
			t.Errorf("rolled back to %q, serving %q, error %v; want %s", v.Name, s.serving("default"), err, want)
		}
	}
	if _, err := s.rollback("default"); !errors.Is(err, ErrConflict) {
		t.Errorf("rolling back the first: %v, want ErrConflict", err)
	}
	if err := s.promote("default", c.ID); err != nil || s.serving("default") != "c" {
		t.Errorf("promoting after rolling back: %v", err)
	}
	if v, err := s.rollback("default"); err != nil || v.Name != "a" {
		t.Errorf("rolled back to %q, %v; want a, which c replaced", v.Name, err)
	}
	if s.serving("canary") != "a" {
		t.Error("the channels are not apart")
	}
	history, err := s.store.ServingHistory(t.Context(), "default", 100)
	if err != nil {
		t.Fatal(err)
	}
	var names string
	live := 0
	for _, p := range history {
		names += p.Version.Name
		if p.Rollback {
			names += "!"
		}
		if p.Live {
			live++
		}
		if p.Live != (p.Until == nil) || p.Actor != "user:admin" {
			t.Errorf("row %+v", p)
		}
	}
	if names != "a!ca!b!cba" || live != 1 {
		t.Errorf("history %q with %d live", names, live)
	}
	var acts string
	if err := s.pool.QueryRow(t.Context(), `SELECT string_agg(act || ' ' || (detail->>'channel'), ',' ORDER BY id) FROM audit`).Scan(&acts); err != nil {
		t.Fatal(err)
	}
	const p, r = "model.promote default,", "model.rollback default"
	if want := p + p + p + "model.promote canary," + r + "," + r + "," + p + r; acts != want {
		t.Errorf("audit:\n%s, want\n%s", acts, want)
	}
}

// Pointer, history, audit and notification appear together or not at all.
func TestPromotionIsOneTransaction(t *testing.T) {
	s := newShelf(t)
	a, b := s.version(Policy, "a"), s.version(Policy, "b")
	ctx, cancel := context.WithCancel(t.Context())
	started, heard, ended := make(chan struct{}), make(chan string, 10), make(chan error)
	go func() {
		ended <- s.store.Listen(ctx, func() { close(started) }, func(channel string) {
			heard <- channel + " " + s.serving(channel) // who hears of it finds it done
		})
	}()
	<-started
	hear := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("heard %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("heard nothing")
		}
	}
	if err := s.promote("default", a.ID); err != nil {
		t.Fatal(err)
	}
	hear("default a") // before the next promotion, which a late listener would see instead
	stop := errors.New("no")
	if err := s.tx(func(tx pgx.Tx) error {
		return errors.Join(s.store.Promote(t.Context(), tx, "default", b.ID, "user:1", ""), stop)
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if s.serving("default") != "a" {
		t.Error("a promotion that was rolled back serves")
	}
	if err := s.promote("default", b.ID); err != nil {
		t.Fatal(err)
	}
	hear("default b")
	cancel()
	<-ended
	if len(heard) != 0 {
		t.Errorf("heard of a promotion that was rolled back: %s", <-heard)
	}
	var audits int
	s.pool.QueryRow(t.Context(), `SELECT count(*) FROM audit`).Scan(&audits)
	if audits != 2 {
		t.Errorf("%d audit rows for 2 promotions", audits)
	}
}

// Many at once: one is live, each one's former is the one before it.
func TestConcurrentPromotions(t *testing.T) {
	s := newShelf(t)
	var all []Version
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		all = append(all, s.version(Policy, name))
	}
	var wg sync.WaitGroup
	for _, v := range all {
		wg.Go(func() {
			for range 5 {
				if err := s.promote("default", v.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	history, err := s.store.ServingHistory(t.Context(), "default", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range history {
		if p.Live != (i == 0) {
			t.Errorf("row %d of the history: live %v", i, p.Live)
		}
		if i > 0 && p.Version.ID == history[i-1].Version.ID {
			t.Error("the same version was promoted over itself")
		}
	}
	for i := 1; i < len(history); i++ {
		v, err := s.rollback("default")
		if err != nil || v.ID != history[i].Version.ID {
			t.Fatalf("rollback %d came to %s (%v), the history says %s", i, v.Name, err, history[i].Version.Name)
		}
	}
	// The unique index holds where the code would not.
	_, err = s.pool.Exec(t.Context(), `INSERT INTO serving (channel, version_id, actor) VALUES ('default', $1, 'x')`, all[0].ID)
	if err == nil {
		t.Error("two live rows in one channel")
	}
}

// TestLearned: in graphs made by chance, the versions that learned from snapshots are those that a walk over all edges finds.
func TestLearned(t *testing.T) {
	s := newShelf(t)
	rng := rand.New(rand.NewPCG(3, 4))
	var all []Version
	for i := range 60 {
		v := Version{Kind: Policy, Name: fmt.Sprintf("v%d", i), Digest: fmt.Sprintf("d%d", i)}
		if rng.IntN(3) == 0 {
			snapshot := fmt.Sprintf("s%d", rng.IntN(8))
			v.Snapshot = &snapshot
		}
		for range rng.IntN(3) {
			if len(all) > 0 {
				if p := all[rng.IntN(len(all))].ID; !slices.Contains(v.Parents, p) {
					v.Parents = append(v.Parents, p)
				}
			}
		}
		all = append(all, s.register(v))
	}
	for range 30 {
		var snapshots []string
		for i := range 8 {
			if rng.IntN(4) == 0 {
				snapshots = append(snapshots, fmt.Sprintf("s%d", i))
			}
		}
		tainted := map[string]bool{}
		var want []string
		for _, v := range all { // parents come before their children
			if v.Snapshot != nil && slices.Contains(snapshots, *v.Snapshot) || slices.ContainsFunc(v.Parents, func(p string) bool { return tainted[p] }) {
				tainted[v.ID], want = true, append(want, v.Name)
			}
		}
		list, err := s.store.Learned(t.Context(), snapshots)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range list {
			got = append(got, v.Name)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v: %v, want %v", snapshots, got, want)
		}
	}
}

// TestCollect: weights go of what neither serves, nor served lately, nor is new, nor is needed, nor stands behind these; what went can
// not serve any more, and shared weights stay.
func TestCollect(t *testing.T) {
	s := newShelf(t)
	ctx := t.Context()
	base := s.version(Base, "base")
	old := s.version(SFT, "old-sft", base.ID)
	sft := s.version(SFT, "sft", base.ID)
	s.version(SFT, "new-sft")
	var policies, rewards []Version
	former := sft
	for i := range 6 {
		rewards = append(rewards, s.version(Reward, fmt.Sprintf("reward-%d", i), sft.ID))
		former = s.version(Policy, fmt.Sprintf("policy-%d", i), former.ID, rewards[i].ID)
		policies = append(policies, former)
	}
	promote := func(v Version) error { return s.promote("default", v.ID) }
	for _, i := range []int{0, 2, 1} { // 1 serves, 2 before it
		if err := promote(policies[i]); err != nil {
			t.Fatal(err)
		}
	}
	run := uuid.Must(uuid.NewV7()).String()
	s.register(Version{Kind: Policy, Name: "twin", Digest: policies[0].Digest, RunID: &run}) // the newest policy has the weights of the oldest
	collect := func(keep int, needed ...string) (names []string) {
		t.Helper()
		err := s.tx(func(tx pgx.Tx) error {
			list, err := s.store.Collect(ctx, tx, keep, needed)
			for _, v := range list {
				names = append(names, v.Name)
				if v.GoneAt == nil {
					t.Errorf("%s is not marked", v.Name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	// Kept for each kind: base, new-sft, reward-5, twin (and with it policy-0); serving: policy-1 with policy-0 and reward-1 behind it;
	// needed: reward-3 with sft behind it. Nothing needs old-sft.
	if got, want := collect(1, rewards[3].ID), []string{"old-sft", "reward-0", "policy-2", "reward-2", "policy-3", "reward-4", "policy-4", "policy-5"}; !sameNames(got, want) {
		t.Errorf("gone %v, want %v", got, want)
	}
	if got := collect(1, rewards[3].ID); len(got) > 0 {
		t.Errorf("gone again: %v", got)
	}
	if got := collect(1); !sameNames(got, []string{"reward-3"}) {
		t.Errorf("gone when nobody needs it any more: %v", got)
	}
	digests, err := s.store.Collected(ctx)
	if err != nil || slices.Contains(digests, policies[0].Digest) || !slices.Contains(digests, old.Digest) || len(digests) != 9 {
		t.Errorf("digests %v, %v", digests, err)
	}
	if err := promote(policies[4]); !errors.Is(err, ErrConflict) || s.serving("default") != "policy-1" {
		t.Errorf("what went serves: %v", err)
	}
	err = s.tx(func(tx pgx.Tx) error { _, err := s.store.Rollback(ctx, tx, "default", "test", ""); return err })
	if !errors.Is(err, ErrConflict) || s.serving("default") != "policy-1" {
		t.Errorf("rolled back to what went: %v", err)
	}
	err = s.tx(func(tx pgx.Tx) error { _, err := s.store.Collect(ctx, tx, 0, nil); return err })
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Errorf("keep 0: %v", err)
	}
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
