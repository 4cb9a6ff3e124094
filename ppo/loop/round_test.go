package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/migrations/pgtest"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/reward"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bench is a small installation: a project, a random policy of a few thousand parameters, and workers.
type bench struct {
	pool     *pgxpool.Pool
	labeling *labeling.Store
	registry *registry.Store
	loop     *loop.Loop
	project  labeling.Project
	models   string       // the folder of the blob store
	free     atomic.Int64 // bytes of memory that are said to be free; 0: not known
}

// lengthJudge prefers answers of few bytes: a preference that the labelers of these tests share.
type lengthJudge struct{}

func (lengthJudge) Name() string { return "gold" }

func (lengthJudge) Judge(_ context.Context, answers []loop.Answer) ([]float64, error) {
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = -float64(len(a.Response))
	}
	return out, nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx, pool := t.Context(), pgtest.New(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	template, err := token.Chat("plain")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{pool: pool, labeling: labeling.NewStore(pool), registry: registry.NewStore(pool)}
	runs, dir := run.NewStore(pool), t.TempDir()
	b.models = filepath.Join(dir, "models")
	blobs := checkpoint.Dir(b.models)
	b.loop = loop.New(loop.Deps{Pool: pool, Labeling: b.labeling, Registry: b.registry, Runs: runs, Blobs: blobs,
		Template: template, Judge: lengthJudge{}, Log: log, Scratch: filepath.Join(dir, "scratch"),
		Free: func() (int64, bool) { n := b.free.Load(); return n, n != 0 }})
	workers := river.NewWorkers()
	b.loop.AddWorkers(workers)
	run.AddWorkers(workers, runs, b.loop.Kinds(), run.Options{Dir: dir, Slice: 200 * time.Millisecond, Logger: log})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: "river", Logger: log, Workers: workers, Middleware: []rivertype.Middleware{b.loop.Middleware()},
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}, run.Queue: {MaxWorkers: 1}, loop.QueueRollout: {MaxWorkers: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	b.loop.SetClient(client)
	if err := client.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := client.StopAndCancel(ctx); err != nil {
			t.Error(err)
		}
	})
	if b.project, err = b.labeling.EnsureProject(ctx, labeling.Project{Name: "main", Question: "ranking", Instructions: "Shorter is better.",
		K: 4, Overlap: 1, PromptCap: 200, Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	b.addPolicy(t, blobs)
	return b
}

func (b *bench) addPolicy(t *testing.T, blobs checkpoint.Blobs) {
	t.Helper()
	ctx := t.Context()
	tok, err := token.Train(slices.Values([]string{"User: say a word please\nAssistant: one two three", "a b c d e f g"}), 300, []string{"<|endoftext|>"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: 64, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 64,
		NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "sft")
	if err := (&checkpoint.Checkpoint{Model: m, Tokenizer: tok, Card: checkpoint.Card{Kind: "sft"}}).Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	digest, err := blobs.Put(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		v, err := b.registry.Register(ctx, tx, registry.Version{Kind: registry.SFT, Name: "sft", Digest: digest})
		if err != nil {
			return err
		}
		if err := b.registry.Promote(ctx, tx, loop.Channel, v.ID, "test", ""); err != nil {
			return err
		}
		for i := range 40 {
			split := []string{labeling.Train, labeling.Train, labeling.Valid, labeling.Test}[i%4]
			if _, _, err := b.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: b.project.ID, Origin: labeling.OriginImport, Split: split,
				Messages: []labeling.Message{{Role: "user", Content: fmt.Sprintf("say word %d", i)}}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// smallRound is a round of a second or two.
func smallRound() loop.Config {
	c := loop.DefaultConfig()
	c.Prompts, c.EvalPrompts, c.MaxTokens, c.Overlap, c.OverlapShare, c.Seed = 24, 10, 8, 2, 0.5, 7
	c.Reward.Epochs, c.Reward.Batch = 2, 8
	c.Reward.Members, c.Reward.Combine = 2, reward.CombineMin // an ensemble goes the whole way
	c.PPO.Iterations, c.PPO.Rollouts, c.PPO.Minibatch, c.PPO.Chunk, c.PPO.MaxTokens = 2, 16, 8, 8, 8
	return c
}

// rank lets two labelers rank whatever is open, shorter answers first.
func (b *bench) rank(t *testing.T) {
	t.Helper()
	for _, who := range []string{"ann", "bob"} {
		b.rankAs(t, who, func(texts []string, i int) int {
			rank := 1
			for _, other := range texts {
				if len(other) < len(texts[i]) {
					rank++
				}
			}
			return rank
		})
	}
}

// rankAs lets one labeler rank whatever is open; rank gives the rank of the i-th answer shown.
func (b *bench) rankAs(t *testing.T, who string, rank func(texts []string, i int) int) {
	t.Helper()
	ctx := t.Context()
	for {
		a, err := b.labeling.Claim(ctx, b.project.ID, who)
		if errors.Is(err, labeling.ErrEmpty) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, x := range a.Answers {
			texts = append(texts, x.Text)
		}
		ranks := make([]int, len(texts))
		for i := range ranks {
			ranks[i] = rank(texts, i)
		}
		if _, err := b.labeling.Submit(ctx, labeling.SubmitInput{AssignmentID: a.ID, LabelerID: who, Ranks: ranks, IdempotencyKey: a.ID}, b.loop.RankingSubmitted); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for the round to reach a stage that f accepts.
func (b *bench) until(t *testing.T, id string, f func(loop.Stage) bool) loop.Round {
	t.Helper()
	for {
		r, err := b.loop.View(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if f(r.Stage) {
			return r
		}
		if r.Stage.Ended() {
			t.Fatalf("round ended as %s: %s", r.Stage, r.Error)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func is(s loop.Stage) func(loop.Stage) bool { return func(x loop.Stage) bool { return x == s } }

// TestRound: a round goes from prompts to a decision, and the next one starts from where it ended.
func TestRound(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := smallRound()
	c.Promotion = loop.PromoteByHand
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.Start(ctx, b.project.ID, "test", c); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("a second open round: %v", err)
	}
	r = b.until(t, r.ID, is(loop.StageRank))
	if r.Progress.Total < 24 {
		t.Fatalf("rankings asked for: %+v", r.Progress)
	}
	b.rank(t)
	r = b.until(t, r.ID, is(loop.StageDecide))
	rep := r.Report
	if rep == nil || rep.WinSFT.N == 0 || rep.RoundRankings == 0 || rep.Agreement.Value != 1 || rep.RewardCeiling != 1 ||
		rep.Judge != "gold" || len(rep.Examples) == 0 || math.IsNaN(rep.KL.Value) || rep.TokensPerS <= 0 {
		t.Fatalf("report: %+v", rep)
	}
	if err := b.loop.Decide(ctx, r.ID, "ada", true); err != nil {
		t.Fatal(err)
	}
	serving, err := b.registry.Serving(ctx, loop.Channel)
	if err != nil || serving.ID != r.PolicyVersionID {
		t.Fatalf("serving %s, want %s: %v", serving.ID, r.PolicyVersionID, err)
	}
	if err := b.loop.Decide(ctx, r.ID, "ada", false); !errors.Is(err, loop.ErrConflict) {
		t.Fatalf("deciding twice: %v", err)
	}
	next, err := b.loop.Start(ctx, b.project.ID, "test", smallRound())
	if err != nil {
		t.Fatal(err)
	}
	if next.Number != 2 || next.InitVersionID != r.PolicyVersionID || next.SFTVersionID != r.SFTVersionID {
		t.Fatalf("next round: %+v", next)
	}
	b.until(t, next.ID, is(loop.StageRank))
	var tasks, scored int // the first round's reward model says what is worth ranking in the second
	if err := b.pool.QueryRow(ctx, `SELECT count(*), count(score) FROM tasks WHERE batch = $1`, next.ID).Scan(&tasks, &scored); err != nil || tasks == 0 || scored != tasks {
		t.Errorf("%d of %d tasks have a score, %v", scored, tasks, err)
	}
	if err := b.loop.Cancel(ctx, next.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if got := b.until(t, next.ID, is(loop.StageCancelled)); got.EndedAt == nil {
		t.Fatal("a cancelled round has no end")
	}
}

// TestRoundWithoutPrompts: nothing to rank is a failure that says what to do.
func TestRoundWithoutPrompts(t *testing.T) {
	b := newBench(t)
	if _, err := b.pool.Exec(t.Context(), `UPDATE prompts SET hidden_at = now()`); err != nil {
		t.Fatal(err)
	}
	r, err := b.loop.Start(t.Context(), b.project.ID, "test", smallRound())
	if err != nil {
		t.Fatal(err)
	}
	r = b.until(t, r.ID, is(loop.StageFailed))
	alarms, err := b.loop.Alarms(t.Context(), r.ID, 10)
	if err != nil || len(alarms) != 1 || r.Error == "" {
		t.Fatalf("error %q, alarms %v, %v", r.Error, alarms, err)
	}
}

// TestSchedule: a due schedule starts one round and moves on; one that cannot start leaves an alarm.
func TestSchedule(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	var invalid *loop.InvalidError
	if _, err := b.loop.AddSchedule(ctx, loop.Schedule{ProjectID: b.project.ID, Cron: "every day", Config: smallRound(), CreatedBy: "ada"}); !errors.As(err, &invalid) || invalid.Field != "cron" {
		t.Fatalf("a bad cron: %v", err)
	}
	sc, err := b.loop.AddSchedule(ctx, loop.Schedule{ProjectID: b.project.ID, Cron: "0 3 * * *", Config: smallRound(), CreatedBy: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	fire := func() {
		t.Helper()
		if _, err := b.pool.Exec(ctx, `UPDATE schedules SET next_at = now() - interval '1 minute'`); err != nil {
			t.Fatal(err)
		}
		if err := b.loop.Tick(ctx); err != nil {
			t.Fatal(err)
		}
	}
	fire()
	rounds, err := b.loop.List(ctx, b.project.ID, 10)
	if err != nil || len(rounds) != 1 {
		t.Fatalf("%d rounds, %v", len(rounds), err)
	}
	fire()
	if alarms, err := b.loop.Alarms(ctx, "", 10); err != nil || len(alarms) != 1 {
		t.Fatalf("alarms %v, %v", alarms, err)
	}
	list, err := b.loop.Schedules(ctx, b.project.ID)
	if err != nil || len(list) != 1 || list[0].LastAt == nil || !list[0].NextAt.After(*list[0].LastAt) {
		t.Fatalf("schedules %+v, %v", list, err)
	}
	if err := b.loop.EnableSchedule(ctx, sc.ID, "ada", false); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.RemoveSchedule(ctx, sc.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if err := b.loop.RemoveSchedule(ctx, sc.ID, "ada"); !errors.Is(err, loop.ErrNotFound) {
		t.Fatalf("removing twice: %v", err)
	}
}

// TestScheduleByRankings: a schedule without a clock starts a round once so much has been ranked, and waits in silence until then;
// a clock is read in its time zone.
func TestScheduleByRankings(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for _, bad := range []struct {
		field string
		sc    loop.Schedule
	}{
		{"time_zone", loop.Schedule{Cron: "0 3 * * *", TimeZone: "Middle/Earth"}},
		{"time_zone", loop.Schedule{Cron: "0 3 * * *", TimeZone: "Local"}},
		{"rankings", loop.Schedule{Cron: "0 3 * * *", Rankings: -1}},
		{"cron", loop.Schedule{}},
		{"cron", loop.Schedule{Cron: "TZ=Asia/Taipei 0 3 * * *"}},
	} {
		bad.sc.ProjectID, bad.sc.Config, bad.sc.CreatedBy = b.project.ID, smallRound(), "ada"
		var invalid *loop.InvalidError
		if _, err := b.loop.AddSchedule(ctx, bad.sc); !errors.As(err, &invalid) || invalid.Field != bad.field {
			t.Errorf("%+v: %v, want %s", bad.sc, err, bad.field)
		}
	}
	clock, err := b.loop.AddSchedule(ctx, loop.Schedule{ProjectID: b.project.ID, Cron: "30 3 * * *", TimeZone: "Asia/Taipei", Config: smallRound(), CreatedBy: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if at := clock.NextAt.UTC(); at.Hour() != 19 || at.Minute() != 30 {
		t.Errorf("half past three in Taipei is %s", at)
	}
	if err := b.loop.EnableSchedule(ctx, clock.ID, "ada", false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.AddSchedule(ctx, loop.Schedule{ProjectID: b.project.ID, Rankings: 5, Config: smallRound(), CreatedBy: "ada"}); err != nil {
		t.Fatal(err)
	}
	fire := func(want int) {
		t.Helper()
		if _, err := b.pool.Exec(ctx, `UPDATE schedules SET next_at = now() - interval '1 second'`); err != nil {
			t.Fatal(err)
		}
		if err := b.loop.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		rounds, err := b.loop.List(ctx, b.project.ID, 10)
		if err != nil || len(rounds) != want {
			t.Fatalf("%d rounds, want %d, %v", len(rounds), want, err)
		}
		if alarms, err := b.loop.Alarms(ctx, "", 10); err != nil || len(alarms) > 0 {
			t.Fatalf("alarms %v, %v", alarms, err)
		}
	}
	fire(0)
	if err := b.loop.AddTasks(ctx, b.project.ID, "practice", 6, 4, 1, 8, 1); err != nil {
		t.Fatal(err)
	}
	b.rank(t)
	if n, err := b.loop.NewRankings(ctx, b.project.ID); err != nil || n != 6 {
		t.Fatalf("%d new rankings, %v", n, err)
	}
	fire(1)
	fire(1) // that one is under way
}
