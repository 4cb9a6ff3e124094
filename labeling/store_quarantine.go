package labeling

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Quarantine takes a labeler out of a project in one act: nothing more is served to it, the leases it holds end, its rankings
// that no snapshot froze are put aside (kept and shown, but out of counts and of later snapshots), and the slots they took open
// again behind every watermark. Rankings of gold tasks stay: they are evidence. It returns how many rankings were put aside.
// A labeler who is in quarantine already gets ErrConflict. Release undoes it.
func (s *Store) Quarantine(ctx context.Context, projectID, labelerID, reason, actor string) (aside int, err error) {
	if Normalize(reason) == "" || len(reason) > 1000 {
		return 0, invalid("reason", "1 to 1000 bytes are wanted")
	}
	if err := CheckText("reason", reason); err != nil {
		return 0, err
	}
	err = s.inQuarantine(ctx, projectID, labelerID, `quarantined_at = now(), quarantine_why = $3`, `quarantined_at IS NULL`, reason,
		func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, putAside, projectID, labelerID).Scan(&aside); err != nil {
				return err
			}
			return audit(ctx, tx, actor, "labeling.quarantine", labelerID, map[string]any{"project": projectID, "reason": reason, "aside": aside})
		})
	return aside, wrap(err, "quarantine of %s", labelerID)
}

// ReleaseQuarantine lets a labeler work again. The rankings that its quarantine put aside count again where a slot of their
// task is still open; where others have filled it they stay surplus. It returns how many count again.
func (s *Store) ReleaseQuarantine(ctx context.Context, projectID, labelerID, actor string) (back int, err error) {
	err = s.inQuarantine(ctx, projectID, labelerID, `quarantined_at = NULL, quarantine_why = $3`, `quarantined_at IS NOT NULL`, "",
		func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, takeBack, projectID, labelerID).Scan(&back); err != nil {
				return err
			}
			return audit(ctx, tx, actor, "labeling.release_quarantine", labelerID, map[string]any{"project": projectID, "back": back})
		})
	return back, wrap(err, "release of %s", labelerID)
}

// inQuarantine changes the labeler's row, then runs f in the same transaction. Locks go in the usual order, tasks and then the
// row: a submit that read the old state meets the new one at the row, where it looks again (storeSQL). A claim that came between
// the two may be met head on: then one of them is tried again.
func (s *Store) inQuarantine(ctx context.Context, projectID, labelerID, change, where, reason string, f func(pgx.Tx) error) error {
	if !isID(projectID) || labelerID == "" {
		return fmt.Errorf("labeler %q of project %q: %w", labelerID, projectID, ErrNotFound)
	}
	return retry(func() error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if err := lockTasksOf(ctx, tx, projectID, labelerID); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `UPDATE labelers SET `+change+` WHERE project_id = $1 AND labeler_id = $2 AND `+where, projectID, labelerID, reason)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				var known bool
				if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM labelers WHERE project_id = $1 AND labeler_id = $2)`,
					projectID, labelerID).Scan(&known); err != nil {
					return err
				}
				if known {
					return fmt.Errorf("%w: the quarantine is in that state already", ErrConflict)
				}
				return ErrNotFound
			}
			if err := lockTasksOf(ctx, tx, projectID, labelerID); err != nil { // and what was claimed before the row was ours
				return err
			}
			return f(tx)
		})
	})
}

// lockTasksOf locks the tasks of a labeler before their assignments are read: the next statement sees what stands under the locks.
func lockTasksOf(ctx context.Context, tx pgx.Tx, projectID, labelerID string) error {
	_, err := tx.Exec(ctx, `SELECT FROM tasks t WHERE id IN (SELECT task_id FROM assignments WHERE project_id = $1 AND labeler_id = $2)
		ORDER BY id FOR NO KEY UPDATE`, projectID, labelerID)
	return err
}

// putAside ends the leases of labeler $2 in project $1, puts aside its rankings, and opens their slots. It counts the latter.
const putAside = `
	WITH lost AS MATERIALIZED (
		SELECT a.id, a.task_id, t.purpose, a.state = 'leased' AS leased,
			a.ranking_id IS NOT NULL AND NOT a.surplus AND t.purpose = 'work'
				AND NOT EXISTS (SELECT FROM snapshot_items i WHERE i.ranking_id = a.ranking_id) AS counted
		FROM assignments a JOIN tasks t ON t.id = a.task_id WHERE a.project_id = $1 AND a.labeler_id = $2
		FOR NO KEY UPDATE OF a -- as they are now: a gold task may have been claimed, and given back, since the tasks were locked
	), closed AS (
		UPDATE assignments a SET state = CASE a.state WHEN 'leased' THEN 'released' WHEN 'reopened' THEN 'submitted' ELSE a.state END,
			surplus = a.surplus OR l.counted, aside = a.aside OR l.counted, closed_at = coalesce(a.closed_at, now())
		FROM lost l WHERE a.id = l.id AND (l.leased OR l.counted OR a.state = 'reopened')
	), freed AS (
		UPDATE tasks t SET open_slots = t.open_slots + (l.purpose = 'work')::int, need = t.need - (l.purpose <> 'work')::int,
			done = t.done - l.counted::int, position = nextval('task_position')
		FROM lost l WHERE t.id = l.task_id AND (l.leased OR l.counted)
	)
	SELECT count(*) FROM lost WHERE counted`

// takeBack counts the rankings again that were put aside, as far as slots are open.
const takeBack = `
	WITH aside AS MATERIALIZED (
		SELECT a.id, a.task_id, t.open_slots > 0 AND t.purpose = 'work' AS fits
		FROM assignments a JOIN tasks t ON t.id = a.task_id
		WHERE a.project_id = $1 AND a.labeler_id = $2 AND a.aside AND a.ranking_id IS NOT NULL
	), back AS (
		UPDATE assignments a SET aside = false, surplus = NOT s.fits FROM aside s WHERE a.id = s.id
	), filled AS (
		UPDATE tasks t SET open_slots = t.open_slots - 1, done = t.done + 1 FROM aside s WHERE t.id = s.task_id AND s.fits
	)
	SELECT count(*) FROM aside WHERE fits`
