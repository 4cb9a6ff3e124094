package loop

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/model/token"
)

const (
	pastRounds    = 5   // that a forecast looks back on
	tokensSampled = 100 // prompts whose tokens are counted
)

// Estimate says what a round with this configuration would take here: by the cost model, and, where a stage was gone through before, by
// what it took then. InvalidError where the round could not start.
func (l *Loop) Estimate(ctx context.Context, projectID string, c Config) (Forecast, error) {
	if err := c.Validate(); err != nil {
		return Forecast{}, err
	}
	r := Round{ProjectID: projectID, Config: c}
	if err := l.startFrom(ctx, &r); err != nil {
		return Forecast{}, err
	}
	out, err := l.forecast(ctx, r)
	if err != nil {
		return out, err
	}
	if free, ok := l.free(); ok {
		out.Available = free
	}
	return out, nil
}

// forecast is the prediction for a round whose versions are known.
func (l *Loop) forecast(ctx context.Context, r Round) (Forecast, error) {
	if l.Cost == nil {
		return Forecast{}, errors.New("this process knows no cost model")
	}
	g, err := l.ground(ctx, r.ProjectID)
	if err != nil {
		return Forecast{}, err
	}
	past, err := l.past(ctx, r.ProjectID, g)
	if err != nil {
		return Forecast{}, err
	}
	if r.Report == nil { // answers are as long as those of the newest round that was evaluated
		for _, p := range past {
			if p.Stage == StageEvaluate {
				r.Report = &Report{Length: p.Facts.Answer}
				break
			}
		}
	}
	f, err := l.facts(ctx, r, g)
	if err != nil {
		return Forecast{}, err
	}
	return Predict(f, past, l.Cost), nil
}

// Fit returns the configuration with as many iterations of PPO as the seconds leave room for on this machine, at most those that it asks
// for. InvalidError "hours" where they leave none.
func (l *Loop) Fit(ctx context.Context, projectID string, c Config, seconds float64) (Config, Forecast, error) {
	f, err := l.Estimate(ctx, projectID, c)
	if err != nil || seconds <= 0 || f.Seconds <= seconds {
		return c, f, err
	}
	at := slices.IndexFunc(f.Stages, func(s StageForecast) bool { return s.Stage == StagePPO })
	if at < 0 {
		return c, f, &InvalidError{"hours", "are too few for what is asked, and there is no PPO to shorten"}
	}
	each := f.Stages[at].Seconds / float64(c.PPO.Iterations)
	n := int((seconds - (f.Seconds - f.Stages[at].Seconds)) / each)
	if n < 1 {
		return c, f, &InvalidError{"hours", "are too few: the other stages alone take longer"}
	}
	c.PPO.Iterations = min(n, c.PPO.Iterations)
	f, err = l.Estimate(ctx, projectID, c)
	f.Fits = c.PPO.Iterations
	return c, f, err
}

// ground is what a project has, read once for all rounds that are looked at.
type ground struct {
	labeling.Material
	prompts []labeling.Prompt // some of them
	reward  bool              // whether there is a reward model
}

func (l *Loop) ground(ctx context.Context, projectID string) (g ground, err error) {
	if g.Material, err = l.Labeling.Material(ctx, projectID); err != nil {
		return g, err
	}
	if g.prompts, err = l.Labeling.UsablePrompts(ctx, projectID, labeling.Train, time.Time{}, tokensSampled); err != nil {
		return g, err
	}
	newest, err := l.Registry.List(ctx, registry.Reward, 1)
	g.reward = len(newest) > 0
	return g, err
}

// facts gathers what a round's time follows from.
func (l *Loop) facts(ctx context.Context, r Round, g ground) (f Facts, err error) {
	f = Facts{Config: r.Config, Moved: r.InitVersionID != r.SFTVersionID, Scored: g.reward, HeldOut: g.Prompts[labeling.Test],
		Pool: g.Prompts[labeling.Train] + g.Prompts[labeling.Valid], Demonstrations: g.Demonstrations}
	tok, err := l.shapes(ctx, r, &f)
	if err != nil {
		return f, err
	}
	if f.Prompt, err = l.promptTokens(tok, g.prompts); err != nil {
		return f, err
	}
	f.Answer = float64(r.Config.MaxTokens)
	if r.Report != nil && r.Report.Length > 0 {
		f.Answer = min(f.Answer, r.Report.Length)
	}
	f.Demonstration = min(f.Prompt+f.Answer, float64(f.Policy.Context))
	f.Groups, err = l.groupsOf(ctx, r, g)
	return f, err
}

