package loop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// events are those that the webhooks were told of a round, in order.
func (b *bench) events(t *testing.T, round string) (list []string, data map[string]map[string]any) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT event, payload->'data' FROM webhook_deliveries WHERE payload->'data'->>'round' = $1 ORDER BY payload->>'timestamp', ctid`, round)
	if err != nil {
		t.Fatal(err)
	}
	data = map[string]map[string]any{}
	var event string
	var raw []byte
	if _, err := pgx.ForEachRow(rows, []any{&event, &raw}, func() error {
		var d map[string]any
		list, data[event] = append(list, event), d
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		data[event] = d
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list, data
}

func (b *bench) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// untilRound waits for a round that f accepts, whatever its stage.
func (b *bench) untilRound(t *testing.T, id string, f func(loop.Round) bool) loop.Round {
	t.Helper()
	for {
		r, err := b.loop.View(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if f(r) {
			return r
		}
		if r.Stage.Ended() {
			t.Fatalf("round ended as %s: %s", r.Stage, r.Error)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestPartsOfARound: supervised training alone, a reward model of a snapshot alone, PPO alone by that model, each with its own gate, held
// and let go; every stage is timed and told.
func TestPartsOfARound(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if _, err := b.labeling.AddWebhook(ctx, "https://example.com/hook", []string{"round.*"}, "ada"); err != nil {
		t.Fatal(err)
	}
	c := smallRound()
	c.Parts, c.SFT.Epochs, c.SFT.BatchTokens = []loop.Stage{loop.StageSFT}, 1, 64
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	if r = b.until(t, r.ID, is(loop.StageFailed)); !strings.Contains(r.Error, "no demonstration") {
		t.Fatalf("without demonstrations: %q", r.Error)
	}
	if _, err := b.labeling.AddDemonstrations(ctx, b.project.ID, []labeling.Demonstration{
		{Messages: []labeling.Message{{Role: "user", Content: "say a word"}}, Response: "one two", Origin: "import"},
		{Messages: []labeling.Message{{Role: "user", Content: "say another"}}, Response: "three", Origin: "import"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Retry(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	r = b.until(t, r.ID, is(loop.StageDone))
	sft, err := b.registry.Get(ctx, r.InitVersionID)
	if err != nil || sft.Kind != registry.SFT || sft.Name != "sft-1" || sft.RunID == nil || *sft.RunID != r.SFTRunID || r.SFTVersionID != sft.ID || r.RewardVersionID+r.PolicyVersionID != "" {
		t.Fatalf("%+v made %+v, %v", r, sft, err)
	}
	if got, _ := b.events(t, r.ID); !slices.Equal(got, []string{"round.started", "round.failed", "round.retried", "round.finished"}) {
		t.Errorf("told %q", got)
	}

	// A reward model of a snapshot, with a gate that nothing passes.
	if err := b.loop.AddTasks(ctx, b.project.ID, "practice", 12, 4, 2, 8, 1); err != nil {
		t.Fatal(err)
	}
	b.rank(t)
	snap, err := b.labeling.MakeSnapshot(ctx, b.project.ID, labeling.SnapshotFilter{Name: "mine", Splits: []string{labeling.Train, labeling.Valid}}, "ada")
	if err != nil {
		t.Fatal(err)
	}
	c = smallRound()
	c.Parts, c.Snapshot, c.Gates.RewardAccuracy = []loop.Stage{loop.StageReward}, snap.ID, 0.999
	c.Reward.LR = 0 // it stays at chance
	if r, err = b.loop.Start(ctx, b.project.ID, "test", c); err != nil {
		t.Fatal(err)
	}
	r = b.untilRound(t, r.ID, func(r loop.Round) bool { return r.Held != "" })
	if r.Stage != loop.StageReward || r.Held != loop.GateRewardAccuracy || !strings.Contains(r.Finding, "below the limit of 99.9%") || r.SnapshotID != snap.ID || r.RewardVersionID == "" {
		t.Fatalf("held: %+v", r)
	}
	b.letGo(t, r, loop.StageDone)
	if got, data := b.events(t, r.ID); !slices.Equal(got, []string{"round.started", "round.held", "round.finished"}) || data["round.held"]["gate"] != loop.GateRewardAccuracy {
		t.Errorf("told %q, %v", got, data)
	}

	// PPO alone, by that model, with the KL gate; cancelled while it is held, gone on with, and let go.
	reward := r.RewardVersionID
	c = smallRound()
	c.Parts, c.Base, c.Gates.KL, c.PPO.LR = []loop.Stage{loop.StagePPO}, sft.ID, 1e-9, 0.05
	c.PPO.KL.Max, c.PPO.KL.Min, c.Promotion = 0, -1e6, loop.PromoteByHand
	if r, err = b.loop.Start(ctx, b.project.ID, "test", c); err != nil {
		t.Fatal(err)
	}
	if r.Stage != loop.StagePPO || r.InitVersionID != sft.ID || r.RewardVersionID != reward || r.SnapshotID != snap.ID {
		t.Fatalf("PPO alone: %+v", r)
	}
	r = b.untilRound(t, r.ID, func(r loop.Round) bool { return r.Held != "" })
	if r.Stage != loop.StagePPO || r.Held != loop.GateKL || !strings.Contains(r.Finding, "nats per answer") {
		t.Fatalf("held: %+v", r)
	}
	for what, err := range map[string]error{"pause": b.loop.Pause(ctx, r.ID, "ada"), "no reason": b.loop.Override(ctx, r.ID, "ada", " ")} {
		if err == nil {
			t.Errorf("%s went through", what)
		}
	}
	if err := b.loop.Cancel(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Override(ctx, r.ID, "ada", "why not"); !errors.Is(err, loop.ErrConflict) {
		t.Errorf("a cancelled round: %v", err)
	}
	if err := b.loop.Retry(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	b.letGo(t, r, loop.StageDecide)
	if err := b.loop.Decide(ctx, r.ID, "ada", true); err != nil {
		t.Fatal(err)
	}
	got, data := b.events(t, r.ID)
	if want := []string{"round.started", "round.held", "round.cancelled", "round.retried", "round.stage", "round.stage", "round.promoted", "round.finished"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if v := data["round.promoted"]["version"]; v != r.PolicyVersionID {
		t.Errorf("promoted %v, made %s", v, r.PolicyVersionID)
	}
	times, err := b.loop.StageTimes(ctx, r.ID)
	if err != nil || len(times) != 3 || times[0].Stage != loop.StagePPO || !times[0].Broken || times[1].Stage != loop.StageEvaluate || times[1].Broken || times[1].EndedAt == nil {
		t.Errorf("times %+v, %v", times, err)
	}
}

// letGo overrides the gate that holds a round and waits for what follows.
func (b *bench) letGo(t *testing.T, held loop.Round, next loop.Stage) {
	t.Helper()
	ctx := t.Context()
	if err := b.loop.AdvanceWaiting(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.Override(ctx, held.ID, "user:ada", "  I looked at fifty answers  "); err != nil {
		t.Fatal(err)
	}
	r := b.until(t, held.ID, is(next))
	if len(r.Overrides) != 1 || r.Overrides[0].Gate != held.Held || r.Overrides[0].Finding != held.Finding || r.Overrides[0].Reason != "I looked at fifty answers" || r.Overrides[0].Actor != "user:ada" {
		t.Errorf("overrides %+v", r.Overrides)
	}
	var acts int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM audit WHERE act IN ('round.hold', 'round.override') AND subject = $1`, r.ID).Scan(&acts); err != nil || acts != 2 {
		t.Errorf("%d acts in the audit log, %v", acts, err)
	}
	if alarms, err := b.loop.Alarms(ctx, r.ID, 5); err != nil || !slices.ContainsFunc(alarms, func(a loop.Alarm) bool { return a.Kind == "gate" && a.Message == held.Finding }) {
		t.Errorf("alarms %+v, %v", alarms, err)
	}
}

