package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// claimer claims and does what people do with a task, while the server comes and goes.
type claimer struct {
	*worker
	made  atomic.Int64 // claims that were answered
	ended atomic.Bool
	acked []string // rankings that the server said it has
}

// work goes on until ctx ends. Of ten tasks seven are submitted, one is skipped, one given back, one left to its lease.
func (c *claimer) work(ctx context.Context) error {
	defer c.ended.Store(true)
	for ctx.Err() == nil {
		code, body, err := c.insist(ctx, "/label/api/claim", "", nil)
		if err != nil || ctx.Err() != nil {
			return nil
		}
		var a struct {
			Assignment string `json:"assignment"`
			Answers    []any  `json:"answers"`
		}
		switch {
		case code == http.StatusNoContent:
			return errNothingLeft
		case code == http.StatusConflict || code == http.StatusTooManyRequests:
			continue
		case code != http.StatusOK || json.Unmarshal(body, &a) != nil:
			return fmt.Errorf("claim: %d %s", code, body)
		}
		c.made.Add(1)
		path := "/label/api/assignments/" + a.Assignment
		switch d := c.rng.IntN(10); {
		case d < 7:
			err = c.rank(ctx, path, a.Assignment, len(a.Answers))
		case d == 7:
			err = c.expect(ctx, path+"/skip", map[string]any{"reason": "cannot judge"})
		case d == 8:
			err = c.expect(ctx, path+"/release", nil)
		default: // somebody else sits down; the lease runs out
			c.sitDown(c.rng.IntN(len(c.lab.sessions)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rank submits until the server answers; another window of the same person may have been faster.
func (c *claimer) rank(ctx context.Context, path, assignment string, k int) error {
	ranks := c.rng.Perm(k)
	for i := range ranks {
		ranks[i]++
	}
	code, body, err := c.insist(ctx, path+"/submit", "claim-"+assignment, map[string]any{"ranks": ranks, "comment": "", "active_ms": 900, "wall_ms": 1000})
	if err != nil || ctx.Err() != nil || code == http.StatusConflict {
		return nil
	}
	var r struct{ Ranking string }
	if code != http.StatusOK || json.Unmarshal(body, &r) != nil || r.Ranking == "" {
		return fmt.Errorf("submit: %d %s", code, body)
	}
	c.acked = append(c.acked, r.Ranking)
	return nil
}

func (c *claimer) expect(ctx context.Context, path string, body any) error {
	code, answer, err := c.insist(ctx, path, "", body)
	if err == nil && code != http.StatusNoContent && code != http.StatusConflict && ctx.Err() == nil {
		return fmt.Errorf("%s: %d %s", path, code, answer)
	}
	return nil
}

// insist sends until the server answers with anything but a failure of its own.
func (c *claimer) insist(ctx context.Context, path, key string, body any) (int, []byte, error) {
	for {
		code, answer, err := c.post(ctx, path, key, body)
		if err == nil && code < 500 {
			return code, answer, nil
		}
		if !pauseFor(ctx, 20*time.Millisecond) {
			return 0, nil, ctx.Err()
		}
	}
}
