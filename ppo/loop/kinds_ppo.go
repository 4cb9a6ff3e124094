package loop

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/run"
	"github.com/rankloop/rankloop/ppo"
	"github.com/rankloop/rankloop/reward"
)

// ppoRun is a PPO trainer with what looks at it on the way, and what is needed to publish its result.
type ppoRun struct {
	*ppo.Trainer
	cfg    ppo.Config // with the guards' limits as they are now
	watch  *watch
	probe  *probe
	round  Round
	init   *checkpoint.Checkpoint
	digest string
	kl     *float64 // of the newest iteration, nats per response; nil: none was finished since the run was loaded
}

// Step does one unit. Where that makes an alarm go off the run halts: after the step, or, where a guard of ppo saw it first, without it.
func (t *ppoRun) Step(ctx context.Context) (run.Metrics, error) {
	step, _ := t.Progress()
	said, err := t.probe.ask(ctx, t, step == 0)
	if err != nil {
		return nil, err
	}
	iteration := t.Iteration()
	m, err := t.Trainer.Step(ctx)
	if err != nil {
		if trip := t.watch.guarded(t.cfg, step+1, err); trip != nil {
			return nil, &run.HaltError{Err: trip}
		}
		return nil, err
	}
	if t.Iteration() > iteration {
		if said, err = t.probe.ask(ctx, t, t.probe.due(t.Iteration(), t.Done())); err != nil {
			return nil, err
		}
	}
	maps.Copy(m, said)
	if kl, ok := m["kl"]; ok {
		t.kl = &kl
	}
	if trip := t.watch.see(step+1, m); trip != nil {
		return m, &run.HaltError{Err: trip}
	}
	return m, nil
}

// newPPO builds the PPO run of a round: the serving policy, the SFT reference, the reward model as judge and as critic's
// start, and the customers' prompts.
func (l *Loop) newPPO(ctx context.Context, v run.Run) (run.Trainer, error) {
	r, err := l.roundOf(ctx, v)
	if err != nil {
		return nil, err
	}
	_, init, err := l.open(ctx, r.InitVersionID)
	if err != nil {
		return nil, err
	}
	_, sft, err := l.open(ctx, r.SFTVersionID)
	if err != nil {
		return nil, err
	}
	_, rm, err := l.open(ctx, r.RewardVersionID)
	if err != nil {
		return nil, err
	}
	critic, err := ppo.Critic(rm.Model, rm.Card.RewardMean, rm.Card.RewardStd)
	if err != nil {
		return nil, err
	}
	scorer, err := reward.OpenPacked(rm, model.WeightsFloat32)
	if err != nil {
		return nil, err
	}
	prompts, err := l.prompts(ctx, r, init, labeling.Train, began(v), 1<<20)
	if err != nil {
		return nil, err
	}
	cfg := r.Config.PPO
	cfg.MaxTokens = r.Config.MaxTokens
	cfg.Seed = seedOf(r.Config.Seed, fmt.Sprintf("ppo %d", r.Number))
	t, err := ppo.NewTrainer(cfg, init.Model, sft.Model, critic, scorer,
		ppo.PromptList(prompts), int32(init.Model.Config().EOS), nil)
	if err != nil {
		return nil, err
	}
	p := &ppoRun{Trainer: t, cfg: cfg, round: r, init: init}
	if err := l.watchOver(ctx, v, p); err != nil {
		return nil, err
	}
	p.probe, err = l.newProbe(ctx, v, r, init, sft, scorer)
	return p, err
}

// watchOver sets the limits of a run as they are by now, and takes up what it has told.
func (l *Loop) watchOver(ctx context.Context, v run.Run, p *ppoRun) error {
	answered, err := l.answeredAlarms(ctx, v.ID)
	if err != nil {
		return err
	}
	told, err := l.Runs.Metrics(ctx, v.ID, -1)
	if err != nil {
		return err
	}
	p.watch = newWatch(limits(p.round.Config.Alarms, answered), told)
	p.cfg.KL.Min, p.cfg.KL.Max, p.cfg.Guard.Ratio = allow(p.cfg, answered)
	p.Allow(p.cfg.KL.Min, p.cfg.KL.Max, p.cfg.Guard.Ratio)
	return nil
}

func (l *Loop) publishPolicy(ctx context.Context, v run.Run, trainer run.Trainer) (err error) {
	t := trainer.(*ppoRun)
	t.digest, err = l.publish(ctx, v.ID, &checkpoint.Checkpoint{Model: t.Policy(), Tokenizer: t.init.Tokenizer, Card: checkpoint.Card{
		Kind: "policy", Parents: t.round.policyParents(), Snapshot: t.round.SnapshotID}})
	return err
}

// policyParents are the models a new policy comes from: the one it started as, and the reward model it was trained by.
func (r Round) policyParents() []string { return []string{r.InitVersionID, r.RewardVersionID} }

func (l *Loop) finishPPO(ctx context.Context, tx pgx.Tx, v run.Run, trainer run.Trainer) error {
	t := trainer.(*ppoRun)
	kl, err := l.lastKL(ctx, t, v.ID)
	if err != nil {
		return err
	}
	return l.finish(ctx, tx, v, func(r *Round) error {
		version, err := l.Registry.Register(ctx, tx, registry.Version{Kind: "policy", Name: fmt.Sprintf("policy-%d", r.Number), Digest: t.digest,
			Parents: r.policyParents(), RoundID: &r.ID, RunID: &v.ID, Snapshot: &r.SnapshotID})
		if err != nil {
			return err
		}
		r.PolicyVersionID = version.ID
		return l.leave(ctx, tx, r, r.Config.Gates.kl(kl))
	})
}

// lastKL is the KL of the last iteration, wherever the run was loaded since.
func (l *Loop) lastKL(ctx context.Context, t *ppoRun, runID string) (kl float64, err error) {
	if t.kl != nil {
		return *t.kl, nil
	}
	points, err := l.Runs.Metrics(ctx, runID, -1)
	for _, p := range points {
		if v, ok := p.Metrics["kl"]; ok {
			kl = v
		}
	}
	return kl, err
}
