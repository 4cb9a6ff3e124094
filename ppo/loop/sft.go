package loop

import (
	"context"
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
	"github.com/rankloop/rankloop/model/train"
)

// maxDemonstrations bounds what a supervised policy learns from.
const maxDemonstrations = 100_000

// sftRun is a supervised training with what is needed to publish its result.
type sftRun struct {
	*train.Trainer
	round  Round
	from   *checkpoint.Checkpoint
	digest string
}

func (t *sftRun) Step(ctx context.Context) (run.Metrics, error) { return t.Trainer.Step(ctx) }

// newSFT builds the supervised run of a round: the version it starts from, and people's demonstrations.
func (l *Loop) newSFT(ctx context.Context, v run.Run) (run.Trainer, error) {
	r, err := l.roundOf(ctx, v)
	if err != nil {
		return nil, err
	}
	_, from, err := l.open(ctx, r.InitVersionID)
	if err != nil {
		return nil, err
	}
	seqs, err := l.demonstrations(ctx, r, from, began(v), maxDemonstrations)
	if err != nil {
		return nil, err
	}
	if len(seqs) == 0 {
		return nil, fmt.Errorf("there is no demonstration to learn from that fits the model: have people write some, or import them")
	}
	cfg := r.Config.SFT
	cfg.Seed = seedOf(r.Config.Seed, fmt.Sprintf("sft %d", r.Number))
	t, err := train.NewTrainer(cfg, from.Model, train.Sequences(seqs), nil)
	if err != nil {
		return nil, err
	}
	return &sftRun{Trainer: t, round: r, from: from}, nil
}

// demonstrations are people's answers behind their prompts that were there at a time, encoded; those that do not fit into the context are left
// out.
func (l *Loop) demonstrations(ctx context.Context, r Round, cp *checkpoint.Checkpoint, until time.Time, limit int) ([]model.Sequence, error) {
	demos, err := l.Labeling.Demonstrations(ctx, r.ProjectID, until, limit)
	if err != nil {
		return nil, err
	}
	var out []model.Sequence
	room := cp.Model.Config().Context
	for _, d := range demos {
		prompt, err := promptIDs(cp.Tokenizer, l.Template, labeling.Prompt{ID: d.ID, Messages: d.Messages})
		if err != nil {
			return nil, err
		}
		seq := join(prompt, append(cp.Tokenizer.Encode(" "+d.Response), int32(cp.Model.Config().EOS)))
		if len(seq.IDs) <= room {
			out = append(out, seq)
		}
	}
	return out, nil
}

func (l *Loop) publishSFT(ctx context.Context, v run.Run, trainer run.Trainer) error {
	t := trainer.(*sftRun)
	dir := filepath.Join(l.Scratch, v.ID)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	card := checkpoint.Card{Kind: registry.SFT, Parents: []string{t.round.InitVersionID}}
	if err := t.Write(dir, train.Last, t.from.Tokenizer, card); err != nil {
		return err
	}
	var err error
	t.digest, err = l.Blobs.Put(ctx, dir)
	return err
}

// finishSFT registers the policy; the rest of the round starts from it and holds to it.
func (l *Loop) finishSFT(ctx context.Context, tx pgx.Tx, v run.Run, trainer run.Trainer) error {
	t := trainer.(*sftRun)
	return l.finish(ctx, tx, v, func(r *Round) error {
		version, err := l.Registry.Register(ctx, tx, registry.Version{Kind: registry.SFT, Name: fmt.Sprintf("sft-%d", r.Number), Digest: t.digest,
			Parents: []string{r.InitVersionID}, RoundID: &r.ID, RunID: &v.ID})
		if err != nil {
			return err
		}
		r.InitVersionID, r.SFTVersionID = version.ID, version.ID
		return l.leave(ctx, tx, r, "")
	})
}