// TestAgreementGate: labelers who contradict each other keep the round from training until a person says why it may.
func TestAgreementGate(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := smallRound()
	c.OverlapShare, c.Gates.Agreement, c.Parts = 1, 0.6, []loop.Stage{loop.StageRank, loop.StageReward}
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, r.ID, is(loop.StageRank))
	by := func(better func(a, b int) bool) func(texts []string, i int) int {
		return func(texts []string, i int) int {
			rank := 1
			for _, other := range texts {
				if better(len(other), len(texts[i])) {
					rank++
				}
			}
			return rank
		}
	}
	b.rankAs(t, "ann", by(func(a, b int) bool { return a < b }))
	b.rankAs(t, "bob", by(func(a, b int) bool { return a > b }))
	var held loop.Round
	for held.Held == "" {
		if err := b.loop.AdvanceWaiting(ctx); err != nil {
			t.Fatal(err)
		}
		if held, err = b.loop.View(ctx, r.ID); err != nil || held.Stage != loop.StageRank {
			t.Fatalf("%+v, %v", held, err)
		}
	}
	if held.Held != loop.GateAgreement || !strings.Contains(held.Finding, "two labelers agree") || held.SnapshotID != "" {
		t.Fatalf("held: %+v", held)
	}
	if err := b.loop.Proceed(ctx, r.ID, "ada"); !errors.Is(err, loop.ErrConflict) {
		t.Errorf("a held round proceeds without a reason: %v", err)
	}
	b.letGo(t, held, loop.StageDone)
}

