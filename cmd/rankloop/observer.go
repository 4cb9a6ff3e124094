package main

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/rankloop/rankloop/model"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/web"
)

const (
	observeEvery = 200 * time.Millisecond
	observeMost  = 4096 // that wait; what comes on top is not counted
	scoredMost   = 8    // of each side in a batch: scoring must not take the processor from those who answer
)

// observer writes down how requests were answered while a canary is under way, and lets the promoted reward model score some.
type observer struct {
	app     *app
	rewards *rewards
	in      chan web.Observation
}

func newObserver(a *app, r *rewards) *observer {
	return &observer{a, r, make(chan web.Observation, observeMost)}
}

// take never blocks.
func (o *observer) take(x web.Observation) {
	select {
	case o.in <- x:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (o *observer) run(ctx context.Context) {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			o.write(ctx)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	o.write(last)
}

// write empties the queue as it is now.
func (o *observer) write(ctx context.Context) {
	var batch []web.Observation
	for range len(o.in) {
		batch = append(batch, <-o.in)
	}
	if len(batch) == 0 {
		return
	}
	if err := o.score(ctx, batch); err != nil && ctx.Err() == nil {
		o.app.log.Warn("answers beside a canary could not be scored; its reward guard sees less", "error", err)
	}
	list := make([]registry.Observation, len(batch))
	for i, x := range batch {
		list[i] = x.Observation
	}
	if err := o.app.registry.Observe(ctx, list); err != nil {
		o.app.log.Warn("answers beside a canary could not be counted; its guards see less", "error", err)
	}
}

// score sets the rewards of the first answers of each side. Those that the reward model cannot read have none.
func (o *observer) score(ctx context.Context, batch []web.Observation) error {
	m, err := o.rewards.Reward(ctx)
	if errors.Is(err, web.ErrNoReward) {
		return nil
	}
	if err != nil {
		return err
	}
	var seqs []model.Sequence
	var of []int // observation of each sequence
	taken := map[bool]int{}
	for i, x := range batch {
		if x.Failed || len(x.Sequences) == 0 || taken[x.Canary] == scoredMost || x.Tokenizer != m.Tokenizer.Digest() || longest(x.Sequences) > m.Scorer.Model().Config().Context {
			continue
		}
		taken[x.Canary]++
		for _, q := range x.Sequences {
			seqs, of = append(seqs, q), append(of, i)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	scores, err := m.Scorer.Score(ctx, seqs)
	if err != nil {
		return err
	}
	sum, n := map[int]float64{}, map[int]float64{}
	for j, s := range scores {
		sum[of[j]] += s
		n[of[j]]++
	}
	for i := range sum {
		if mean := sum[i] / n[i]; !math.IsNaN(mean) && !math.IsInf(mean, 0) {
			batch[i].Reward = &mean
		}
	}
	return nil
}

func longest(list []model.Sequence) (n int) {
	for _, q := range list {
		n = max(n, len(q.IDs))
	}
	return n
}