// shapes reads the policy's and the reward model's, and returns the policy's tokenizer.
func (l *Loop) shapes(ctx context.Context, r Round, f *Facts) (token.Tokenizer, error) {
	v, err := l.Registry.Get(ctx, r.InitVersionID)
	if err != nil {
		return nil, err
	}
	dir, err := l.Blobs.Open(ctx, v.Digest)
	if err != nil {
		return nil, err
	}
	d, err := checkpoint.Describe(dir)
	if err != nil {
		return nil, err
	}
	f.Policy, f.Reward = d.Config, d.Config // a reward model begins as the supervised policy
	return token.Load(dir)
}

// promptTokens is the mean of some of the prompts; 1 where there are none.
func (l *Loop) promptTokens(tok token.Tokenizer, prompts []labeling.Prompt) (float64, error) {
	if len(prompts) == 0 {
		return 1, nil
	}
	sum := 0
	for _, p := range prompts {
		ids, err := promptIDs(tok, l.Template, p)
		if err != nil {
			return 0, err
		}
		sum += len(ids)
	}
	return float64(sum) / float64(len(prompts)), nil
}

// groupsOf is how many ranked prompts the reward model of a round learns from: those of its snapshot, or else those that are there and those
// that the round adds.
func (l *Loop) groupsOf(ctx context.Context, r Round, g ground) (int, error) {
	id := r.SnapshotID
	if id == "" {
		id = r.Config.Snapshot
	}
	if id != "" {
		snap, err := l.Labeling.SnapshotByID(ctx, id)
		if errors.Is(err, labeling.ErrNotFound) {
			return 0, nil
		}
		return snap.Prompts, err
	}
	n := g.Ranked
	if r.Config.Has(StageRank) {
		n += min(r.Config.Prompts, g.Prompts[labeling.Train]+g.Prompts[labeling.Valid])
	}
	return n, nil
}

// past are the stages of the newest rounds that ran undisturbed.
func (l *Loop) past(ctx context.Context, projectID string, g ground) (all []Past, err error) {
	rounds, err := l.List(ctx, projectID, pastRounds)
	if err != nil {
		return nil, err
	}
	for _, r := range rounds {
		times, err := l.StageTimes(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		f, err := l.facts(ctx, r, g)
		if err != nil {
			continue // its weights were removed
		}
		for _, t := range times {
			if t.EndedAt != nil && !t.Broken {
				all = append(all, Past{f, t.Stage, t.EndedAt.Sub(t.BeganAt).Seconds(), t.Memory})
			}
		}
	}
	return all, nil
}

// Remaining is how long an open round is still expected to take: what is left of its stage, by its pace where that shows, and the stages
// behind it. known is false where it waits for a person, or for rankings whose pace nobody knows.
func (l *Loop) Remaining(ctx context.Context, r Round) (left time.Duration, known bool, err error) {
	if r.Stage.Ended() || r.Held != "" || r.Stage == StageDecide || r.PausedAt != nil {
		return 0, false, nil
	}
	f, err := l.forecast(ctx, r)
	if err != nil {
		return 0, false, err
	}
	seconds, known := remaining(r, f, time.Since(r.StageAt).Seconds())
	return time.Duration(seconds * float64(time.Second)), known, nil
}

// remaining adds up what is ahead of a round that has been in its stage for so long.
func remaining(r Round, f Forecast, elapsed float64) (seconds float64, known bool) {
	at := slices.IndexFunc(f.Stages, func(s StageForecast) bool { return s.Stage == r.Stage })
	if at < 0 {
		return 0, false
	}
	for i, s := range f.Stages[at:] {
		share := 0.0
		if i == 0 && r.Progress.Total > 0 {
			share = min(1, float64(r.Progress.Done)/float64(r.Progress.Total))
		}
		switch {
		case share >= 0.05: // its own pace
			seconds += elapsed * (1 - share) / share
		case s.From == FromNowhere:
			return 0, false
		case i == 0:
			seconds += max(0, s.Seconds-elapsed)
		default:
			seconds += s.Seconds
		}
	}
	return seconds, true
}
