package loop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // machines without the IANA database

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/robfig/cron/v3"

	"github.com/rankloop/rankloop/reward"
)

const scheduleColumns = `id::text, project_id::text, cron, time_zone, rankings, accuracy_below, enabled, config, last_at, next_at, created_by`

func scanSchedule(row pgx.CollectableRow) (Schedule, error) {
	var s Schedule
	var config []byte
	if err := row.Scan(&s.ID, &s.ProjectID, &s.Cron, &s.TimeZone, &s.Rankings, &s.AccuracyBelow, &s.Enabled, &config, &s.LastAt, &s.NextAt, &s.CreatedBy); err != nil {
		return s, err
	}
	return s, json.Unmarshal(config, &s.Config)
}

// maxNewRankings bounds Schedule.Rankings.
const maxNewRankings = 10_000_000

// spec says when a schedule is looked at.
func (sc Schedule) spec() (cron.Schedule, error) {
	if sc.Cron == "" {
		return cron.Every(time.Minute), nil
	}
	return cron.ParseStandard("CRON_TZ=" + sc.TimeZone + " " + sc.Cron)
}

// String is the schedule in words, for alarms.
func (sc Schedule) String() string {
	text := strings.TrimSpace(sc.Cron + " " + sc.TimeZone)
	if sc.Cron == "" {
		text = ""
	}
	if sc.Rankings > 0 {
		text = strings.TrimSpace(fmt.Sprintf("%s %d new rankings", text, sc.Rankings))
	}
	if sc.AccuracyBelow > 0 {
		text = strings.TrimSpace(fmt.Sprintf("%s reward accuracy below %.1f%%", text, 100*sc.AccuracyBelow))
	}
	return text
}

// Next are the times at which a schedule is looked at after a moment, at most n; none where it has no clock.
func (sc Schedule) Next(after time.Time, n int) (times []time.Time) {
	if sc.Cron == "" {
		return nil
	}
	spec, err := sc.spec()
	for err == nil && len(times) < n {
		if after = spec.Next(after); after.IsZero() {
			break
		}
		times = append(times, after)
	}
	return times
}

// worthwhile says whether a schedule that is due should start a round. One without a clock waits while another round is open.
func (s *Store) worthwhile(ctx context.Context, tx pgx.Tx, sc Schedule) (bool, error) {
	if sc.Rankings > 0 {
		n, err := s.newRankings(ctx, tx, sc.ProjectID, sc.Rankings)
		if err != nil || n < sc.Rankings {
			return false, err
		}
	}
	if sc.AccuracyBelow > 0 {
		stale, err := s.staleBelow(ctx, tx, sc.ProjectID, sc.AccuracyBelow)
		if err != nil || !stale {
			return false, err
		}
	}
	if sc.Cron != "" {
		return true, nil
	}
	_, err := s.Open(ctx, tx, sc.ProjectID)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return false, err
}

// staleBelow says whether the reward model of the newest round is known to be right in less than so much of the pairs of its own
// policy's answers, with the whole interval. Once the next round has begun, the last one's figure starts none.
func (s *Store) staleBelow(ctx context.Context, tx pgx.Tx, projectID string, below float64) (bool, error) {
	r, err := one(ctx, tx, `WHERE project_id = $1 ORDER BY number DESC LIMIT 1`, projectID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil || r.Report == nil || r.Report.OnPolicy == nil {
		return false, err
	}
	e := r.Report.OnPolicy
	return reward.Report{Accuracy: e.Value, Low: e.Low, High: e.High, N: e.N}.Stale(below), nil
}

// NewLimit is how many new rankings are counted at most: a page does not wait until a million are.
const NewLimit = 1000

// NewRankings counts what was ranked in a project since its newest snapshot of a round was taken, up to NewLimit: what a next one would
// learn from besides.
func (s *Store) NewRankings(ctx context.Context, projectID string) (int, error) {
	return s.newRankings(ctx, s.pool, projectID, NewLimit)
}

// newRankings counts up to most.
func (s *Store) newRankings(ctx context.Context, q querier, projectID string, most int) (int, error) {
	rows, err := q.Query(ctx, `SELECT coalesce(max(s.created_at), '-infinity') FROM snapshots s JOIN rounds r ON r.snapshot_id = s.id WHERE r.project_id = $1`, projectID)
	if err != nil {
		return 0, err
	}
	since, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[pgtype.Timestamptz])
	if err != nil {
		return 0, err
	}
	// Planned for this very time: a plan for any reads all rankings. The fence has each assignment looked up by itself.
	rows, err = q.Query(ctx, `SELECT count(*) FROM (
		SELECT FROM rankings k
		CROSS JOIN LATERAL (SELECT a.ranking_id, a.state, a.aside FROM assignments a WHERE a.id = k.assignment_id OFFSET 0) a
		WHERE k.project_id = $1 AND k.created_at > $2 AND a.ranking_id = k.id AND a.state = 'submitted' AND NOT a.aside
		ORDER BY k.created_at DESC LIMIT $3) t`, pgx.QueryExecModeCacheDescribe, projectID, since, most)
	if err != nil {
		return 0, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
}

// Schedules lists a project's schedules, the next to fire first.
func (s *Store) Schedules(ctx context.Context, projectID string) ([]Schedule, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+scheduleColumns+` FROM schedules WHERE project_id = $1 ORDER BY enabled DESC, next_at`, projectID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanSchedule)
}

