package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/model/remote"
)

const engineColumns = `e.id::text, e.name, e.url, e.model, e.secret IS NOT NULL, e.answers, e.max_tokens, e.daily_tokens, e.timeout_s, e.customers, e.enabled,
	e.error, e.error_status, e.error_at, e.answered_at, coalesce(d.tokens, 0), coalesce(d.requests, 0), coalesce(d.answers, 0), coalesce(d.failures, 0), e.created_at
	FROM engines e LEFT JOIN engine_days d ON d.engine_id = e.id AND d.day = (now() AT TIME ZONE 'UTC')::date`

func scanEngine(row pgx.CollectableRow) (e Engine, err error) {
	var seconds int
	err = row.Scan(&e.ID, &e.Name, &e.URL, &e.Model, &e.HasKey, &e.Answers, &e.MaxTokens, &e.DailyTokens, &seconds, &e.Customers, &e.Enabled,
		&e.Error, &e.ErrorStatus, &e.ErrorAt, &e.AnsweredAt, &e.Today.Tokens, &e.Today.Requests, &e.Today.Answers, &e.Today.Failures, &e.CreatedAt)
	e.Timeout = time.Duration(seconds) * time.Second
	return e, err
}

// Engines are all other engines, by name.
func (s *Store) Engines(ctx context.Context) ([]Engine, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+engineColumns+` ORDER BY e.name`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanEngine)
}

// Engine is one of them, or ErrNotFound.
func (s *Store) Engine(ctx context.Context, id string) (Engine, error) {
	if _, err := uuid.Parse(id); err != nil {
		return Engine{}, ErrNotFound
	}
	rows, err := s.pool.Query(ctx, `SELECT `+engineColumns+` WHERE e.id = $1`, id)
	if err != nil {
		return Engine{}, err
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEngine)
	return e, notFound(err)
}

// slow says whether engines are asked.
func (s *Store) slow(ctx context.Context, tx pgx.Tx) (yes bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM engines WHERE enabled)`).Scan(&yes)
	return yes, err
}

// SaveEngine adds an engine (no ID) or changes one. The audit log gets all but the key. ErrConflict: the name is taken.
func (l *Loop) SaveEngine(ctx context.Context, c EngineChange) (Engine, error) {
	if err := c.check(); err != nil {
		return Engine{}, err
	}
	act := "engine.change"
	if c.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return Engine{}, err
		}
		act, c.ID = "engine.add", id.String()
	}
	if _, err := uuid.Parse(c.ID); err != nil {
		return Engine{}, ErrNotFound
	}
	var sealed []byte
	if c.Key != "" {
		if l.Secrets == nil {
			return Engine{}, errors.New("loop: nothing can keep the keys of engines")
		}
		var err error
		if sealed, err = l.Secrets.Seal(c.ID, c.Key); err != nil {
			return Engine{}, fmt.Errorf("key of engine %s: %w", c.Name, err)
		}
	}
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		var done pgconn.CommandTag
		var err error
		if act == "engine.add" {
			done, err = tx.Exec(ctx, `
				INSERT INTO engines (id, name, url, model, secret, answers, max_tokens, daily_tokens, timeout_s, customers, enabled, created_by)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
				c.ID, c.Name, c.URL, c.Model, sealed, c.Answers, c.MaxTokens, c.DailyTokens, int(c.Timeout.Seconds()), c.Customers, c.Enabled, c.Actor)
		} else {
			done, err = tx.Exec(ctx, `
				UPDATE engines SET name = $2, url = $3, model = $4, secret = CASE WHEN $5 THEN NULL ELSE coalesce($6, secret) END,
					answers = $7, max_tokens = $8, daily_tokens = $9, timeout_s = $10, customers = $11, enabled = $12
				WHERE id = $1`,
				c.ID, c.Name, c.URL, c.Model, c.DropKey && c.Key == "", sealed, c.Answers, c.MaxTokens, c.DailyTokens, int(c.Timeout.Seconds()), c.Customers, c.Enabled)
		}
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.ConstraintName == "engines_name" {
			return &InvalidError{"name", "another engine has it"}
		}
		if err == nil && done.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, c.Actor, act, c.ID, map[string]any{"name": c.Name, "url": c.URL, "model": c.Model, "answers": c.Answers, "max_tokens": c.MaxTokens,
			"daily_tokens": c.DailyTokens, "timeout_s": int(c.Timeout.Seconds()), "customers": c.Customers, "enabled": c.Enabled, "new_key": c.Key != "", "drop_key": c.DropKey})
	})
	if err != nil {
		return Engine{}, err
	}
	return l.Engine(ctx, c.ID)
}

