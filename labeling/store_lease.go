package labeling

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// lease is an assignment. Under the lock of its task it stays what it is: that lock guards the states of all assignments of
// the task.
type lease struct {
	id, taskID, projectID string
	question              string
	state                 string
	rankingID             *string
	order                 []int16
	surplus               bool
	guideline             int
	openSlots             int
	purpose               string
	quarantined           bool   // the labeler is in quarantine
	known                 bool   // the labeler has a row of counters in the project
	place                 *place // of the task when it was claimed; nil: not known
}

// lockLease locks the task, then reads task and assignment.
func lockLease(ctx context.Context, tx pgx.Tx, assignmentID, labelerID string) (lease, error) {
	a := lease{id: assignmentID}
	b := &pgx.Batch{}
	b.Queue(`SELECT t.id, t.open_slots, t.purpose FROM tasks t JOIN assignments a ON a.task_id = t.id
		WHERE a.id = $1 AND a.labeler_id = $2 FOR NO KEY UPDATE OF t`, assignmentID, labelerID).
		QueryRow(func(row pgx.Row) error { return row.Scan(&a.taskID, &a.openSlots, &a.purpose) })
	b.Queue(`SELECT a.project_id, p.question, a.state, a.ranking_id, a.display_order, a.surplus, a.guideline, l.quarantined_at IS NOT NULL
		FROM assignments a JOIN projects p ON p.id = a.project_id LEFT JOIN labelers l ON l.project_id = a.project_id AND l.labeler_id = a.labeler_id
		WHERE a.id = $1 AND a.labeler_id = $2`, assignmentID, labelerID).
		QueryRow(func(row pgx.Row) error {
			return row.Scan(&a.projectID, &a.question, &a.state, &a.rankingID, &a.order, &a.surplus, &a.guideline, &a.quarantined)
		})
	return a, tx.SendBatch(ctx, b).Close()
}

func (s *Store) closeLease(ctx context.Context, assignmentID, labelerID string, f func(pgx.Tx, lease) error) error {
	if !isID(assignmentID) {
		return ErrNotFound
	}
	return retry(func() error { // a quarantine of this labeler may be met head on
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			a, err := lockLease(ctx, tx, assignmentID, labelerID)
			if err != nil {
				return err
			}
			return f(tx, a)
		})
	})
}

// freeSlot gives back the slot of task $1. A task that measures labelers has none: it needs one ranking less.
const freeSlot = `UPDATE tasks SET open_slots = open_slots + (purpose = 'work')::int, need = need - (purpose <> 'work')::int,
	position = nextval('task_position') WHERE id = $1`

// free closes a lease in the given state and, if it held a slot, gives that back and
// moves the task behind every watermark.
func (a lease) free(ctx context.Context, tx pgx.Tx, state, reason string) error {
	b := &pgx.Batch{}
	b.Queue(`UPDATE assignments SET state = $2, skip_reason = $3, closed_at = now() WHERE id = $1`, a.id, state, reason)
	if a.state == Leased {
		b.Queue(freeSlot, a.taskID)
	}
	return tx.SendBatch(ctx, b).Close()
}
