package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/remote"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/model/token"
)

// Channel is where the policy that answers customers is promoted to.
const Channel = "default"

// Deps are the rooms that a round joins.
type Deps struct {
	Pool     *pgxpool.Pool
	Labeling *labeling.Store
	Registry *registry.Store
	Runs     *run.Store
	Blobs    checkpoint.Blobs
	Template token.ChatTemplate
	Judge    Judge // nil: the round's reward model judges
	Log      *slog.Logger
	Scratch  string // folder for weights on their way to the blob store

	// ChatRatings counts what people said of versions' answers at the chat page since then; nil: nothing is said there.
	ChatRatings func(ctx context.Context, versions []string, since time.Time) (map[string]Ratings, error)

	Remote  *remote.Client // asks other engines; nil: none is asked
	Secrets Secrets        // keeps their keys

	Cost Cost                             // of work on this machine, for forecasts; needed by those alone
	Free func() (bytes int64, known bool) // memory that the process may still take; nil: what the system says
}

// Loop starts rounds and moves them on.
type Loop struct {
	*Store
	Deps
	enqueue Inserter
	awaited awaited
}

// awaited is whether any round waits for rankings, as of a moment ago.
type awaited struct {
	mu   sync.Mutex
	read time.Time
	any  bool
}

// awaitedFor is how long that is believed. A round that begins to wait within it is looked after by AdvanceWaiting.
const awaitedFor = time.Second

// New returns a loop. SetClient must be called before a round can start: River's client wants its workers first.
func New(d Deps) *Loop { return &Loop{Store: NewStore(d.Pool), Deps: d} }

// Start begins the project's next round from the policy that serves. ErrConflict when one is still open, InvalidError
// when the configuration cannot be used or the project has nothing to start from.
func (l *Loop) Start(ctx context.Context, projectID, actor string, c Config) (r Round, err error) {
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		r, err = l.start(ctx, tx, projectID, actor, c)
		return err
	})
	return r, err
}

func (l *Loop) start(ctx context.Context, tx pgx.Tx, projectID, actor string, c Config) (Round, error) {
	if err := c.Validate(); err != nil {
		return Round{}, err
	}
	if err := l.mayTrain(ctx, tx, projectID); err != nil {
		return Round{}, err
	}
	r := Round{ProjectID: projectID, Actor: actor, Config: c}
	if err := l.startFrom(ctx, &r); err != nil {
		return Round{}, err
	}
	first := c.Path()[0]
	r, err := l.insert(ctx, tx, r, first)
	if err != nil {
		return r, err
	}
	if err := audit(ctx, tx, actor, "round.start", r.ID, map[string]any{"number": r.Number, "config": c}); err != nil {
		return r, err
	}
	if err := r.tell(ctx, tx, "round.started", map[string]any{"stages": c.Path(), "by": actor}); err != nil {
		return r, err
	}
	err = l.enter(ctx, tx, &r, first)
	if errors.Is(err, labeling.ErrEmpty) {
		field := "parts"
		if len(c.Without) > 0 {
			field = "without"
		}
		return r, &InvalidError{field, "nothing is left to learn from"}
	}
	if err != nil {
		return r, err
	}
	return r, l.save(ctx, tx, r)
}

// startFrom finds the versions that a round begins with.
func (l *Loop) startFrom(ctx context.Context, r *Round) error {
	c := r.Config
	base, err := l.base(ctx, c)
	if err != nil {
		return err
	}
	sft := base
	if base.Kind != registry.Base {
		if sft, err = l.reference(ctx, base); err != nil {
			return err
		}
	}
	if c.Retrain || c.Has(StageSFT) && c.Base == "" {
		base = sft
	}
	r.InitVersionID, r.SFTVersionID = base.ID, sft.ID
	if c.Snapshot != "" {
		snap, err := l.Labeling.SnapshotByID(ctx, c.Snapshot)
		if errors.Is(err, labeling.ErrNotFound) || err == nil && snap.ProjectID != r.ProjectID {
			return &InvalidError{"snapshot", "there is no such snapshot in this project"}
		}
		if err != nil {
			return err
		}
		if snap.N == 0 {
			return &InvalidError{"snapshot", fmt.Sprintf("%s holds no rankings", snap.Name)}
		}
	}
	if c.Has(StagePPO) && !c.Has(StageReward) {
		return l.formerReward(ctx, r)
	}
	return nil
}

// base is the version that a round starts from.
func (l *Loop) base(ctx context.Context, c Config) (registry.Version, error) {
	if c.Base == "" {
		v, err := l.Registry.Serving(ctx, Channel)
		if errors.Is(err, registry.ErrNotFound) {
			return v, &InvalidError{"policy", "no policy is serving yet: promote one first"}
		}
		return v, err
	}
	v, err := l.Registry.Get(ctx, c.Base)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return v, &InvalidError{"base", "there is no such model"}
	case err != nil:
		return v, err
	case v.Kind == registry.Reward:
		return v, &InvalidError{"base", fmt.Sprintf("%s is a reward model, which answers nothing", v.Name)}
	case v.Kind == registry.Base && !c.Has(StageSFT):
		return v, &InvalidError{"base", fmt.Sprintf("%s has not learned to answer yet: add the supervised part, or choose another", v.Name)}
	case v.GoneAt != nil:
		return v, &InvalidError{"base", fmt.Sprintf("the weights of %s were removed", v.Name)}
	}
	return v, nil
}

