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

	Remote  *remote.Client // asks other engines; nil: none is asked
	Secrets Secrets        // keeps their keys
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
	serving, err := l.Registry.Serving(ctx, Channel)
	if errors.Is(err, registry.ErrNotFound) {
		return Round{}, &InvalidError{"policy", "no policy is serving yet: promote one first"}
	}
	if err != nil {
		return Round{}, err
	}
	sft, err := l.reference(ctx, serving)
	if err != nil {
		return Round{}, err
	}
	init := serving
	if c.Retrain {
		init = sft
	}
	r, err := l.insert(ctx, tx, Round{ProjectID: projectID, Actor: actor, Config: c, InitVersionID: init.ID, SFTVersionID: sft.ID})
	if err != nil {
		return r, err
	}
	if err := audit(ctx, tx, actor, "round.start", r.ID, map[string]any{"number": r.Number, "config": c}); err != nil {
		return r, err
	}
	if !c.Retrain {
		slow, err := l.slow(ctx, tx)
		if err != nil {
			return r, err
		}
		return r, l.enqueue.insert(ctx, tx, sampleArgs{RoundID: r.ID, Slow: slow})
	}
	err = l.startReward(ctx, tx, &r)
	if errors.Is(err, labeling.ErrEmpty) {
		return r, &InvalidError{"without", "nothing is left to learn from"}
	}
	if err != nil {
		return r, err
	}
	return r, l.save(ctx, tx, r)
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

// nearest is the version of a kind that the fewest steps lead back to, ErrNotFound where there is none. It looks a few steps back before
// it looks at all: a thousand rounds have thousands of ancestors.
func (l *Loop) nearest(ctx context.Context, id, kind string) (registry.Version, error) {
	for depth := 4; ; depth *= 8 {
		line, err := l.Registry.Near(ctx, id, depth)
		if err != nil {
			return registry.Version{}, err
		}
		for _, a := range line {
			if a.Kind == kind {
				return a.Version, nil
			}
		}
		if line[len(line)-1].Depth < depth {
			return registry.Version{}, ErrNotFound
		}
	}
}

// Cancel ends an open round; its runs stop at their next step, and what people ranked stays.
func (l *Loop) Cancel(ctx context.Context, id, actor string) error {
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
}

func (l *Loop) stopRuns(ctx context.Context, tx pgx.Tx, r Round) error {
	for _, id := range []string{r.RewardRunID, r.PPORunID, r.EvaluateRunID} {
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
		if err := audit(ctx, tx, actor, "round.proceed", r.ID, map[string]any{}); err != nil {
			return err
		}
		return l.startReward(ctx, tx, r)
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
		if err := l.promote(ctx, tx, v, actor); err != nil {
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
// trainers.
func (l *Loop) Promote(ctx context.Context, versionID, actor string) error {
	v, err := l.version(ctx, versionID)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error { return l.promote(ctx, tx, v, actor) })
}

// Rollback lets the version that served before the present one serve again.
func (l *Loop) Rollback(ctx context.Context, actor string) (v registry.Version, err error) {
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if v, err = l.Registry.Rollback(ctx, tx, Channel, actor); err != nil {
			return err
		}
		return l.bringReward(ctx, tx, v.ID, actor)
	})
	return v, err
}
