package loop

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/reward"
)

// evaluationRun is an evaluation with the round it belongs to.
type evaluationRun struct {
	*evaluation
	round  Round
	report Report
}

func (t *evaluationRun) Step(ctx context.Context) (run.Metrics, error) { return t.evaluation.Step(ctx) }

// newEvaluation builds the evaluation of a round on held-out prompts: the test split, whose customers and imports are never
// ranked nor trained on.
func (l *Loop) newEvaluation(ctx context.Context, v run.Run) (run.Trainer, error) {
	r, err := l.roundOf(ctx, v)
	if err != nil {
		return nil, err
	}
	_, sft, err := l.open(ctx, r.SFTVersionID)
	if err != nil {
		return nil, err
	}
	e := &evaluation{cfg: r.Config, tok: sft.Tokenizer, judge: l.Judge}
	e.models[evalSFT], e.models[evalBefore] = sft.Model, sft.Model
	if r.InitVersionID != r.SFTVersionID {
		_, before, err := l.open(ctx, r.InitVersionID)
		if err != nil {
			return nil, err
		}
		e.models[evalBefore] = before.Model
	}
	_, after, err := l.open(ctx, r.PolicyVersionID)
	if err != nil {
		return nil, err
	}
	e.models[evalAfter] = after.Model
	_, rm, err := l.open(ctx, r.RewardVersionID)
	if err != nil {
		return nil, err
	}
	if e.judge == nil {
		scorer, err := reward.Open(rm)
		if err != nil {
			return nil, err
		}
		e.judge = rewardJudge{scorer}
	}
	if e.prompts, err = l.evalPrompts(ctx, v, r, sft); err != nil {
		return nil, err
	}
	t := &evaluationRun{evaluation: e, round: r}
	return t, l.measureLabels(ctx, t, rm)
}

func (l *Loop) evalPrompts(ctx context.Context, v run.Run, r Round, cp *checkpoint.Checkpoint) ([]evalPrompt, error) {
	out, err := l.fittingPrompts(ctx, v, r, cp, labeling.Test, r.Config.EvalPrompts)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("there are no held-out prompts to evaluate on: import some with the split \"test\"")
	}
	return out, err
}

// fittingPrompts are usable prompts of a split, there when a run began, that fit the model's context with an answer, of the first so many.
func (l *Loop) fittingPrompts(ctx context.Context, v run.Run, r Round, cp *checkpoint.Checkpoint, split string, limit int) (out []evalPrompt, err error) {
	list, err := l.Labeling.UsablePrompts(ctx, r.ProjectID, split, began(v), limit)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		ids, err := promptIDs(cp.Tokenizer, l.Template, p)
		if err != nil {
			return nil, err
		}
		if len(ids)+r.Config.MaxTokens <= cp.Model.Config().Context {
			out = append(out, evalPrompt{ID: p.ID, Text: lastUser(p.Messages), IDs: ids})
		}
	}
	return out, nil
}

// lastUser is what the user asked last.
func lastUser(messages []labeling.Message) string {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == "user" {
			return messages[i].Content
		}
	}
	return ""
}

// rewardJudge judges by a reward model where nothing better is known.
type rewardJudge struct{ scorer *reward.Scorer }

func (rewardJudge) Name() string { return "reward model" }

func (j rewardJudge) Judge(ctx context.Context, answers []Answer) ([]float64, error) {
	seqs := make([]model.Sequence, len(answers))
	for i, a := range answers {
		seqs[i] = a.Sequence
	}
	return j.scorer.Score(ctx, seqs)
}

