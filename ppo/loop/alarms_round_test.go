package loop_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestRoundStoppedByAlarm: an alarm stops the PPO run of a round with its checkpoint kept, tells everybody, and a person who says why
// lets it go on to the end.
func TestRoundStoppedByAlarm(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if _, err := b.labeling.AddWebhook(ctx, "https://example.com/hook", nil, "test"); err != nil {
		t.Fatal(err)
	}
	c := smallRound()
	c.Promotion, c.PPO.Iterations, c.PPO.LR = loop.PromoteByHand, 4, 3e-3
	tight := 1e-9
	c.Alarms = loop.Limits{loop.RuleKL: &tight}
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, r.ID, is(loop.StageRank))
	b.rank(t)
	r = b.until(t, r.ID, is(loop.StagePPO))
	for r.PausedAt == nil {
		if r = b.until(t, r.ID, is(loop.StagePPO)); r.PausedAt == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	v, err := b.loop.Runs.Get(ctx, r.PPORunID)
	if err != nil || v.State != run.Paused || v.StateFile == "" || v.Step == 0 || v.Step != v.LiveStep {
		t.Fatalf("%+v, %v", v, err)
	}
	alarms, err := b.loop.Alarms(ctx, r.ID, 10)
	if err != nil || len(alarms) != 1 || !alarms[0].Open() {
		t.Fatalf("%+v, %v", alarms, err)
	}
	a := alarms[0]
	points, err := b.loop.Runs.Metrics(ctx, r.PPORunID, -1)
	if err != nil || len(points) != v.Step || points[len(points)-1].Metrics["kl"] != a.Value {
		t.Errorf("the figure is not on the curve: %+v, %d points, %v", a, len(points), err)
	}
	if a.Rule != loop.RuleKL || a.Value <= tight || a.Threshold != tight || a.Step != v.Step || a.RunID != v.ID || !strings.Contains(a.Message, "above") {
		t.Errorf("%+v", a)
	}
	count := func(sql string) (n int) {
		t.Helper()
		if err := b.pool.QueryRow(ctx, sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(`SELECT count(*) FROM audit WHERE act = 'round.alarm'`); n != 1 {
		t.Errorf("%d rows in the log", n)
	}
	if n := count(`SELECT count(*) FROM webhook_deliveries WHERE event = 'round.alarm'`); n != 1 {
		t.Errorf("%d webhook events", n)
	}
	if err := b.loop.Resume(ctx, r.ID, "ada"); !errors.Is(err, loop.ErrConflict) {
		t.Errorf("resumed without a reason: %v", err)
	}
	var invalid *loop.InvalidError
	zero, wide := 0.0, 40.0
	if err := b.loop.ResumeAlarm(ctx, r.ID, "ada", " ", nil); !errors.As(err, &invalid) || invalid.Field != "reason" {
		t.Error(err)
	}
	if err := b.loop.ResumeAlarm(ctx, r.ID, "ada", "go", &zero); !errors.As(err, &invalid) || invalid.Field != "limit" {
		t.Error(err)
	}
	if err := b.loop.ResumeAlarm(ctx, r.ID, "ada", "the limit was a slip of the pen", &wide); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.ResumeAlarm(ctx, r.ID, "ada", "again", nil); !errors.Is(err, loop.ErrConflict) {
		t.Error(err)
	}
	r = b.until(t, r.ID, is(loop.StageDecide))
	alarms, err = b.loop.Alarms(ctx, r.ID, 10)
	if err != nil || len(alarms) != 1 || alarms[0].Open() || alarms[0].AnsweredBy != "ada" || *alarms[0].NewLimit != wide {
		t.Errorf("a healthy run trips nothing: %+v, %v", alarms, err)
	}
	if n := count(`SELECT count(*) FROM audit WHERE act = 'round.alarm_resume' AND detail->>'reason' LIKE 'the limit%'`); n != 1 {
		t.Errorf("%d rows in the log", n)
	}
	b.samples(t, r)
	times, err := b.loop.Timeline(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	last := r.StartedAt
	for _, s := range times[1:] { // without SFT
		if s.Began == nil || s.Began.Before(last) || (s.Ended == nil) != (s.Stage == loop.StageDecide) {
			t.Fatalf("stage %s: %+v", s.Stage, s)
		}
		last = *s.Began
	}
}

// samples looks at what the policy of a finished run said on its way.
func (b *bench) samples(t *testing.T, r loop.Round) {
	t.Helper()
	ctx := t.Context()
	asked, err := b.loop.SampledPrompts(ctx, r.PPORunID)
	if err != nil || len(asked) == 0 {
		t.Fatal(asked, err)
	}
	if p, err := b.labeling.Prompt(ctx, asked[0].ID); err != nil || p.Split != labeling.Test {
		t.Errorf("%+v is not held out, %v", p, err)
	}
	list, err := b.loop.Samples(ctx, r.PPORunID, 0)
	if err != nil || len(list) != r.Config.PPO.Iterations+1 {
		t.Fatalf("%d samples, %v", len(list), err)
	}
	for i, s := range list {
		if s.Iteration != i || len(s.IDs) == 0 || len(s.Pieces) != len(s.IDs) || len(s.KL) != len(s.IDs) || len(s.Logprobs) != len(s.IDs) || s.HeldScore == nil || s.HeldBy != "gold" {
			t.Errorf("%+v", s)
		}
		if i == 0 && math.Abs(s.TotalKL()) > 1e-3 || i == len(list)-1 && s.TotalKL() == 0 {
			t.Errorf("iteration %d: KL %g", i, s.TotalKL())
		}
	}
	scores, err := b.loop.SampledScores(ctx, r.PPORunID)
	if err != nil || len(scores) != len(list) || scores[0].N != len(asked) || scores[0].Held == nil || scores[0].Length <= 0 {
		t.Errorf("%+v, %v", scores, err)
	}
	points, err := b.loop.Runs.Metrics(ctx, r.PPORunID, -1)
	if err != nil {
		t.Fatal(err)
	}
	if first := points[0].Metrics; math.Abs(first["sample_score"]-scores[0].Proxy) > 1e-9 || math.Abs(first["sample_held_score"]-*scores[0].Held) > 1e-9 {
		t.Errorf("%v, want %+v", first, scores[0])
	}
	for _, sql := range []string{`DELETE FROM prompt_sources WHERE prompt_id = $1`, `DELETE FROM prompts WHERE id = $1`} { // as an erasure does
		if _, err := b.pool.Exec(ctx, sql, asked[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := b.loop.Samples(ctx, r.PPORunID, 0); err != nil || len(list) > 0 {
		t.Errorf("%d samples of an erased prompt, %v", len(list), err)
	}
}