// formerReward takes the reward model of before that PPO is trained by.
func (l *Loop) formerReward(ctx context.Context, r *Round) error {
	id := r.Config.RewardModel
	if id == "" {
		newest, err := l.Registry.List(ctx, registry.Reward, 1)
		if err != nil {
			return err
		}
		if len(newest) == 0 {
			return &InvalidError{"reward_model", "there is none yet: add the part that trains one"}
		}
		id = newest[0].ID
	}
	v, err := l.Registry.Get(ctx, id)
	switch {
	case errors.Is(err, registry.ErrNotFound) || err == nil && v.Kind != registry.Reward:
		return &InvalidError{"reward_model", "there is no such reward model"}
	case err != nil:
		return err
	case v.GoneAt != nil:
		return &InvalidError{"reward_model", fmt.Sprintf("the weights of %s were removed", v.Name)}
	}
	r.RewardVersionID = v.ID
	if v.Snapshot == nil {
		return nil
	}
	snap, err := l.Labeling.SnapshotByID(ctx, *v.Snapshot) // what its accuracy is measured on, where it is from here
	if errors.Is(err, labeling.ErrNotFound) {
		return nil
	}
	r.SnapshotID = snap.ID
	return err
}

// reference finds the supervised policy that a policy descends from: what the KL penalty holds on to in every round.
func (l *Loop) reference(ctx context.Context, v registry.Version) (registry.Version, error) {
	if v.Kind == registry.SFT {
		return v, nil
	}
	sft, err := l.nearest(ctx, v.ID, registry.SFT)
	if errors.Is(err, ErrNotFound) {
		err = &InvalidError{"policy", fmt.Sprintf("%s does not descend from a supervised policy", v.Name)}
	}
	return sft, err
}

// runs are the ids of what was started for the round; "" where it was not.
func (r Round) runs() []string {
	return []string{r.SFTRunID, r.RewardRunID, r.PPORunID, r.EvaluateRunID}
}

// Cancel ends an open round; its runs stop at their next step and keep the last state that was written, so that Retry can go on from
// it, and what people ranked stays.
func (l *Loop) Cancel(ctx context.Context, id, actor string) error {
	return again(func() error {
		return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
			if r.Stage.Ended() {
				return fmt.Errorf("%w: round %d has ended", ErrConflict, r.Number)
			}
			if err := l.stopRuns(ctx, tx, *r); err != nil {
				return err
			}
			r.Stage, r.BrokeAt = StageCancelled, r.Stage
			return audit(ctx, tx, actor, "round.cancel", r.ID, map[string]any{"number": r.Number})
		})
	})
}

func (l *Loop) stopRuns(ctx context.Context, tx pgx.Tx, r Round) error {
	for _, id := range r.runs() {
		if id == "" {
			continue
		}
		if err := l.Runs.Cancel(ctx, tx, id); err != nil && !errors.Is(err, run.ErrConflict) {
			return err
		}
	}
	return nil
}

// Proceed trains on the rankings that are in, without waiting for the rest.
func (l *Loop) Proceed(ctx context.Context, id, actor string) error {
	return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
		if r.Stage != StageRank {
			return fmt.Errorf("%w: round %d is not waiting for rankings", ErrConflict, r.Number)
		}
		if r.PausedAt != nil {
			return fmt.Errorf("%w: round %d is paused; resume it first", ErrConflict, r.Number)
		}
		if r.Held != "" {
			return fmt.Errorf("%w: a gate holds round %d; say why it may go on", ErrConflict, r.Number)
		}
		if err := audit(ctx, tx, actor, "round.proceed", r.ID, map[string]any{}); err != nil {
			return err
		}
		return l.ranked(ctx, tx, r)
	})
}

// Decide promotes or declines the policy of a round that waits for a person.
func (l *Loop) Decide(ctx context.Context, id, actor string, promote bool) error {
	return l.change(ctx, id, func(tx pgx.Tx, r *Round) error {
		if r.Stage != StageDecide {
			return fmt.Errorf("%w: round %d is not waiting for a decision", ErrConflict, r.Number)
		}
		return l.settle(ctx, tx, r, actor, promote, "decided by "+actor)
	})
}

