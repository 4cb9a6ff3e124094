package labeling

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// PayQuery is a period of work in a project: From is in it, To is not.
type PayQuery struct {
	ProjectID string
	From, To  time.Time
	Cap       time.Duration // most active time of one task that counts
}

// PayRow is what one labeler did in a period.
type PayRow struct {
	LabelerID string
	Rankings  int           // tasks submitted for the first time, those that came as surplus too
	Revisions int           // later submits of a task
	Active    time.Duration // time at work as the page measured it, at most the time from the claim on the screen to the submit
	Paid      time.Duration // the same, each task up to PayQuery.Cap
	Capped    int           // tasks that were cut to it
}

// Bounds of a PayQuery.
const (
	DefaultPayCap = 15 * time.Minute
	maxPayCap     = 24 * time.Hour
	maxPayPeriod  = 366 * 24 * time.Hour
	maxPayRows    = 10_000
)

// Pay adds up the work of a period by labeler. What was imported, or said by a customer, is nobody's work here.
func (s *Store) Pay(ctx context.Context, q PayQuery) ([]PayRow, error) {
	return pay(ctx, s.pool, q)
}

// ExportPay is Pay with an audit row: somebody takes the figures away.
func (s *Store) ExportPay(ctx context.Context, q PayQuery, actor string) ([]PayRow, error) {
	var list []PayRow
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if list, err = pay(ctx, tx, q); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.export_pay", q.ProjectID,
			map[string]any{"from": q.From, "to": q.To, "cap_s": q.Cap.Seconds(), "labelers": len(list)})
	})
	return list, err
}

func pay(ctx context.Context, db querier, q PayQuery) ([]PayRow, error) {
	switch {
	case !isID(q.ProjectID):
		return nil, fmt.Errorf("pay of project %q: %w", q.ProjectID, ErrNotFound)
	case !q.From.Before(q.To):
		return nil, invalid("to", "the period ends before it begins")
	case q.To.Sub(q.From) > maxPayPeriod:
		return nil, invalid("to", "the period is longer than a year")
	case q.Cap < time.Second || q.Cap > maxPayCap:
		return nil, invalid("cap", "between a second and 24 hours are wanted")
	}
	rows, err := db.Query(ctx, `
		SELECT labeler_id, sum(first)::int, sum(revisions)::int, sum(active)::bigint, sum(least(active, $4))::bigint, (count(*) FILTER (WHERE active > $4))::int
		FROM (
			SELECT labeler_id, task_id, count(*) FILTER (WHERE revision = 1) AS first, count(*) FILTER (WHERE revision > 1) AS revisions,
				sum(CASE WHEN wall_ms > 0 THEN least(active_ms, wall_ms) ELSE active_ms END) AS active
			FROM rankings
			WHERE project_id = $1 AND created_at >= $2 AND created_at < $3 AND NOT starts_with(labeler_id, $5) AND NOT starts_with(labeler_id, $7)
			GROUP BY labeler_id, task_id
		) work
		GROUP BY labeler_id ORDER BY labeler_id LIMIT $6`, q.ProjectID, q.From, q.To, q.Cap.Milliseconds(), imported, maxPayRows, customerLabeler)
	if err != nil {
		return nil, wrap(err, "pay of project %s", q.ProjectID)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r PayRow, err error) {
		var active, paid int64
		err = row.Scan(&r.LabelerID, &r.Rankings, &r.Revisions, &active, &paid, &r.Capped)
		r.Active, r.Paid = time.Duration(active)*time.Millisecond, time.Duration(paid)*time.Millisecond
		return
	})
	return list, wrap(err, "pay of project %s", q.ProjectID)
}
