package labeling

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// ScoreTasks writes what a ranking of each task would tell, in the caller's transaction (see Candidate). Unknown tasks are
// passed over.
func (s *Store) ScoreTasks(ctx context.Context, tx pgx.Tx, scores map[string]float64) error {
	ids, values := make([]string, 0, len(scores)), make([]float64, 0, len(scores))
	for id, v := range scores {
		if !isID(id) {
			return fmt.Errorf("score of task %q: %w", id, ErrNotFound)
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return invalid("score", "%g of task %s is not finite", v, id)
		}
		ids, values = append(ids, id), append(values, v)
	}
	_, err := tx.Exec(ctx, `UPDATE tasks t SET score = u.score FROM unnest($1::uuid[], $2::float8[]) u(id, score) WHERE t.id = u.id`, ids, values)
	return wrap(err, "score %d tasks", len(ids))
}

// Arrange puts the open tasks of a batch ("" = those of no batch) into the order in which they are worth ranking, by the
// project's shares (SelectNext). Answers of modelVersion are the policy's own. The order costs a claim nothing: the tasks get
// new positions at the end of the queue, behind every labeler's watermark. It returns how many were arranged.
func (s *Store) Arrange(ctx context.Context, tx pgx.Tx, projectID, batch, modelVersion string, seed uint64) (int, error) {
	settings, err := s.QualitySettings(ctx, projectID)
	if err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, `
		SELECT t.id, coalesce(t.score, 0), t.score IS NOT NULL,
			NOT EXISTS (SELECT FROM responses r WHERE r.task_id = t.id AND r.model_version <> $3)
		FROM tasks t WHERE t.project_id = $1 AND t.batch = $2 AND t.open ORDER BY t.id FOR NO KEY UPDATE`, projectID, batch, modelVersion)
	if err != nil {
		return 0, wrap(err, "arrange batch %q", batch)
	}
	var ids []string
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Candidate, err error) {
		var id string
		err = row.Scan(&id, &c.Score, &c.Scored, &c.OnPolicy)
		ids = append(ids, id)
		return
	})
	if err != nil {
		return 0, wrap(err, "arrange batch %q", batch)
	}
	order := make([]string, 0, len(ids))
	for _, i := range SelectNext(list, settings.RandomShare, settings.PolicyShare, derive("arrange", fmt.Sprint(projectID, batch, seed))) {
		order = append(order, ids[i])
	}
	// One run of the sequence, dealt out in the order given: an update may visit its rows in any order.
	_, err = tx.Exec(ctx, `
		WITH fresh AS MATERIALIZED (SELECT nextval('task_position') AS position FROM generate_series(1, cardinality($1::uuid[]))),
		dealt AS MATERIALIZED (SELECT position, row_number() OVER (ORDER BY position) AS n FROM fresh)
		UPDATE tasks t SET position = d.position FROM unnest($1::uuid[]) WITH ORDINALITY u(id, n) JOIN dealt d ON d.n = u.n WHERE t.id = u.id`, order)
	return len(order), wrap(err, "arrange batch %q", batch)
}
