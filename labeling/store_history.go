package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// PastWork is what a labeler submitted for one task, as it stands now.
type PastWork struct {
	ID           string // of the ranking; the key that the next page begins before
	AssignmentID string
	State        string // Submitted or Reopened
	Messages     []Message
	Language     string
	Ranks        []int // of the answers, in the order shown
	Ratings      []int // in the order shown, 0 = unrated
	Text         string
	Strength     int
	Comment      string
	Revision     int
	Surplus      bool
	Snapshot     string // name of the first snapshot that froze it, "" = still open for editing
	CreatedAt    time.Time
}

// History lists a labeler's own work in a project, newest first: at most limit, older than the ranking before ("" = from
// the newest). Work on prompts that are hidden by now is left out.
func (s *Store) History(ctx context.Context, projectID, labelerID, before string, limit int) ([]PastWork, error) {
	if !isID(projectID) {
		return nil, fmt.Errorf("history in project %q: %w", projectID, ErrNotFound)
	}
	if before == "" {
		before = "ffffffff-ffff-ffff-ffff-ffffffffffff"
	} else if !isID(before) {
		return nil, invalid("before", "is not the id of a ranking")
	}
	rows, err := s.pool.Query(ctx, `
		SELECT k.id, a.id, a.state, p.messages, p.language, a.display_order, k.ranks,
			ARRAY(SELECT coalesce((SELECT g.rating FROM ratings g WHERE g.ranking_id = k.id AND g.response_id = r.id), 0)
				FROM responses r WHERE r.task_id = k.task_id ORDER BY r.position),
			k.text, k.strength, k.comment, k.revision, k.surplus,
			coalesce((SELECT s.name FROM snapshot_items i JOIN snapshots s ON s.id = i.snapshot_id WHERE i.ranking_id = k.id ORDER BY s.created_at, s.id LIMIT 1), ''),
			k.created_at
		FROM rankings k
		JOIN assignments a ON a.id = k.assignment_id AND a.ranking_id = k.id
		JOIN tasks t ON t.id = k.task_id
		JOIN prompts p ON p.id = t.prompt_id
		WHERE k.project_id = $1 AND k.labeler_id = $2 AND k.id < $3 AND NOT t.hidden
		ORDER BY k.id DESC LIMIT $4`, projectID, labelerID, before, limit)
	if err != nil {
		return nil, wrap(err, "history of %s", labelerID)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w PastWork, err error) {
		var order, ranks, ratings []int
		err = row.Scan(&w.ID, &w.AssignmentID, &w.State, &w.Messages, &w.Language, &order, &ranks, &ratings,
			&w.Text, &w.Strength, &w.Comment, &w.Revision, &w.Surplus, &w.Snapshot, &w.CreatedAt)
		for _, pos := range order {
			w.Ranks, w.Ratings = append(w.Ranks, ranks[pos]), append(w.Ratings, ratings[pos])
		}
		return
	})
	return list, wrap(err, "history of %s", labelerID)
}
