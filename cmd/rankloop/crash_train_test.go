package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/token"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestKillWorkerDuringTraining kills the worker five times in the reward run and five times in the PPO run of a round: the
// weights are those of a round that nobody disturbed, bit for bit, although the two work in slices of other lengths.
func TestKillWorkerDuringTraining(t *testing.T) {
	undisturbed := trainedRound(t, "1h", 0)
	killed := trainedRound(t, "150ms", 5)
	for i, what := range []string{"reward model", "policy"} {
		if undisturbed[i] != killed[i] {
			t.Errorf("the %s differs: %s undisturbed, %s killed", what, undisturbed[i], killed[i])
		}
	}
}

// trainedRound runs a small round with a worker process of its own that is killed so many times in each of its two training
// runs, and returns the digests of the reward model's and the policy's weights.
func trainedRound(t *testing.T, slice string, kills int) [2]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	url, dir := durable(t), t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := databaseFlags{DatabaseURL: url}.open(ctx, dir, true, log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, err := newApp(ctx, db, appConfig{Dir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	addSmallPolicy(t, a)
	cfg := loop.DefaultConfig()
	cfg.Prompts, cfg.EvalPrompts, cfg.MaxTokens, cfg.OverlapShare, cfg.Seed, cfg.Promotion = 24, 8, 8, 0, 3, loop.PromoteByHand
	cfg.Reward.Epochs, cfg.Reward.Batch = 1500, 8
	cfg.PPO.Iterations, cfg.PPO.Rollouts, cfg.PPO.Minibatch, cfg.PPO.Chunk, cfg.PPO.MaxTokens = 250, 16, 8, 8, 8
	cfg.PPO.LR, cfg.PPO.ValueLR, cfg.PPO.KL.Max = 1e-5, 1e-5, 0
	worker := &process{args: []string{"work", "--database-url", url, "--dir", dir, "--slice", slice, "--dead-after", "1500ms"}}
	worker.start(t)
	defer func() { worker.kill9() }()
	r, err := a.loop.Start(ctx, a.project.ID, "test", cfg)
	if err != nil {
		t.Fatal(err)
	}
	at := func(stages ...loop.Stage) loop.Round {
		t.Helper()
		for {
			v, err := a.loop.View(ctx, r.ID)
			if err != nil {
				t.Fatalf("%v\n%s", err, worker.log.String())
			}
			if slices.Contains(stages, v.Stage) {
				return v
			}
			if v.Stage.Ended() {
				t.Fatalf("round %s: %s\n%s", v.Stage, v.Error, worker.log.String())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	at(loop.StageRank)
	rankByLength(t, a)
	for _, stage := range []loop.Stage{loop.StageReward, loop.StagePPO} {
		v := at(stage)
		runID := v.RewardRunID
		if stage == loop.StagePPO {
			runID = v.PPORunID
		}
		for n, last := 0, -1; n < kills; {
			if at(loop.StageReward, loop.StagePPO, loop.StageEvaluate, loop.StageDecide).Stage != stage {
				t.Fatalf("the %s stage was over after %d of %d kills", stage, n, kills)
			}
			run, err := a.runs.Get(ctx, runID)
			if err != nil {
				t.Fatal(err)
			}
			if run.Step <= last {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			last = run.Step
			time.Sleep(time.Duration(20*n) * time.Millisecond) // at another place within the next slice each time
			worker.kill9()
			worker.start(t)
			n++
		}
	}
	v := at(loop.StageDecide)
	if n := count(t, a.db.Pool, `SELECT count(*) - count(DISTINCT (run_id, step)) FROM run_metrics`); n != 0 {
		t.Errorf("%d metric rows are doubled", n)
	}
	return [2]string{weights(t, a, v.RewardVersionID), weights(t, a, v.PolicyVersionID)}
}

func weights(t *testing.T, a *app, versionID string) string {
	t.Helper()
	v, err := a.registry.Get(t.Context(), versionID)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := a.blobs.Open(t.Context(), v.Digest)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := checkpoint.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cp.Model.Digest()
}

// addSmallPolicy lets a random policy of a few thousand parameters serve, and imports prompts of all splits.
func addSmallPolicy(t *testing.T, a *app) {
	t.Helper()
	ctx := t.Context()
	tok, err := token.Train(slices.Values([]string{"User: say a word please\nAssistant: one two three"}), 280, []string{"<|endoftext|>"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(model.Config{Family: "gpt2", Vocab: tok.Vocab(), Context: 64, Layers: 1, Width: 16, Heads: 2, KVHeads: 2, Hidden: 64,
		NormEps: 1e-5, Tied: true, BOS: -1, EOS: int(tok.EOS())}, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "sft")
	if err := (&checkpoint.Checkpoint{Model: m, Tokenizer: tok}).Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	digest, err := a.blobs.Put(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, a.db.Jobs, func(tx pgx.Tx) error {
		v, err := a.registry.Register(ctx, tx, registry.Version{Kind: registry.SFT, Name: "sft", Digest: digest})
		if err != nil {
			return err
		}
		if err := a.registry.Promote(ctx, tx, loop.Channel, v.ID, "test", ""); err != nil {
			return err
		}
		for i := range 40 {
			split := []string{labeling.Train, labeling.Train, labeling.Valid, labeling.Test}[i%4]
			if _, _, err := a.labeling.AddPrompt(ctx, tx, labeling.NewPrompt{ProjectID: a.project.ID, Origin: labeling.OriginImport, Split: split,
				Messages: userSays(fmt.Sprintf("say word %d", i))}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rankByLength ranks every open task, shorter answers first.
func rankByLength(t *testing.T, a *app) {
	t.Helper()
	for {
		x, err := a.labeling.Claim(t.Context(), a.project.ID, "ann")
		if errors.Is(err, labeling.ErrEmpty) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		ranks := make([]int, len(x.Answers))
		for i, p := range x.Answers {
			ranks[i] = 1
			for _, q := range x.Answers {
				if len(q.Text) < len(p.Text) {
					ranks[i]++
				}
			}
		}
		if _, err := a.labeling.Submit(t.Context(), labeling.SubmitInput{AssignmentID: x.ID, LabelerID: "ann", Ranks: ranks, IdempotencyKey: x.ID}, a.loop.RankingSubmitted); err != nil {
			t.Fatal(err)
		}
	}
}