// settle ends an evaluated round, with the promotion in the same transaction.
func (l *Loop) settle(ctx context.Context, tx pgx.Tx, r *Round, actor string, promote bool, reason string) error {
	r.Stage, r.Promoted = StageDone, &promote
	r.Report.Promoted, r.Report.Reason = promote, reason
	var err error
	if r.Report.Seconds, err = since(ctx, tx, r.StartedAt); err != nil {
		return err
	}
	if promote {
		v, err := l.version(ctx, r.PolicyVersionID)
		if err != nil {
			return err
		}
		if err := l.promote(ctx, tx, v, actor, reason); err != nil {
			return err
		}
		if err := r.tell(ctx, tx, "round.promoted", map[string]any{"version": v.ID, "by": actor, "reason": reason}); err != nil {
			return err
		}
		return l.startProbe(ctx, tx, r)
	}
	return audit(ctx, tx, actor, "round.decline", r.ID, map[string]any{"reason": reason})
}

// change locks a round, lets f alter it and saves it, all in one transaction.
func (l *Loop) change(ctx context.Context, id string, f func(tx pgx.Tx, r *Round) error) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		r, err := l.lock(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := f(tx, &r); err != nil {
			return err
		}
		return l.save(ctx, tx, r)
	})
}

// Fail ends a round because one of its runs could not go on.
func (l *Loop) fail(ctx context.Context, tx pgx.Tx, id, reason string) error {
	r, err := l.lock(ctx, tx, id)
	if err != nil || r.Stage.Ended() {
		return err
	}
	r.Stage, r.BrokeAt, r.Error = StageFailed, r.Stage, reason
	if err := l.AddAlarm(ctx, tx, Alarm{RoundID: id, Kind: "run", Message: reason, Actor: "system"}); err != nil {
		return err
	}
	return l.save(ctx, tx, r)
}

// RankingsAwaited says whether RankingSubmitted may have anything to do; a submit need not ask while no round waits.
func (l *Loop) RankingsAwaited(ctx context.Context) bool {
	l.awaited.mu.Lock()
	defer l.awaited.mu.Unlock()
	if time.Since(l.awaited.read) >= awaitedFor {
		waiting, err := l.waiting(ctx)
		if err != nil {
			return true
		}
		l.awaited.read, l.awaited.any = time.Now(), len(waiting) > 0
	}
	return l.awaited.any
}

// RankingSubmitted is called in the transaction of each ranking: the one that completes the batch of a round, or its probe, moves
// it on.
func (l *Loop) RankingSubmitted(ctx context.Context, tx pgx.Tx, projectID string) error {
	batches, err := l.awaitedBatches(ctx, tx, projectID)
	if err != nil {
		return err
	}
	for _, b := range batches {
		counts, err := l.Labeling.BatchCountsTx(ctx, tx, projectID, b.Batch)
		if err != nil {
			return err
		}
		if counts.Done < counts.Need {
			continue
		}
		if err := l.enqueue.insert(ctx, tx, advanceArgs{RoundID: b.Round}); err != nil {
			return err
		}
	}
	return nil
}

// View is a round with its progress counted.
func (l *Loop) View(ctx context.Context, id string) (Round, error) {
	r, err := l.Get(ctx, id)
	if err != nil {
		return r, err
	}
	r.Progress, err = l.progress(ctx, r)
	return r, err
}

func (l *Loop) progress(ctx context.Context, r Round) (Progress, error) {
	byRun := func(id, unit string) (Progress, error) {
		if id == "" {
			return Progress{Unit: unit}, nil
		}
		v, err := l.Runs.Get(ctx, id)
		return Progress{Done: max(v.Step, v.LiveStep), Total: v.Total, Unit: unit}, err
	}
	switch r.Stage {
	case StageSample, StageRank:
		c, err := l.Labeling.BatchCounts(ctx, r.ProjectID, r.ID)
		if r.Stage == StageSample {
			return Progress{Done: c.Tasks, Total: r.Config.Prompts, Unit: "prompts answered"}, err
		}
		return Progress{Done: c.Done, Total: c.Need, Unit: "rankings"}, err
	case StageSFT:
		return byRun(r.SFTRunID, "training steps")
	case StageReward:
		return byRun(r.RewardRunID, "reward steps")
	case StagePPO:
		return byRun(r.PPORunID, "PPO steps")
	case StageEvaluate:
		return byRun(r.EvaluateRunID, "prompt chunks")
	}
	return Progress{}, nil
}

// Promote lets a version answer customers, a policy or a supervised model of any round, or lets a reward model score for outside
// trainers. The reason may be empty.
func (l *Loop) Promote(ctx context.Context, versionID, actor, reason string) error {
	v, err := l.version(ctx, versionID)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return l.promote(ctx, tx, v, actor, reason) })
}

// Rollback lets the version that served before the present one serve again.
func (l *Loop) Rollback(ctx context.Context, actor, reason string) (v registry.Version, err error) {
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		moved, err := l.moving(ctx, tx)
		if err != nil {
			return err
		}
		if v, err = l.Registry.Rollback(ctx, tx, Channel, actor, reason); err != nil {
			return err
		}
		if err := moved(v.ID, reason); err != nil {
			return err
		}
		return l.bringReward(ctx, tx, v, actor)
	})
	return v, err
}
