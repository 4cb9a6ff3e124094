package loop

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/decode"
	"github.com/rankloop/rankloop/reward"
)

// compareArgs let both versions of a comparison answer its next prompts.
type compareArgs struct {
	ComparisonID string `json:"comparison_id"`
}

func (compareArgs) Kind() string                 { return "loop.compare" }
func (compareArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueRollout} }

type compareWorker struct {
	river.WorkerDefaults[compareArgs]
	l *Loop
}

// waitingPair is a prompt that is to be answered.
type waitingPair struct {
	Position int
	Prompt   string // id
	Swapped  bool
}

// Work answers one chunk and puts the next job into the queue, until none is left; then people may judge. A job that runs twice
// answers no prompt twice: a task is unique by prompt and comparison.
func (w *compareWorker) Work(ctx context.Context, job *river.Job[compareArgs]) error {
	l, id := w.l, job.Args.ComparisonID
	c, err := l.Comparison(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && c.Stage != CompareSample { // deleted, or done
		return nil
	}
	if err != nil {
		return err
	}
	waiting, err := l.waitingPairs(ctx, id, sampleChunk)
	if err != nil {
		return err
	}
	answered, err := l.answerPairs(ctx, c, waiting)
	if err != nil {
		if full := new(NoRoomError); job.Attempt < job.MaxAttempts && !errors.As(err, &full) {
			return err
		}
		return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
			_, wrong := tx.Exec(ctx, `UPDATE model_comparisons SET stage = 'failed', error = $2 WHERE id = $1 AND stage = 'sample'`, id, err.Error())
			return wrong
		})
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		now, err := oneComparison(ctx, tx, `WHERE c.id = $1 FOR UPDATE OF c`, id)
		if errors.Is(err, ErrNotFound) || err == nil && now.Stage != CompareSample {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range answered {
			if err := l.savePair(ctx, tx, now, p); err != nil {
				return err
			}
		}
		if len(answered) > 0 {
			err = l.enqueue.insert(ctx, tx, job.Args)
		} else {
			err = l.openComparison(ctx, tx, now)
		}
		if err != nil {
			return err
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// waitingPairs are the next prompts without answers.
func (s *Store) waitingPairs(ctx context.Context, id string, limit int) ([]waitingPair, error) {
	rows, err := s.pool.Query(ctx, `SELECT position, prompt_id::text, swapped FROM model_comparison_pairs WHERE comparison_id = $1 AND state = 'asked' ORDER BY position LIMIT $2`, id, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[waitingPair])
}

// answeredPair is a prompt with what both versions said. Without responses it is too long for one of them, or gone.
type answeredPair struct {
	waitingPair
	responses [2]labeling.NewResponse // A's and B's
	fit       bool
	reward    [2]*float64
	kl        *float64
}

// openComparison ends the sampling: the tasks are offered, or where nobody judges the figures stand.
func (l *Loop) openComparison(ctx context.Context, tx pgx.Tx, c Comparison) error {
	if c.Config.Judges == JudgesNobody {
		return l.closeComparison(ctx, tx, c)
	}
	if err := l.Labeling.CloseComparison(ctx, tx, c.ProjectID, false); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE model_comparisons SET stage = 'judge' WHERE id = $1`, c.ID)
	return err
}

// savePair makes a task of a pair. Its answers bear no version: which is whose stands in the pair's row alone.
func (l *Loop) savePair(ctx context.Context, tx pgx.Tx, c Comparison, p answeredPair) error {
	unfit := func() error {
		_, err := tx.Exec(ctx, `UPDATE model_comparison_pairs SET state = 'unfit' WHERE comparison_id = $1 AND position = $2 AND state = 'asked'`, c.ID, p.Position)
		return err
	}
	if !p.fit {
		return unfit()
	}
	list := []labeling.NewResponse{p.responses[0], p.responses[1]}
	if p.Swapped {
		list[0], list[1] = list[1], list[0]
	}
	t, err := l.Labeling.AddTask(ctx, tx, p.Prompt, list, c.Config.Overlap, c.ID)
	switch {
	case errors.Is(err, labeling.ErrConflict): // another job was first
		return nil
	case errors.Is(err, labeling.ErrNotFound): // withdrawn meanwhile
		return unfit()
	case err != nil:
		return fmt.Errorf("task for prompt %s: %w", p.Prompt, err)
	}
	a, b := p.responses[0], p.responses[1]
	_, err = tx.Exec(ctx, `UPDATE model_comparison_pairs SET state = 'answered', task_id = $3, a_tokens = $4, b_tokens = $5, a_length = $6, b_length = $7,
		a_reward = $8, b_reward = $9, kl = $10 WHERE comparison_id = $1 AND position = $2 AND state = 'asked'`, c.ID, p.Position, t.ID,
		len(a.TokenIDs), len(b.TokenIDs), utf8.RuneCountInString(view(a.Text)), utf8.RuneCountInString(view(b.Text)), p.reward[0], p.reward[1], p.kl)
	return err
}

// answerPairs samples both versions' answers and lets the reward model judge them.
func (l *Loop) answerPairs(ctx context.Context, c Comparison, waiting []waitingPair) ([]answeredPair, error) {
	out := make([]answeredPair, len(waiting))
	prompts := make([]labeling.Prompt, len(waiting))
	for i, w := range waiting {
		out[i].waitingPair = w
		p, err := l.Labeling.Prompt(ctx, w.Prompt)
		if err != nil && !errors.Is(err, labeling.ErrNotFound) {
			return nil, err
		}
		prompts[i], out[i].fit = p, err == nil && p.Usable
	}
	if len(waiting) == 0 {
		return nil, nil
	}
	if c.Answered == 0 {
		if err := l.roomToCompare(ctx, c, prompts); err != nil {
			return nil, err
		}
	}
	var cps [2]*checkpoint.Checkpoint
	var ids [2][][]int32
	for side, version := range []string{c.A, c.B} {
		var err error
		if _, cps[side], err = l.open(ctx, version); err != nil {
			return nil, err
		}
		if ids[side], err = l.fitting(cps[side], c.Config.MaxTokens, prompts, out); err != nil {
			return nil, err
		}
	}
	var seqs [2][]model.Sequence
	for side, cp := range cps {
		var err error
		if seqs[side], err = sampleSide(ctx, cp, side, c.Config, ids[side], out); err != nil {
			return nil, err
		}
	}
	if cps[0].Tokenizer.Digest() == cps[1].Tokenizer.Digest() {
		l.klOf(cps, seqs[1], out)
	}
	return out, l.judgePairs(ctx, c, prompts, out)
}

// fitting encodes the prompts, and marks those that leave no room for an answer.
func (l *Loop) fitting(cp *checkpoint.Checkpoint, maxTokens int, prompts []labeling.Prompt, out []answeredPair) ([][]int32, error) {
	ids := make([][]int32, len(prompts))
	for i, p := range prompts {
		if !out[i].fit {
			continue
		}
		var err error
		if ids[i], err = promptIDs(cp.Tokenizer, l.Template, p); err != nil {
			return nil, err
		}
		out[i].fit = len(ids[i])+maxTokens <= cp.Model.Config().Context
	}
	return ids, nil
}

// sampleSide draws one version's answers to a chunk. The chunks of a comparison are the same whenever they are drawn again.
func sampleSide(ctx context.Context, cp *checkpoint.Checkpoint, side int, c CompareConfig, ids [][]int32, out []answeredPair) ([]model.Sequence, error) {
	eos, digest := cp.Model.Config().EOS, cp.Tokenizer.Digest()
	var rows [][]int32
	var at []*answeredPair
	for i := range out {
		if out[i].fit {
			rows, at = append(rows, ids[i]), append(at, &out[i])
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	seed := seedOf(c.Seed, fmt.Sprintf("compare %d %d", side, out[0].Position))
	got, err := decode.Generate(ctx, cp.Model, rows, decode.Params{MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopP: c.TopP, Seed: seed}, int32(eos), nil)
	if err != nil {
		return nil, err
	}
	seqs := make([]model.Sequence, len(got))
	for i, o := range got {
		at[i].responses[side] = labeling.NewResponse{Text: responseText(cp.Tokenizer, o, eos), TokenIDs: o.IDs, TokenizerDigest: digest, Finish: o.Finish}
		seqs[i] = join(rows[i], o.IDs)
	}
	return seqs, nil
}

// klOf is how far B is from A on B's own answers.
func (l *Loop) klOf(cps [2]*checkpoint.Checkpoint, seqs []model.Sequence, out []answeredPair) {
	if len(seqs) == 0 {
		return
	}
	kl := divergence(cps[1].Model, cps[0].Model, seqs)
	n := 0
	for i := range out {
		if out[i].fit {
			out[i].kl = &kl[n]
			n++
		}
	}
}

// judgePairs scores the answers by the comparison's reward model, in whose tokens they are written anew where these are others. What
// does not fit its context has no score.
func (l *Loop) judgePairs(ctx context.Context, c Comparison, prompts []labeling.Prompt, out []answeredPair) error {
	if c.RewardVersionID == "" {
		return nil
	}
	_, rm, err := l.open(ctx, c.RewardVersionID)
	if err != nil {
		return err
	}
	scorer, err := reward.Open(rm)
	if err != nil {
		return err
	}
	var seqs []model.Sequence
	var at []*answeredPair
	for i := range out {
		if !out[i].fit {
			continue
		}
		prompt, err := promptIDs(rm.Tokenizer, l.Template, prompts[i])
		if err != nil {
			return err
		}
		var pair [2]model.Sequence
		for side, r := range out[i].responses {
			ids := r.TokenIDs
			if r.TokenizerDigest != rm.Tokenizer.Digest() {
				ids = append(rm.Tokenizer.Encode(" "+r.Text), int32(rm.Model.Config().EOS))
			}
			pair[side] = join(prompt, ids)
		}
		if room := rm.Model.Config().Context; len(pair[0].IDs) <= room && len(pair[1].IDs) <= room {
			seqs, at = append(seqs, pair[0], pair[1]), append(at, &out[i])
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	scores, err := scorer.Score(ctx, seqs)
	for i, p := range at {
		if err == nil {
			p.reward = [2]*float64{&scores[2*i], &scores[2*i+1]}
		}
	}
	return err
}