// TestCancelKeeps: what a run had written when its round was cancelled is there to go on with.
func TestCancelKeeps(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if err := b.loop.AddTasks(ctx, b.project.ID, "practice", 12, 4, 1, 8, 1); err != nil {
		t.Fatal(err)
	}
	b.rank(t)
	c := smallRound()
	c.Retrain, c.Promotion, c.PPO.Iterations = true, loop.PromoteByHand, 400
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	runs := run.NewStore(b.pool)
	var v run.Run
	for v.Step < 1 || v.StateFile == "" {
		if r = b.until(t, r.ID, is(loop.StagePPO)); r.PPORunID == "" {
			t.Fatal("PPO without a run")
		}
		if v, err = runs.Get(ctx, r.PPORunID); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.loop.Cancel(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if v, err = runs.Get(ctx, r.PPORunID); err != nil || v.State != run.Cancelled || v.StateFile == "" {
		t.Fatalf("cancelled: %+v, %v", v, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(b.models), filepath.FromSlash(v.StateFile))); err != nil {
		t.Fatalf("its state: %v", err)
	}
	kept := v.Step
	if err := b.loop.Retry(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	for v.Step <= kept || v.State != run.Running {
		if v, err = runs.Get(ctx, r.PPORunID); err != nil || v.Step < kept || v.State == run.Failed {
			t.Fatalf("gone on with: %+v, %v", v, err)
		}
	}
	if err := b.loop.Cancel(ctx, r.ID, "ada"); err != nil {
		t.Fatal(err)
	}
}

// TestOneRoundAtATime: of many that start at the same moment one does; the database says so.
func TestOneRoundAtATime(t *testing.T) {
	b := newBench(t)
	errs := make([]error, 6)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, errs[i] = b.loop.Start(context.WithoutCancel(t.Context()), b.project.ID, fmt.Sprint("user ", i), smallRound())
		})
	}
	all.Wait()
	started := 0
	for _, err := range errs {
		if err == nil {
			started++
		} else if !errors.Is(err, loop.ErrConflict) {
			t.Errorf("refused by %v, want ErrConflict", err)
		}
	}
	if started != 1 {
		t.Errorf("%d rounds started", started)
	}
	r, err := b.loop.List(t.Context(), b.project.ID, 5)
	if err != nil || len(r) != 1 {
		t.Fatalf("%d rounds, %v", len(r), err)
	}
	_, err = b.pool.Exec(t.Context(), `INSERT INTO rounds (id, project_id, number, stage, config, actor, init_version_id, sft_version_id)
		SELECT gen_random_uuid(), project_id, 99, 'sample', '{}', 'x', init_version_id, sft_version_id FROM rounds`)
	if err == nil || !strings.Contains(err.Error(), "rounds_one_open") {
		t.Errorf("a second open round in the table: %v", err)
	}
}

