package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/reward"
)

// maxReferences bounds the answers that a reward model's zero is set by.
const maxReferences = 512

// Kinds are the loop's runs, for model/run's worker.
func (l *Loop) Kinds() []run.Kind {
	return []run.Kind{
		{Name: KindSFT, New: l.newSFT, Prepare: l.publishSFT, Finish: l.finishSFT, Failed: l.failed},
		{Name: KindReward, New: l.newReward, Prepare: l.publishReward, Finish: l.finishReward, Failed: l.failed},
		{Name: KindPPO, New: l.newPPO, Prepare: l.publishPolicy, Finish: l.finishPPO, Failed: l.failed, Halted: l.halted},
		{Name: KindEvaluate, New: l.newEvaluation, Prepare: l.showEvaluation, Finish: l.finishEvaluation, Failed: l.failed},
	}
}

func (l *Loop) roundOf(ctx context.Context, v run.Run) (Round, error) {
	var c runConfig
	if err := json.Unmarshal(v.Config, &c); err != nil {
		return Round{}, fmt.Errorf("config of run %s: %w", v.ID, err)
	}
	return l.Get(ctx, c.Round)
}

// open reads a version's weights from the blob store.
func (l *Loop) open(ctx context.Context, versionID string) (registry.Version, *checkpoint.Checkpoint, error) {
	v, err := l.Registry.Get(ctx, versionID)
	if err != nil {
		return v, nil, fmt.Errorf("model version %s: %w", versionID, err)
	}
	if v.GoneAt != nil {
		return v, nil, fmt.Errorf("the weights of %s were removed", v.Name)
	}
	dir, err := l.Blobs.Open(ctx, v.Digest)
	if err != nil {
		return v, nil, fmt.Errorf("weights of %s: %w", v.Name, err)
	}
	cp, err := checkpoint.Load(dir)
	if err == nil && cp.Tokenizer == nil {
		err = errors.New("there is no tokenizer in the folder")
	}
	if err != nil {
		return v, nil, fmt.Errorf("weights of %s: %w", v.Name, err)
	}
	return v, cp, nil
}

// rewardRun is a reward trainer with what is needed to publish its result.
type rewardRun struct {
	*reward.Trainer
	round  Round
	sft    *checkpoint.Checkpoint
	digest string // of the published folder
}

func (t *rewardRun) Step(ctx context.Context) (run.Metrics, error) { return t.Trainer.Step(ctx) }

// newReward builds the reward run of a round: the SFT weights, the snapshot's groups, and demonstrations for the zero.
func (l *Loop) newReward(ctx context.Context, v run.Run) (run.Trainer, error) {
	r, err := l.roundOf(ctx, v)
	if err != nil {
		return nil, err
	}
	_, sft, err := l.open(ctx, r.SFTVersionID)
	if err != nil {
		return nil, err
	}
	items, err := l.Labeling.SnapshotItems(ctx, r.SnapshotID)
	if err != nil {
		return nil, err
	}
	train, valid, err := l.groups(sft, items)
	if err != nil {
		return nil, err
	}
	reference, err := l.references(ctx, r, sft, began(v))
	if err != nil {
		return nil, err
	}
	cfg := r.Config.Reward
	cfg.Seed = seedOf(r.Config.Seed, fmt.Sprintf("reward %d", r.Number))
	t, err := reward.NewTrainer(cfg, sft.Model, train, valid, reference)
	if err != nil {
		return nil, err
	}
	return &rewardRun{Trainer: t, round: r, sft: sft}, nil
}

// groups turns a snapshot into the reward trainer's groups, by split.
func (l *Loop) groups(cp *checkpoint.Checkpoint, items []labeling.RankedPrompt) (train, valid []reward.Group, err error) {
	for _, it := range items {
		if len(it.Completions) < 2 { // a rating or a demonstration compares nothing
			continue
		}
		prompt, err := promptIDs(cp.Tokenizer, l.Template, labeling.Prompt{ID: it.PromptID, Messages: it.Messages, Text: it.Prompt, TokenIDs: it.PromptIDs})
		if err != nil {
			return nil, nil, err
		}
		g := reward.Group{PromptID: it.PromptID, Split: it.Split}
		for _, c := range it.Completions {
			ids := c.TokenIDs
			if c.TokenizerDigest != cp.Tokenizer.Digest() {
				ids = append(cp.Tokenizer.Encode(" "+c.Text), int32(cp.Model.Config().EOS))
			}
			g.Sequences = append(g.Sequences, join(prompt, ids))
		}
		for _, k := range it.Rankings {
			g.Rankings = append(g.Rankings, k.Ranks)
			g.Labelers = append(g.Labelers, k.LabelerID)
			g.Strengths = append(g.Strengths, float64(k.Strength))
		}
		if it.Split == labeling.Valid {
			valid = append(valid, g)
		} else {
			train = append(train, g)
		}
	}
	return train, valid, nil
}

