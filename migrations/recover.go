package migrations

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/jackc/pgx/v5"
)

// settle runs act and, when it meets or leaves a dirty database, sets the version to what the markers say and runs it
// again. A file that fails by itself leaves a clean database at the version before it, and its own error.
func (s *session) settle(ctx context.Context, act func() error) error {
	if err := s.cleanUp(ctx); err != nil {
		return err
	}
	err := act()
	if err == nil || noMore(err) {
		return ctx.Err() // cancelled between two files: not all of them ran
	}
	return errors.Join(err, s.cleanUp(ctx))
}

// cleanUp takes the dirty flag, if it is up, off a database whose migrating process was killed. No orphan is at work any more.
func (s *session) cleanUp(ctx context.Context) error {
	flagged, dirty, err := s.drv.Version()
	if err != nil || !dirty {
		return err
	}
	applied, err := markers(ctx, s.conn)
	if err != nil {
		return err
	}
	actual := database.NilVersion
	if len(applied) > 0 {
		actual = int(applied[len(applied)-1])
	}
	if !near(s.src, actual, flagged) {
		return fmt.Errorf("database says version %d (dirty) but schema_marker says %d: not made by one interrupted migration; "+
			"restore a backup, or set schema_migrations by hand", flagged, actual)
	}
	return s.m.Force(actual)
}

// waitForOrphan returns when no other backend holds golang-migrate's lock on this database: the backend of a killed
// process goes on with its file until it is done. The outer lock keeps living processes out.
func waitForOrphan(ctx context.Context, conn *pgx.Conn) error {
	var db, schema string
	if err := conn.QueryRow(ctx, `SELECT current_database(), current_schema()`).Scan(&db, &schema); err != nil {
		return err
	}
	id, err := database.GenerateAdvisoryLockId(db, schema, "schema_migrations")
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1::bigint)`, id); err != nil {
		return fmt.Errorf("waiting for the backend of an interrupted migration: %w", err)
	}
	_, err = conn.Exec(ctx, `SELECT pg_advisory_unlock($1::bigint)`, id)
	return err
}

// near tells whether actual is flagged itself or a neighbour of it: what one interrupted step up or down can leave.
func near(src source.Driver, actual, flagged int) bool {
	if actual == flagged {
		return true
	}
	if next, err := following(src, actual); err == nil && next == flagged {
		return true // up to flagged had begun
	}
	next, err := following(src, flagged)
	return err == nil && next == actual // down to flagged had begun
}

// following is the version after v in the files.
func following(src source.Driver, v int) (int, error) {
	if v < 0 {
		first, err := src.First()
		return int(first), err
	}
	next, err := src.Next(uint(v))
	return int(next), err
}

// markers lists the versions whose files are applied, ascending.
func markers(ctx context.Context, conn *pgx.Conn) ([]int64, error) {
	rows, err := conn.Query(ctx, `SELECT version FROM schema_marker ORDER BY version`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// versions lists the versions of the files, ascending.
func versions(src source.Driver) ([]int64, error) {
	var all []int64
	v, err := src.First()
	for ; err == nil; v, err = src.Next(v) {
		all = append(all, int64(v))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	slices.Sort(all)
	return all, nil
}
