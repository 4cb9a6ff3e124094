package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Origin is whose work a snapshot holds.
type Origin struct {
	Snapshot   Snapshot `json:"snapshot"`
	Labelers   []Part   `json:"labelers"`   // by rankings
	Customers  []Part   `json:"customers"`  // by rankings of their prompts; "" are prompts of no customer
	Guidelines []Part   `json:"guidelines"` // versions of the instructions, by rankings made under them
	Models     []Part   `json:"models"`     // versions that wrote the answers, by answers; "" are answers that were imported
}

// Part is a part of a snapshot: the most come first.
type Part struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

// SnapshotOrigin says whose work a snapshot holds. Rows that were erased since are not counted.
func (s *Store) SnapshotOrigin(ctx context.Context, id string) (Origin, error) {
	snap, err := s.SnapshotByID(ctx, id)
	if err != nil {
		return Origin{}, err
	}
	o := Origin{Snapshot: snap}
	for _, part := range []struct {
		to  *[]Part
		sql string
	}{
		{&o.Labelers, `SELECT k.labeler_id, count(*) FROM snapshot_items i JOIN rankings k ON k.id = i.ranking_id WHERE i.snapshot_id = $1 GROUP BY 1`},
		{&o.Customers, `SELECT i.customer_id, count(*) FROM snapshot_items i WHERE i.snapshot_id = $1 GROUP BY 1`},
		{&o.Guidelines, `SELECT k.guideline::text, count(*) FROM snapshot_items i JOIN rankings k ON k.id = i.ranking_id WHERE i.snapshot_id = $1 GROUP BY 1`},
		{&o.Models, `SELECT r.model_version, count(*) FROM (SELECT DISTINCT task_id FROM snapshot_items WHERE snapshot_id = $1) t JOIN responses r ON r.task_id = t.task_id GROUP BY 1`},
	} {
		rows, err := s.pool.Query(ctx, part.sql+` ORDER BY 2 DESC, 1`, id)
		if err != nil {
			return o, wrap(err, "origin of snapshot %s", id)
		}
		if *part.to, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Part]); err != nil {
			return o, wrap(err, "origin of snapshot %s", id)
		}
	}
	return o, nil
}

// SnapshotRanking is one ranking that a snapshot holds.
type SnapshotRanking struct {
	Position  int
	ID        string
	TaskID    string
	Labeler   string
	Guideline int // version of the instructions that it was made under
	Split     string
	CreatedAt time.Time
}

// SnapshotRankings lists what a snapshot holds, in its fixed order, from a position on. Rows that were erased since are not there.
func (s *Store) SnapshotRankings(ctx context.Context, id string, from, limit int) ([]SnapshotRanking, error) {
	if !isID(id) {
		return nil, fmt.Errorf("snapshot %q: %w", id, ErrNotFound)
	}
	rows, err := s.pool.Query(ctx, `SELECT i.position, k.id::text, i.task_id::text, k.labeler_id, k.guideline, i.split, k.created_at
		FROM snapshot_items i JOIN rankings k ON k.id = i.ranking_id WHERE i.snapshot_id = $1 AND i.position >= $2 ORDER BY i.position LIMIT $3`, id, from, limit)
	if err != nil {
		return nil, wrap(err, "rankings of snapshot %s", id)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SnapshotRanking])
	return list, wrap(err, "rankings of snapshot %s", id)
}

// Kinds of what SnapshotsOf follows and SnapshotFilter.Without leaves out.
const (
	SubjectCustomer = "customer"
	SubjectLabeler  = "labeler"
	SubjectRanking  = "ranking"
)

// traced are the conditions under which an item i of a snapshot, a ranking k, is of a subject $1.
var traced = map[string]string{
	SubjectCustomer: `i.customer_id = $1`,
	SubjectLabeler:  `k.labeler_id = $1`,
	SubjectRanking:  `k.id::text = $1`,
}

// Check says what is wrong with a subject that is to be traced or left out, if anything.
func (s Subject) Check(field string) error {
	if _, ok := traced[s.Kind]; !ok || s.ID == "" {
		return invalid(field, "customer:ID, labeler:ID or ranking:ID is wanted")
	}
	return CheckText(field, s.ID)
}

// SnapshotsOf lists the snapshots that hold rankings of a subject, oldest first, with how many.
func (s *Store) SnapshotsOf(ctx context.Context, subject Subject) ([]Touched, error) {
	if err := subject.Check("subject"); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, fmt.Sprintf(`SELECT s.id::text, s.name, count(*)::int FROM snapshot_items i JOIN rankings k ON k.id = i.ranking_id
		JOIN snapshots s ON s.id = i.snapshot_id WHERE %s GROUP BY s.id ORDER BY s.id`, traced[subject.Kind]), subject.ID)
	if err != nil {
		return nil, wrap(err, "snapshots of %s", subject)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Touched, err error) {
		err = row.Scan(&t.ID, &t.Name, &t.Rankings)
		return t, err
	})
	return list, wrap(err, "snapshots of %s", subject)
}

// without are the ids of the subjects of a kind.
func without(list []Subject, kind string) []string {
	ids := []string{}
	for _, s := range list {
		if s.Kind == kind {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
