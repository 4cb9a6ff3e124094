package registry

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Observe keeps how requests were answered, for the guards. Those of canaries that have ended are dropped.
func (s *Store) Observe(ctx context.Context, list []Observation) error {
	n := len(list)
	ids, sides, ms := make([]string, n), make([]bool, n), make([]int, n)
	failed, empty, cut, repeating, rewards := make([]bool, n), make([]bool, n), make([]bool, n), make([]bool, n), make([]*float64, n)
	for i, o := range list {
		ids[i], sides[i], ms[i] = o.CanaryID, o.Canary, o.Milliseconds
		failed[i], empty[i], cut[i], repeating[i], rewards[i] = o.Failed, o.Empty, o.Cut, o.Repeating, o.Reward
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO canary_answers (canary_id, canary, ms, failed, empty, cut, repeating, reward, at)
		SELECT c.id, o.canary, o.ms, o.failed, o.empty, o.cut, o.repeating, o.reward, clock_timestamp()
		FROM unnest($1::uuid[], $2::boolean[], $3::integer[], $4::boolean[], $5::boolean[], $6::boolean[], $7::boolean[], $8::float8[])
			AS o (id, canary, ms, failed, empty, cut, repeating, reward)
		JOIN canaries c ON c.id = o.id AND c.ended_at IS NULL`, ids, sides, ms, failed, empty, cut, repeating, rewards)
	if err != nil {
		return fmt.Errorf("registry: observe: %w", err)
	}
	return nil
}

// Sides are what was observed of both sides of a canary since its step began. Ratings are not known here.
func (s *Store) Sides(ctx context.Context, tx pgx.Tx, c Canary) (canary, serving Side, err error) {
	rows, err := tx.Query(ctx, `
		WITH a AS (
			SELECT canary, ms, failed, empty, cut, repeating, reward FROM canary_answers WHERE canary_id = $1 AND at >= $2
		), serves AS (
			SELECT coalesce(percentile_disc(0.95) WITHIN GROUP (ORDER BY ms), 0)::float8 AS p95 FROM a WHERE NOT canary AND NOT failed
		)
		SELECT canary, count(*), count(*) FILTER (WHERE failed), count(*) FILTER (WHERE empty AND NOT failed), count(*) FILTER (WHERE cut AND NOT failed),
			count(*) FILTER (WHERE repeating AND NOT failed), count(*) FILTER (WHERE NOT failed AND ms > greatest($3 * p95, p95 + $4)),
			coalesce(percentile_disc(0.95) WITHIN GROUP (ORDER BY ms) FILTER (WHERE NOT failed), 0)::float8,
			count(reward), coalesce(avg(reward), 0)::float8, coalesce(var_samp(reward), 0)::float8
		FROM a, serves GROUP BY canary`, c.ID, c.StepAt, c.Config.Slower, float64(SlowFloor))
	if err != nil {
		return canary, serving, fmt.Errorf("registry: canary %s: %w", c.ID, err)
	}
	var side Side
	var isCanary bool
	_, err = pgx.ForEachRow(rows, []any{&isCanary, &side.Answers, &side.Failed, &side.Empty, &side.Cut, &side.Repeating, &side.Slow, &side.P95,
		&side.Scored, &side.Reward, &side.RewardVar}, func() error {
		if isCanary {
			canary = side
		} else {
			serving = side
		}
		return nil
	})
	if err != nil {
		return canary, serving, fmt.Errorf("registry: canary %s: %w", c.ID, err)
	}
	return canary, serving, nil
}
