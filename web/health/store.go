package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store reads the server's own state and keeps marks.
type Store struct{ pool *pgxpool.Pool }

// NewStore uses the pool; the caller closes it.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Marks that are kept.
const (
	MarkBackup = "backup"
	MarkAudit  = "audit" // the chain was verified
)

// Mark remembers that something was done just now.
func (s *Store) Mark(ctx context.Context, name string, ok bool, detail string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO health_marks (name, ok, detail) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET at = now(), ok = excluded.ok, detail = excluded.detail`, name, ok, detail)
	if err != nil {
		return fmt.Errorf("health: mark %s: %w", name, err)
	}
	return nil
}

// Marks are the last of each name.
func (s *Store) Marks(ctx context.Context) (map[string]Mark, error) {
	rows, err := s.pool.Query(ctx, `SELECT name, at, extract(epoch FROM now() - at)::float8, ok, detail FROM health_marks`)
	if err != nil {
		return nil, fmt.Errorf("health: marks: %w", err)
	}
	out := map[string]Mark{}
	var name string
	var m Mark
	_, err = pgx.ForEachRow(rows, []any{&name, &m.At, &m.Age, &m.OK, &m.Detail}, func() error {
		out[name] = m
		return nil
	})
	return out, err
}

// postgres is what the server says of itself.
type postgres struct {
	version                  int // server_version_num
	setting                  map[string]string
	size                     int64
	maxConnections, reserved int
	connections, own         int // of all, and of programs named rankloop
	skew                     time.Duration
}

var settings = []string{"fsync", "full_page_writes", "synchronous_commit", "data_checksums", "wal_level"}

func (s *Store) postgres(ctx context.Context, clock func() time.Time) (postgres, error) {
	p := postgres{setting: map[string]string{}}
	var values []string
	err := s.pool.QueryRow(ctx, `
		SELECT current_setting('server_version_num')::int, array(SELECT current_setting(n) FROM unnest($1::text[]) WITH ORDINALITY AS u (n, i) ORDER BY i),
			pg_database_size(current_database()), current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,
			(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
			(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE 'rankloop%')`, settings).
		Scan(&p.version, &values, &p.size, &p.maxConnections, &p.reserved, &p.connections, &p.own)
	if err != nil {
		return p, err
	}
	for i, n := range settings {
		p.setting[n] = values[i]
	}
	// The clocks are read by the shortest of three questions, since half of its way is what the comparison is unsure of.
	shortest := time.Duration(-1)
	for range 3 {
		var there time.Time
		sent := clock()
		if err := s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&there); err != nil {
			return p, err
		}
		came := clock()
		if way := came.Sub(sent); shortest < 0 || way < shortest {
			shortest, p.skew = way, sent.Add(way/2).Sub(there)
		}
	}
	return p, nil
}

// queues counts River's jobs by queue, and says whether a worker leads.
func (s *Store) queues(ctx context.Context) ([]Queue, bool, error) {
	var leader bool
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM river.river_leader WHERE expires_at > now())`).Scan(&leader); err != nil {
		return nil, false, fmt.Errorf("health: leader: %w", err)
	}
	rows, err := s.pool.Query(ctx, `
		WITH jobs AS (
			SELECT queue, count(*) FILTER (WHERE state = 'available') AS waiting, count(*) FILTER (WHERE state = 'running') AS running,
				count(*) FILTER (WHERE state IN ('scheduled', 'retryable', 'pending')) AS later,
				extract(epoch FROM now() - min(scheduled_at) FILTER (WHERE state = 'available')) AS oldest
			FROM river.river_job WHERE state IN ('available', 'running', 'scheduled', 'retryable', 'pending') GROUP BY queue
		), failed AS (
			SELECT queue, count(*) AS n FROM river.river_job WHERE state = 'discarded' AND finalized_at > now() - interval '24 hours' GROUP BY queue
		)
		SELECT name, coalesce(j.waiting, 0), coalesce(j.running, 0), coalesce(j.later, 0), greatest(coalesce(j.oldest, 0), 0)::float8, coalesce(f.n, 0), q.paused_at IS NOT NULL
		FROM (SELECT name FROM river.river_queue UNION SELECT queue FROM jobs UNION SELECT queue FROM failed) names
		LEFT JOIN jobs j ON j.queue = name LEFT JOIN failed f ON f.queue = name LEFT JOIN river.river_queue q USING (name)`)
	if err != nil {
		return nil, false, fmt.Errorf("health: queues: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Queue])
	if err != nil {
		return nil, false, fmt.Errorf("health: queues: %w", err)
	}
	slices.SortFunc(list, func(a, b Queue) int { return strings.Compare(a.Name, b.Name) })
	return list, leader, nil
}