// references are the answers whose mean reward becomes zero: people's demonstrations, or the SFT policy's own
// answers where there are none (Ziegler et al. 2019 normalise on samples as well).
func (l *Loop) references(ctx context.Context, r Round, sft *checkpoint.Checkpoint, until time.Time) ([]model.Sequence, error) {
	out, err := l.demonstrations(ctx, r, sft, until, maxReferences)
	if err != nil || len(out) > 0 {
		return out, err
	}
	prompts, err := l.prompts(ctx, r, sft, labeling.Train, until, maxReferences)
	if err != nil {
		return nil, err
	}
	answers, err := l.sampleAnswers(ctx, sft, prompts, 1, r.Config.MaxTokens, seedOf(r.Config.Seed, "references"))
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		out = append(out, join(prompts[i], a[0].IDs))
	}
	return out, nil
}

// prompts are the usable prompts of a split that were there at a time, encoded.
func (l *Loop) prompts(ctx context.Context, r Round, cp *checkpoint.Checkpoint, split string, until time.Time, limit int) ([][]int32, error) {
	list, err := l.Labeling.UsablePrompts(ctx, r.ProjectID, split, until, limit)
	if err != nil {
		return nil, err
	}
	room := cp.Model.Config().Context - r.Config.MaxTokens
	var out [][]int32
	for _, p := range list {
		ids, err := promptIDs(cp.Tokenizer, l.Template, p)
		if err != nil {
			return nil, err
		}
		if len(ids) <= room {
			out = append(out, ids)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no usable prompt of the %s split fits the model's context", split)
	}
	return out, nil
}

// publish writes a checkpoint into the blob store and returns its digest. Doing it again gives the same digest.
func (l *Loop) publish(ctx context.Context, runID string, cp *checkpoint.Checkpoint) (string, error) {
	dir := filepath.Join(l.Scratch, runID)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := cp.Save(dir, "F32"); err != nil {
		return "", err
	}
	return l.Blobs.Put(ctx, dir)
}

func (l *Loop) publishReward(ctx context.Context, v run.Run, trainer run.Trainer) error {
	t := trainer.(*rewardRun)
	scorer, err := t.Scorer()
	if err != nil {
		return err
	}
	report, err := t.Report()
	if err != nil {
		return err
	}
	cp := &checkpoint.Checkpoint{Tokenizer: t.sft.Tokenizer, Card: checkpoint.Card{
		Kind: "reward", Parents: []string{t.round.SFTVersionID}, Snapshot: t.round.SnapshotID, Metrics: report.Metrics()}}
	scorer.Fill(cp)
	t.digest, err = l.publish(ctx, v.ID, cp)
	return err
}

func (l *Loop) finishReward(ctx context.Context, tx pgx.Tx, v run.Run, trainer run.Trainer) error {
	t := trainer.(*rewardRun)
	report, err := t.Report()
	if err != nil {
		return err
	}
	return l.finish(ctx, tx, v, func(r *Round) error {
		version, err := l.Registry.Register(ctx, tx, registry.Version{Kind: "reward", Name: fmt.Sprintf("reward-%d", r.Number), Digest: t.digest,
			Parents: []string{r.SFTVersionID}, RoundID: &r.ID, RunID: &v.ID, Snapshot: &r.SnapshotID, Metrics: report.Metrics()})
		if err != nil {
			return err
		}
		r.RewardVersionID = version.ID
		return l.leave(ctx, tx, r, r.Config.Gates.accuracy(report))
	})
}

// finish lets f move on the round of a finished run; a round that was ended meanwhile stays as it is.
func (l *Loop) finish(ctx context.Context, tx pgx.Tx, v run.Run, f func(r *Round) error) error {
	r, err := l.lock(ctx, tx, *v.RoundID)
	if err != nil || r.Stage.Ended() {
		return err
	}
	if err := f(&r); err != nil {
		return err
	}
	return l.save(ctx, tx, r)
}