// measureLabels fills what the report says of the labels: how far labelers agree, how well the reward model predicts held-out
// rankings, and what a perfect judge would reach on labels as noisy as these.
func (l *Loop) measureLabels(ctx context.Context, t *evaluationRun, rm *checkpoint.Checkpoint) error {
	r := t.round
	if r.SnapshotID == "" { // the reward model comes from elsewhere
		var err error
		t.report.TokensPerS, err = l.speed(ctx, r)
		return err
	}
	items, err := l.Labeling.SnapshotItems(ctx, r.SnapshotID)
	if err != nil {
		return err
	}
	for _, it := range items {
		t.report.Rankings += len(it.Rankings)
	}
	if t.report.RoundRankings, err = l.Labeling.CountRankings(ctx, r.ProjectID, r.ID); err != nil {
		return err
	}
	a, err := l.Labeling.Agreement(ctx, r.ProjectID, r.ID)
	if err != nil {
		return err
	}
	t.report.Agreement = Estimate{Value: a.Pairwise, Low: a.CI[0], High: a.CI[1], N: a.Pairs}
	_, valid, err := l.groups(rm, items)
	if err != nil {
		return err
	}
	scorer, err := reward.Open(rm)
	if err != nil {
		return err
	}
	held, err := reward.Evaluate(ctx, scorer, valid)
	if err != nil {
		return err
	}
	t.report.RewardAccuracy = Estimate{Value: held.Accuracy, Low: held.Low, High: held.High, N: held.N}
	if t.report.RewardCeiling, err = l.ceiling(ctx, items, a.Pairwise); err != nil {
		return err
	}
	t.report.TokensPerS, err = l.speed(ctx, r)
	return err
}

// ceiling is the accuracy that a perfect judge would have on the held-out rankings: measured where the judge is the declared
// preference itself, estimated from the labelers' agreement elsewhere.
func (l *Loop) ceiling(ctx context.Context, items []labeling.RankedPrompt, agreement float64) (float64, error) {
	if l.Judge == nil {
		return reward.Ceiling(agreement), nil
	}
	right, pairs := 0.0, 0
	for _, it := range items {
		if it.Split != labeling.Valid {
			continue
		}
		var answers []Answer
		for _, c := range it.Completions {
			answers = append(answers, Answer{Prompt: lastUser(it.Messages), Response: c.Text, Ended: c.Finish == "stop"})
		}
		scores, err := l.Judge.Judge(ctx, answers)
		if err != nil {
			return 0, err
		}
		for _, k := range it.Rankings {
			for _, p := range labeling.Pairs(k.Ranks) {
				pairs++
				switch w, l := scores[p[0]], scores[p[1]]; {
				case w > l:
					right++
				case w == l:
					right += 0.5
				}
			}
		}
	}
	if pairs == 0 {
		return 0, nil
	}
	return right / float64(pairs), nil
}

// showEvaluation makes the examples of the report.
func (l *Loop) showEvaluation(ctx context.Context, _ run.Run, trainer run.Trainer) (err error) {
	t := trainer.(*evaluationRun)
	t.report.Examples, err = t.examples(ctx)
	return err
}

// finishEvaluation writes the report, without the examples whose prompts are gone, and lets the rule, or a person, decide.
func (l *Loop) finishEvaluation(ctx context.Context, tx pgx.Tx, v run.Run, trainer run.Trainer) error {
	t := trainer.(*evaluationRun)
	return l.finish(ctx, tx, v, func(r *Round) error {
		report := t.report
		t.state.report(&report, t.judge.Name())
		var shown []string
		for _, e := range report.Examples {
			shown = append(shown, e.PromptID)
		}
		here, err := l.Labeling.HoldPrompts(ctx, tx, shown)
		if err != nil {
			return err
		}
		report.Examples = slices.DeleteFunc(slices.Clone(report.Examples), func(e Example) bool { return !here[e.PromptID] })
		r.Report = &report
		promote, reason := decide(r.Config, report)
		if r.Config.Promotion == PromoteByHand {
			r.Stage = StageDecide
			report.Reason = reason
			return nil
		}
		if promote && r.Config.Promotion == PromoteByCanary {
			return l.beginCanary(ctx, tx, r, reason)
		}
		return l.settle(ctx, tx, r, "round "+fmt.Sprint(r.Number), promote, reason)
	})
}

// speed is the response tokens that the PPO run sampled and learned from, per second of its wall time.
func (l *Loop) speed(ctx context.Context, r Round) (float64, error) {
	v, err := l.Runs.Get(ctx, r.PPORunID)
	if err != nil || v.StartedAt == nil || v.FinishedAt == nil {
		return 0, err
	}
	points, err := l.Runs.Metrics(ctx, v.ID, -1)
	if err != nil {
		return 0, err
	}
	tokens := 0.0
	for _, p := range points {
		tokens += p.Metrics["length"] * float64(r.Config.PPO.Rollouts)
	}
	return tokens / max(v.FinishedAt.Sub(*v.StartedAt).Seconds(), 1e-3), nil
}
