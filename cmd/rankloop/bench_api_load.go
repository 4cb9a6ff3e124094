package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rankloop/rankloop/model/decode"
)

// together are many streams against one.
func (l *apiLab) together(ctx context.Context) ([]bar, error) {
	e := l.engine(l.Streams, l.Streams)
	defer e.Close()
	var one, many, gains []float64
	for i := range l.Repeats + 1 {
		l.show.show("streams", i, l.Repeats+1, "samples")
		a, err := l.closed(ctx, e, 1, l.Time)
		if err != nil {
			return nil, err
		}
		b, err := l.closed(ctx, e, l.Streams, l.Time)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first is for warming up
			one, many, gains = append(one, a), append(many, b), append(gains, b/a)
		}
	}
	return []bar{atLeast(fmt.Sprintf("tokens/s of %d streams over one", l.Streams), median(gains), "x", 8,
		fmt.Sprintf("%.0f and %.0f tokens/s", median(many), median(one)))}, nil
}

// beside is the time to the first token beside PPO.
func (l *apiLab) beside(ctx context.Context) ([]bar, error) {
	step := benchPPOCmd{Shape: l.Shape, Episodes: 32, Samples: 1, Prompt: l.Prompt, Tokens: l.Tokens, Epochs: 4, Minibatch: 8, Critic: "shared", Precision: "float32"}
	trainer, _, err := step.trainer()
	if err != nil {
		return nil, err
	}
	e := l.engine(l.Streams, 4*l.Streams)
	defer e.Close()
	var idle, busy, wholeIdle, wholeBusy []time.Duration
	var alone, besides []float64 // seconds of a step of PPO
	for i := range l.Repeats + 1 {
		l.show.show("beside", i, l.Repeats+1, "samples")
		quiet := l.open(ctx, e, l.Rate, l.Time)
		before, err := iterate(ctx, trainer)
		if err != nil {
			return nil, err
		}
		training, stop := context.WithCancel(ctx)
		type outcome struct {
			seconds []float64
			err     error
		}
		done := make(chan outcome)
		go func() {
			var o outcome
			for training.Err() == nil && o.err == nil {
				var s float64
				if s, o.err = iterate(training, trainer); o.err == nil {
					o.seconds = append(o.seconds, s)
				}
			}
			done <- o
		}()
		loud := l.open(ctx, e, l.Rate, l.Time)
		stop()
		o := <-done
		if o.err != nil && training.Err() == nil {
			return nil, o.err
		}
		if i == 0 {
			continue
		}
		alone, besides = append(alone, before), append(besides, o.seconds...)
		for _, a := range quiet {
			idle, wholeIdle = append(idle, a.first), append(wholeIdle, a.last)
		}
		for _, a := range loud {
			busy, wholeBusy = append(busy, a.first), append(wholeBusy, a.last)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	note := fmt.Sprintf("p95 %s and %s (median %s and %s), n = %d; whole answers p95 %s and %s", short(quantile(busy, .95)), short(quantile(idle, .95)),
		short(quantile(busy, .5)), short(quantile(idle, .5)), len(busy), short(quantile(wholeBusy, .95)), short(quantile(wholeIdle, .95)))
	if len(besides) > 0 {
		note += fmt.Sprintf("; a step of PPO %.3g s, alone %.3g s", median(besides), median(alone))
	}
	return []bar{atMost("first token beside PPO over idle, p95", float64(quantile(busy, .95))/float64(quantile(idle, .95)), "x", 3, note)}, nil
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// overload is four times what can be served.
func (l *apiLab) overload(ctx context.Context) ([]bar, error) {
	places := max(1, l.Streams/4) // few, as each more of them makes all slower
	e := l.engine(places, 4*places)
	defer e.Close()
	var ratios, refusals, goodputs, recoveries []float64
	accepted, refused := 0, 0
	var calmP, loudP, calmAll, loudAll, loudFirst []time.Duration
	for i := range l.Repeats + 1 {
		l.show.show("overload", i, l.Repeats+1, "samples")
		peak, err := l.closed(ctx, e, places, l.Time)
		if err != nil {
			return nil, err
		}
		full := peak / float64(l.Tokens) // requests a second
		calm := l.open(ctx, e, full/2, l.Time)
		begin := time.Now()
		loud := l.open(ctx, e, 4*full, l.Time)
		took := time.Since(begin)
		after := l.open(ctx, e, full/2, l.Time)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if i == 0 {
			continue
		}
		done := func(list []answer) (last, gone []time.Duration, tokens int, err error) {
			for _, a := range list {
				switch {
				case errors.Is(a.err, decode.ErrBusy):
					gone = append(gone, a.refused)
				case a.err != nil:
					return nil, nil, 0, a.err
				default:
					last, tokens = append(last, a.last), tokens+a.tokens
				}
			}
			return last, gone, tokens, nil
		}
		before, _, _, err1 := done(calm)
		last, gone, tokens, err2 := done(loud)
		again, _, _, err3 := done(after)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		if len(before) == 0 || len(last) == 0 || len(gone) == 0 || len(again) == 0 {
			return nil, errors.New("too few requests in a sample; use a longer --time")
		}
		accepted, refused = accepted+len(last), refused+len(gone)
		p := quantile(before, .99)
		calmP, loudP = append(calmP, p), append(loudP, quantile(last, .99))
		calmAll, loudAll = append(calmAll, before...), append(loudAll, last...)
		for _, a := range loud {
			if a.tokens > 0 {
				loudFirst = append(loudFirst, a.first)
			}
		}
		ratios = append(ratios, float64(quantile(last, .99))/float64(p))
		refusals = append(refusals, float64(quantile(gone, .99))/float64(time.Millisecond))
		goodputs = append(goodputs, float64(tokens)/took.Seconds()/peak)
		recoveries = append(recoveries, float64(quantile(again, .99))/float64(p))
	}
	return []bar{
		atMost("overload: p99 of accepted over half load", median(ratios), "x", 2, fmt.Sprintf("%s and %s with %d places, %d accepted; medians %s and %s; first token p99 %s", short(median(loudP)), short(median(calmP)), places, accepted,
			short(median(loudAll)), short(median(calmAll)), short(quantile(loudFirst, .99)))),
		atMost("overload: p99 until a refusal", median(refusals), "ms", 50, fmt.Sprintf("%d refused", refused)),
		atLeast("overload: tokens over the peak", median(goodputs), "x", .9, ""),
		atMost("after overload: p99 over before", median(recoveries), "x", 2, ""),
	}, nil
}