// TestTemplates: a setup is saved by name, changed, started from and removed.
func TestTemplates(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	save := func(tpl loop.Template) (loop.Template, error) {
		tpl.ProjectID = b.project.ID
		return b.loop.SaveTemplate(ctx, tpl, "ada")
	}
	first, err := save(loop.Template{Name: " nightly ", Config: smallRound()})
	if err != nil || first.Name != "nightly" || first.CreatedBy != "ada" || first.Config.Seed != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := save(loop.Template{Name: "nightly", Config: smallRound()}); !errors.Is(err, loop.ErrConflict) {
		t.Errorf("a second one of the name: %v", err)
	}
	var invalid *loop.InvalidError
	if _, err := save(loop.Template{Name: " ", Config: smallRound()}); !errors.As(err, &invalid) || invalid.Field != "name" {
		t.Errorf("without a name: %v", err)
	}
	first.Name, first.Config.Prompts = "weekly", 20
	if _, err := save(first); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"weekly", first.ID} {
		if got, err := b.loop.FindTemplate(ctx, b.project.ID, ref); err != nil || got.ID != first.ID || got.Config.Prompts != 20 {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	if err := b.loop.RemoveTemplate(ctx, b.project.ID, first.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if list, err := b.loop.Templates(ctx, b.project.ID); err != nil || len(list) != 0 {
		t.Errorf("%d left, %v", len(list), err)
	}
	if err := b.loop.RemoveTemplate(ctx, b.project.ID, first.ID, "ada"); !errors.Is(err, loop.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

// TestScheduleByAccuracy: a schedule that waits for a stale reward model starts a round only while the newest one is known to be.
func TestScheduleByAccuracy(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := smallRound()
	add := func() error {
		_, err := b.loop.AddSchedule(ctx, loop.Schedule{ProjectID: b.project.ID, AccuracyBelow: 0.6, Config: c, CreatedBy: "ada"})
		return err
	}
	var invalid *loop.InvalidError
	if err := add(); !errors.As(err, &invalid) || invalid.Field != "accuracy_below" {
		t.Fatalf("without a probe: %v", err)
	}
	c.Relabel.Below = 0.6
	if err := add(); err != nil {
		t.Fatal(err)
	}
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	fire := func(want int, what string) {
		t.Helper()
		b.exec(t, `UPDATE schedules SET next_at = now() - interval '1 second'`)
		if err := b.loop.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		if rounds, err := b.loop.List(ctx, b.project.ID, 10); err != nil || len(rounds) != want {
			t.Fatalf("%s: %d rounds, want %d, %v", what, len(rounds), want, err)
		}
	}
	fire(1, "one is under way")
	report := func(low, high float64) {
		b.exec(t, `UPDATE rounds SET stage = 'done', ended_at = now(), report = jsonb_build_object('on_policy', jsonb_build_object('value', 0.55, 'low', $2::float8, 'high', $3::float8, 'n', 300)) WHERE id = $1`, r.ID, low, high)
	}
	b.exec(t, `UPDATE rounds SET stage = 'done', ended_at = now() WHERE id = $1`, r.ID)
	fire(1, "nothing was measured")
	report(0.49, 0.61)
	fire(1, "not known to be below")
	report(0.51, 0.59)
	fire(2, "stale")
	fire(2, "the next one is under way")
}
