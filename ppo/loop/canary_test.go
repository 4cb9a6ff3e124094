package loop_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// policy registers a policy that came of the serving one.
func (b *bench) policy(t *testing.T, name string) (v registry.Version) {
	t.Helper()
	serving, err := b.registry.Serving(t.Context(), loop.Channel)
	if err == nil {
		err = pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
			v, err = b.registry.Register(t.Context(), tx, registry.Version{Kind: registry.Policy, Name: name, Digest: "sha256:" + name, Parents: []string{serving.ID}})
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// answers are n requests on each side of the canary, of which so many of its own fail.
func (b *bench) answers(t *testing.T, id string, n, failed int) {
	t.Helper()
	var list []registry.Observation
	for i := range n {
		list = append(list, registry.Observation{CanaryID: id, Canary: true, Milliseconds: 100, Failed: i < failed}, registry.Observation{CanaryID: id, Milliseconds: 100})
	}
	if err := b.registry.Observe(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// TestCanaryByItself: what is as good as what serves goes all the way by itself; what fails is taken back by its guard.
func TestCanaryByItself(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	good, bad := b.policy(t, "good"), b.policy(t, "bad")
	cfg := registry.DefaultCanary()
	cfg.Answers, cfg.Least, cfg.Seconds = 20, 20, 0
	look := func() (v loop.CanaryView) {
		t.Helper()
		open, err := b.registry.CanariesOf(ctx, good.ID, 1)
		if err == nil {
			if err = b.loop.WatchCanary(ctx); err == nil {
				v, err = b.loop.Canary(ctx, open[0].ID)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	c, err := b.loop.StartCanary(ctx, good.ID, "user:ada", "try it", cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.StartCanary(ctx, bad.ID, "user:ada", "and this", cfg); !errors.Is(err, registry.ErrCanaryOpen) {
		t.Fatalf("a second canary: %v", err)
	}
	b.answers(t, c.ID, 19, 0)
	if v := look(); v.Step != 0 {
		t.Fatalf("it moved on after 19 answers: %+v", v.Canary)
	}
	if err := b.loop.PauseCanary(ctx, c.ID, "user:ada", "wait"); err != nil {
		t.Fatal(err)
	}
	b.answers(t, c.ID, 1, 0)
	if v := look(); v.Step != 0 || v.State != registry.CanaryPaused {
		t.Fatalf("it moved on while it was paused: %+v", v.Canary)
	}
	if err := b.loop.ResumeCanary(ctx, c.ID, "user:ada", "go on"); err != nil {
		t.Fatal(err)
	}
	if v := look(); v.Share != 0.1 || v.State != registry.CanaryRunning {
		t.Fatalf("after 20 answers: %+v", v.Canary)
	}
	if v := look(); v.Step != 1 || v.Verdicts[0].NCanary != 0 {
		t.Fatalf("what was answered at the first step counts at the second: %+v", v)
	}
	if err := b.loop.AdvanceCanary(ctx, c.ID, 0, "user:ada", "at the first step"); !errors.Is(err, registry.ErrCanaryEnded) {
		t.Fatalf("a page of before moves it on: %v", err)
	}
	b.answers(t, c.ID, 20, 0)
	if v := look(); v.State != registry.CanaryPromoted {
		t.Fatalf("after its last step: %+v", v.Canary)
	}
	if live, err := b.registry.Serving(ctx, loop.Channel); err != nil || live.ID != good.ID {
		t.Fatalf("%s serves, %v", live.Name, err)
	}

	c, err = b.loop.StartCanary(ctx, bad.ID, "user:ada", "try it", cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.answers(t, c.ID, 19, 19)
	if v := look(); !v.Open() && v.State != registry.CanaryPromoted {
		t.Fatalf("%+v", v.Canary)
	}
	if open, err := b.loop.OpenCanary(ctx); err != nil || open.ID != c.ID {
		t.Fatalf("a guard decided on 19 answers: %v", err)
	}
	b.answers(t, c.ID, 1, 1)
	look()
	got, err := b.loop.Canary(ctx, c.ID)
	if err != nil || got.State != registry.CanaryRolledBack || !strings.HasPrefix(got.EndedWhy, "errors: 100.0% of 20, against 0.0% of 20") {
		t.Fatalf("%+v %v", got.Canary, err)
	}
	if registry.Tripped(got.Verdicts) == nil {
		t.Error("the history does not say what the guard saw")
	}
	if live, err := b.registry.Serving(ctx, loop.Channel); err != nil || live.ID != good.ID {
		t.Fatalf("%s serves, %v", live.Name, err)
	}
	if alarms, err := b.loop.Alarms(ctx, "", 10); err != nil || len(alarms) != 1 || alarms[0].Kind != "canary" {
		t.Errorf("alarms %+v, %v", alarms, err)
	}
}

// TestPlannedPromotion: it is made at its time by the clock of its zone, and not when it was cancelled; what cannot be is an alarm.
func TestPlannedPromotion(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	v, other, gone := b.policy(t, "next"), b.policy(t, "other"), b.policy(t, "gone")
	for _, x := range []struct{ at, zone, field string }{{"soon", "UTC", "at"}, {"2100-01-01T04:00", "Mars/Base", "time_zone"}, {"2001-01-01T04:00", "", "at"}, {"2100-03-28T02:30", "Europe/Berlin", "at"}} {
		_, err := b.loop.PlanPromotion(ctx, v.ID, x.at, x.zone, "user:ada", "")
		var invalid *loop.InvalidError
		var late *registry.InvalidError
		if !(errors.As(err, &invalid) && invalid.Field == x.field || errors.As(err, &late) && late.Field == x.field) {
			t.Errorf("%+v: %v", x, err)
		}
	}
	for _, p := range []registry.Version{v, other, gone} {
		if _, err := b.loop.PlanPromotion(ctx, p.ID, "2100-01-01T04:00", "Asia/Taipei", "user:ada", "at night"); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.registry.Planned(ctx, other.ID)
	if err != nil || len(list) != 1 || list[0].DueAt.UTC().Hour() != 20 {
		t.Fatalf("%+v %v", list, err)
	}
	if err := b.loop.CancelPlanned(ctx, list[0].ID, "user:ada", "no"); err != nil {
		t.Fatal(err)
	}
	due := func() string {
		t.Helper()
		if err := b.loop.PromoteDue(ctx); err != nil {
			t.Fatal(err)
		}
		live, err := b.registry.Serving(ctx, loop.Channel)
		if err != nil {
			t.Fatal(err)
		}
		return live.Name
	}
	if got := due(); got != "sft" {
		t.Errorf("%s serves before the time", got)
	}
	if _, err := b.pool.Exec(ctx, `UPDATE model_versions SET weights_gone_at = now() WHERE id = $1`, gone.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Exec(ctx, `UPDATE planned_promotions SET due_at = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	if got := due(); got != "next" {
		t.Errorf("%s serves at the time", got)
	}
	history, err := b.registry.ServingHistory(ctx, loop.Channel, 1)
	if err != nil || history[0].Reason != "at night" || history[0].Actor != "user:ada" {
		t.Errorf("%+v %v", history, err)
	}
	if alarms, err := b.loop.Alarms(ctx, "", 10); err != nil || len(alarms) != 1 || alarms[0].Kind != "promotion" {
		t.Errorf("alarms %+v, %v", alarms, err)
	}
	if list, err := b.registry.Planned(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("%+v still wait, %v", list, err)
	}
}