// EnableEngine lets an engine be asked, or not.
func (s *Store) EnableEngine(ctx context.Context, id, actor string, on bool) error {
	return s.actOnEngine(ctx, id, actor, "engine.enable", map[string]any{"enabled": on}, `UPDATE engines SET enabled = $2 WHERE id = $1`, id, on)
}

// RemoveEngine forgets an engine and its key. What it answered stays, with its name.
func (s *Store) RemoveEngine(ctx context.Context, id, actor string) error {
	return s.actOnEngine(ctx, id, actor, "engine.remove", map[string]any{}, `DELETE FROM engines WHERE id = $1`, id)
}

func (s *Store) actOnEngine(ctx context.Context, id, actor, act string, detail any, sql string, args ...any) error {
	if _, err := uuid.Parse(id); err != nil {
		return ErrNotFound
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, sql, args...)
		if err == nil && done.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, act, id, detail)
	})
}

// server is where an engine is asked, with its key.
func (l *Loop) server(ctx context.Context, e Engine) (remote.Server, error) {
	s := remote.Server{URL: e.URL, Model: e.Model, Timeout: e.Timeout}
	if !e.HasKey {
		return s, nil
	}
	var sealed []byte
	if err := l.pool.QueryRow(ctx, `SELECT secret FROM engines WHERE id = $1 AND secret IS NOT NULL`, e.ID).Scan(&sealed); err != nil {
		return s, notFound(err)
	}
	var err error
	if s.Key, err = l.Secrets.Unseal(e.ID, sealed); err != nil {
		return s, fmt.Errorf("key of engine %s: %w", e.Name, err)
	}
	return s, nil
}

// reserved is what was set aside for a request.
type reserved struct {
	day    time.Time // whose budget it is
	at     time.Time
	tokens int64
}

// reserveEngine takes tokens from an engine's budget of the day before it is asked, so that requests at the same time do not overdraw it
// together. ok is false where they are not left.
func (s *Store) reserveEngine(ctx context.Context, id string, tokens int64) (r reserved, ok bool, err error) {
	err = s.pool.QueryRow(ctx, `
		INSERT INTO engine_days AS d (engine_id, day, tokens)
		SELECT id, (now() AT TIME ZONE 'UTC')::date, $2 FROM engines WHERE id = $1 AND $2 <= daily_tokens
		ON CONFLICT (engine_id, day) DO UPDATE SET tokens = d.tokens + excluded.tokens
		WHERE d.tokens + excluded.tokens <= (SELECT daily_tokens FROM engines WHERE id = $1)
		RETURNING day, now()`, id, tokens).Scan(&r.day, &r.at)
	r.tokens = tokens
	if errors.Is(err, pgx.ErrNoRows) {
		return r, false, s.noteFailure(ctx, id, EngineBudget, 0)
	}
	return r, err == nil, err
}

// settleEngine replaces what was set aside by what was used, and notes how it went; a success ends the failures from before it was asked.
// It works on after the job has been told to stop.
func (s *Store) settleEngine(ctx context.Context, id string, aside reserved, used int64, r remote.Reply, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var e *remote.Error
	failed := 0
	if errors.As(failure, &e) {
		failed = 1
	}
	if _, err := s.pool.Exec(ctx, `
		UPDATE engine_days SET tokens = greatest(0, tokens - $3 + $4), requests = requests + $5, answers = answers + $6, failures = failures + $7
		WHERE engine_id = $1 AND day = $2`, id, aside.day, aside.tokens, used, r.Requests, len(r.Answers), failed); err != nil {
		return err
	}
	switch {
	case failure == nil:
		_, err := s.pool.Exec(ctx, `
			UPDATE engines SET answered_at = now(), error = CASE WHEN error_at > $2 THEN error ELSE '' END, error_status = CASE WHEN error_at > $2 THEN error_status ELSE 0 END,
				error_at = CASE WHEN error_at > $2 THEN error_at END
			WHERE id = $1`, id, aside.at)
		return err
	case e != nil:
		return s.noteFailure(ctx, id, e.Kind, e.Status)
	}
	return nil // the job was told to stop
}

func (s *Store) noteFailure(ctx context.Context, id string, kind remote.Kind, status int) error {
	_, err := s.pool.Exec(ctx, `UPDATE engines SET error = $2, error_status = $3, error_at = now() WHERE id = $1`, id, kind, status)
	return err
}