// Checked is the schedule with its time zone filled in. InvalidError names the field that is wrong.
func (sc Schedule) Checked() (Schedule, error) {
	sc.Cron, sc.TimeZone = strings.TrimSpace(sc.Cron), cmp.Or(sc.TimeZone, "UTC")
	switch _, err := time.LoadLocation(sc.TimeZone); {
	case err != nil || sc.TimeZone == "Local":
		return sc, &InvalidError{"time_zone", fmt.Sprintf("%q is not known; names are like Europe/Berlin or Asia/Taipei", sc.TimeZone)}
	case sc.Rankings < 0 || sc.Rankings > maxNewRankings:
		return sc, &InvalidError{"rankings", fmt.Sprintf("0 to %d are wanted", maxNewRankings)}
	case !(sc.AccuracyBelow >= 0 && sc.AccuracyBelow < 1):
		return sc, &InvalidError{"accuracy_below", fmt.Sprintf("%g is not a share from 0 to below 1", sc.AccuracyBelow)}
	case sc.AccuracyBelow > 0 && sc.Config.Relabel.Below == 0:
		return sc, &InvalidError{"accuracy_below", "is measured by the probe after a promotion: the setup's relabel.below must be above 0"}
	case sc.Cron == "" && sc.Rankings == 0 && sc.AccuracyBelow == 0:
		return sc, &InvalidError{"cron", "is empty: give a time, a number of new rankings, or an accuracy to fall below"}
	case strings.Contains(sc.Cron, "="):
		return sc, &InvalidError{"cron", "the time zone has a field of its own"}
	}
	if _, err := sc.spec(); err != nil {
		return sc, &InvalidError{"cron", fmt.Sprintf("%v; five fields are wanted, for example \"0 3 * * *\" for 03:00 each day", err)}
	}
	return sc, sc.Config.Validate()
}

// AddSchedule checks and adds a schedule.
func (s *Store) AddSchedule(ctx context.Context, sc Schedule) (Schedule, error) {
	sc, err := sc.Checked()
	if err != nil {
		return sc, err
	}
	spec, err := sc.spec()
	if err != nil {
		return sc, err
	}
	config, err := json.Marshal(sc.Config)
	if err != nil {
		return sc, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return sc, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		sc.ID, sc.Enabled, sc.NextAt = id.String(), true, spec.Next(now)
		if _, err := tx.Exec(ctx, `INSERT INTO schedules (id, project_id, cron, config, next_at, created_by, time_zone, rankings, accuracy_below) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			id, sc.ProjectID, sc.Cron, config, sc.NextAt, sc.CreatedBy, sc.TimeZone, sc.Rankings, sc.AccuracyBelow); err != nil {
			return err
		}
		return audit(ctx, tx, sc.CreatedBy, "schedule.add", sc.ID, map[string]any{"cron": sc.Cron, "time_zone": sc.TimeZone, "rankings": sc.Rankings, "accuracy_below": sc.AccuracyBelow})
	})
	return sc, err
}

// EnableSchedule switches a schedule on or off; a schedule that was off fires at its next time, not for the missed ones.
func (s *Store) EnableSchedule(ctx context.Context, id, actor string, on bool) error {
	if _, err := uuid.Parse(id); err != nil {
		return ErrNotFound
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var sc Schedule
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT cron, time_zone, now() FROM schedules WHERE id = $1 FOR UPDATE`, id).Scan(&sc.Cron, &sc.TimeZone, &now); err != nil {
			return notFound(err)
		}
		spec, err := sc.spec()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE schedules SET enabled = $2, next_at = $3 WHERE id = $1`, id, on, spec.Next(now)); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "schedule.enable", id, map[string]any{"enabled": on})
	})
}

// RemoveSchedule deletes a schedule.
func (s *Store) RemoveSchedule(ctx context.Context, id, actor string) error {
	if _, err := uuid.Parse(id); err != nil {
		return ErrNotFound
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM schedules WHERE id = $1`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, actor, "schedule.remove", id, map[string]any{})
	})
}

// due takes the schedules whose time has come and moves each to its next time. Missed times count once.
func (s *Store) due(ctx context.Context, tx pgx.Tx) ([]Schedule, error) {
	rows, err := tx.Query(ctx, `SELECT `+scheduleColumns+` FROM schedules WHERE enabled AND next_at <= now() ORDER BY next_at FOR UPDATE SKIP LOCKED`)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanSchedule)
	if err != nil {
		return nil, err
	}
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		return nil, err
	}
	for _, sc := range list {
		spec, err := sc.spec()
		if err != nil {
			return nil, fmt.Errorf("schedule %s: %w", sc.ID, err)
		}
		if _, err := tx.Exec(ctx, `UPDATE schedules SET last_at = now(), next_at = $2 WHERE id = $1`, sc.ID, spec.Next(now)); err != nil {
			return nil, err
		}
	}
	return list, nil
}
