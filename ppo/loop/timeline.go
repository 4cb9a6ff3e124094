package loop

import (
	"context"
	"slices"
	"time"
)

// StageTime is a stage of a round in time.
type StageTime struct {
	Stage Stage
	Began *time.Time // nil: not yet, or it was not noted
	Ended *time.Time
	Took  time.Duration  // until it ended, or until now
	Left  *time.Duration // estimate of what is to come; nil: there is nothing to tell it from
	Like  int            // number of the round whose time Left is; 0: Left follows from the stage's own pace
}

// Timeline are the stages of a round in time, with an estimate of what is left: of the present one by its own pace, of those to come
// by the newest round that went all the way.
func (l *Loop) Timeline(ctx context.Context, r Round) ([]StageTime, error) {
	now, former, err := l.clockAndFormer(ctx, r)
	if err != nil {
		return nil, err
	}
	times, err := l.StageTimes(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	var like []TimedStage
	if former.ID != "" {
		if like, err = l.StageTimes(ctx, former.ID); err != nil {
			return nil, err
		}
	}
	return timeline(r, times, former.Number, like, now), nil
}

// timeline is pure; like are the times of the round of that number.
func timeline(r Round, times []TimedStage, number int, like []TimedStage, now time.Time) []StageTime {
	present := slices.Index(Stages, r.Stage)
	var out []StageTime
	for i, stage := range Stages[:len(Stages)-1] {
		s := StageTime{Stage: stage}
		if t := at(times, stage); t != nil {
			s.Began, s.Ended, s.Took = &t.BeganAt, t.EndedAt, t.took(now)
		}
		switch {
		case r.Stage.Ended() || r.PausedAt != nil || i < present || stage == StageDecide:
		case i == present:
			if s.Ended == nil {
				s.Left = pace(r.Progress, s.Took)
			}
		default:
			if t := at(like, stage); t != nil && t.EndedAt != nil && !t.Broken {
				left := t.took(now)
				s.Left, s.Like = &left, number
			}
		}
		out = append(out, s)
	}
	return out
}

// at is the time of a stage; nil where the round has not come to it.
func at(times []TimedStage, stage Stage) *TimedStage {
	if i := slices.IndexFunc(times, func(t TimedStage) bool { return t.Stage == stage }); i >= 0 {
		return &times[i]
	}
	return nil
}

// took is how long the stage lasted, or has lasted until now.
func (t TimedStage) took(now time.Time) time.Duration {
	if t.EndedAt != nil {
		now = *t.EndedAt
	}
	return now.Sub(t.BeganAt)
}

// pace is how long the rest takes if it goes on as so far.
func pace(p Progress, took time.Duration) *time.Duration {
	if p.Done <= 0 || p.Total <= 0 {
		return nil
	}
	left := time.Duration(float64(took) / float64(p.Done) * float64(max(0, p.Total-p.Done)))
	return &left
}
