package loop

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// keepSamples writes what the policy answered; what is there already is the same.
func (s *Store) keepSamples(ctx context.Context, runID string, samples []PolicySample) error {
	b := &pgx.Batch{}
	for _, x := range samples {
		b.Queue(`INSERT INTO policy_samples (run_id, iteration, prompt_id, place, ids, pieces, logprobs, kl, score, held_score, held_by, ended)
			SELECT $1, $2, p.id, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM prompts p WHERE p.id = $3 -- it may have been erased meanwhile
			ON CONFLICT DO NOTHING`,
			runID, x.Iteration, x.PromptID, x.Place, x.IDs, x.Pieces, x.Logprobs, x.KL, x.Score, x.HeldScore, x.HeldBy, x.Ended)
	}
	return s.pool.SendBatch(ctx, b).Close()
}

const sampleColumns = `iteration, place, prompt_id::text, ids, pieces, logprobs, kl, score, held_score, held_by, ended`

// Samples are what a run's policy answered to one prompt of its fixed set, by its place, the earliest first.
func (s *Store) Samples(ctx context.Context, runID string, place int) ([]PolicySample, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+sampleColumns+` FROM policy_samples WHERE run_id::text = $1 AND place = $2 ORDER BY iteration`, runID, place)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[PolicySample])
}

// SampledPrompt is a prompt of a run's fixed set.
type SampledPrompt struct {
	Place int
	ID    string
}

// SampledPrompts are the prompts that a run's policy was asked.
func (s *Store) SampledPrompts(ctx context.Context, runID string) ([]SampledPrompt, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT place, prompt_id::text FROM policy_samples WHERE run_id::text = $1 ORDER BY 1`, runID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[SampledPrompt])
}

// SampledScores are the mean scores of a run's samples by iteration.
type SampledScores struct {
	Iteration int
	N         int
	Proxy     float64  // of the reward model that the policy is trained on
	Held      *float64 // of the judge that it is not; nil where there is none
	KL        float64  // nats per answer
	Length    float64  // tokens
}

// SampledScores tell how the scores of a run's samples went, the earliest first.
func (s *Store) SampledScores(ctx context.Context, runID string) ([]SampledScores, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT iteration, count(*)::int, avg(score), avg(held_score), coalesce(avg((SELECT sum(x) FROM unnest(kl) x)), 0)::float8, avg(cardinality(ids))::float8
		FROM policy_samples WHERE run_id::text = $1 GROUP BY iteration ORDER BY iteration`, runID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[SampledScores])
}

// earlierReward is the reward model of the newest earlier round of the project that has one, "" where there is none.
func (s *Store) earlierReward(ctx context.Context, r Round) (id string, err error) {
	err = s.pool.QueryRow(ctx, `SELECT reward_version_id::text FROM rounds WHERE project_id = $1 AND number < $2 AND reward_version_id IS NOT NULL
		ORDER BY number DESC LIMIT 1`, r.ProjectID, r.Number).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return id, err
}
