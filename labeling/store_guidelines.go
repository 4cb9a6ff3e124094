package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Guideline is one version of a project's instructions.
type Guideline struct {
	Version   int
	Body      string // markdown
	CreatedAt time.Time
	Read      int // labelers whose newest version this is
}

// Guidelines lists the versions of a project's instructions, newest first, at most 200.
func (s *Store) Guidelines(ctx context.Context, projectID string) ([]Guideline, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT g.version, g.body, g.created_at, (SELECT count(*) FROM guideline_acks k WHERE k.project_id = g.project_id AND k.version = g.version)::int
		FROM guidelines g WHERE g.project_id = $1 ORDER BY g.version DESC LIMIT 200`, projectID)
	if err != nil {
		return nil, wrap(err, "guidelines of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Guideline])
	return list, wrap(err, "guidelines of project %s", projectID)
}

// Acknowledge notes that the labeler has read a version of the project's instructions. An older one than was read
// before changes nothing; one that does not exist is ErrNotFound.
func (s *Store) Acknowledge(ctx context.Context, projectID, labelerID string, version int) error {
	if !isID(projectID) {
		return fmt.Errorf("acknowledge in project %q: %w", projectID, ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM guidelines WHERE project_id = $1 AND version = $2)`, projectID, version).Scan(&there); err != nil {
			return err
		}
		if !there {
			return ErrNotFound
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO guideline_acks (project_id, labeler_id, version) VALUES ($1, $2, $3)
			ON CONFLICT (project_id, labeler_id) DO UPDATE SET version = excluded.version, at = now() WHERE guideline_acks.version < excluded.version`,
			projectID, labelerID, version)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return audit(ctx, tx, actor(labelerID), "labeling.acknowledge", projectID, map[string]any{"guideline": version})
	})
	return wrap(err, "acknowledge guideline %d of project %s", version, projectID)
}
