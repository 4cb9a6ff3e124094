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
	return timeline(r, former, now), nil
}

// timeline is pure; former may be the zero Round.
func timeline(r, former Round, now time.Time) []StageTime {
	present := slices.Index(Stages, r.Stage)
	var out []StageTime
	for i, stage := range Stages[:len(Stages)-1] {
		s := StageTime{Stage: stage}
		s.Began, s.Ended = span(r, i)
		switch {
		case s.Began != nil && s.Ended != nil:
			s.Took = s.Ended.Sub(*s.Began)
		case s.Began != nil:
			s.Took = now.Sub(*s.Began)
		}
		switch {
		case r.Stage.Ended() || r.PausedAt != nil || i < present || stage == StageDecide:
		case i == present:
			s.Left = pace(r.Progress, s.Took)
		default:
			if b, e := span(former, i); b != nil && e != nil {
				left := e.Sub(*b)
				s.Left, s.Like = &left, former.Number
			}
		}
		out = append(out, s)
	}
	return out
}

// span is when the i-th stage began and ended.
func span(r Round, i int) (began, ended *time.Time) {
	at, ok := r.Began[Stages[i]]
	if !ok {
		return nil, nil
	}
	for _, later := range slices.Concat(Stages[i+1:], []Stage{StageFailed, StageCancelled}) {
		if t, ok := r.Began[later]; ok && !t.Before(at) && (ended == nil || t.Before(*ended)) {
			ended = &t
		}
	}
	return &at, ended
}

// pace is how long the rest takes if it goes on as so far.
func pace(p Progress, took time.Duration) *time.Duration {
	if p.Done <= 0 || p.Total <= 0 {
		return nil
	}
	left := time.Duration(float64(took) / float64(p.Done) * float64(max(0, p.Total-p.Done)))
	return &left
}
