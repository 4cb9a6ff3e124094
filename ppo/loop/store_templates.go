package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rankloop/rankloop/labeling"
)

// Template is a round's setup under a name.
type Template struct {
	ID        string
	ProjectID string
	Name      string
	Config    Config
	CreatedBy string
	CreatedAt time.Time
	UpdatedAt time.Time
}

const (
	templateColumns = `id::text, project_id::text, name, config, created_by, created_at, updated_at`
	maxTemplateName = 100 // letters
	maxTemplates    = 200 // in a project
)

func scanTemplate(row pgx.CollectableRow) (t Template, err error) {
	var config []byte
	if err = row.Scan(&t.ID, &t.ProjectID, &t.Name, &config, &t.CreatedBy, &t.CreatedAt, &t.UpdatedAt); err != nil {
		return t, err
	}
	return t, json.Unmarshal(config, &t.Config)
}

// Templates are those of a project, by name.
func (s *Store) Templates(ctx context.Context, projectID string) ([]Template, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+templateColumns+` FROM round_templates WHERE project_id = $1 ORDER BY name`, projectID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanTemplate)
}

// FindTemplate is the one of that id or name, or ErrNotFound.
func (s *Store) FindTemplate(ctx context.Context, projectID, ref string) (Template, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+templateColumns+` FROM round_templates WHERE project_id = $1 AND $2 IN (id::text, name) ORDER BY id::text = $2 DESC LIMIT 1`, projectID, ref)
	if err != nil {
		return Template{}, err
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanTemplate)
	return t, notFound(err)
}

// SaveTemplate adds a template, or changes the one of its ID. ErrConflict where another one has the name. The seed of its configuration
// is not kept: each round draws its own.
func (s *Store) SaveTemplate(ctx context.Context, t Template, actor string) (Template, error) {
	t.Name = strings.TrimSpace(t.Name)
	if n := len([]rune(t.Name)); n < 1 || n > maxTemplateName || labeling.CheckText("name", t.Name) != nil {
		return t, &InvalidError{"name", fmt.Sprintf("1 to %d letters are wanted", maxTemplateName)}
	}
	t.Config.Seed = 0
	if err := t.Config.Validate(); err != nil {
		return t, err
	}
	config, err := json.Marshal(t.Config)
	if err != nil {
		return t, err
	}
	added := t.ID == ""
	if added {
		id, err := uuid.NewV7()
		if err != nil {
			return t, err
		}
		t.ID = id.String()
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		sql := `UPDATE round_templates SET name = $3, config = $4, updated_at = now() WHERE id::text = $1 AND project_id = $2 RETURNING created_by, created_at, updated_at`
		args := []any{t.ID, t.ProjectID, t.Name, config}
		if added {
			sql = `INSERT INTO round_templates (id, project_id, name, config, created_by)
				SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM round_templates WHERE project_id = $2) < $6 RETURNING created_by, created_at, updated_at`
			args = append(args, actor, maxTemplates)
		}
		err := tx.QueryRow(ctx, sql, args...).Scan(&t.CreatedBy, &t.CreatedAt, &t.UpdatedAt)
		var pe *pgconn.PgError
		switch {
		case errors.As(err, &pe) && pe.Code == "23505":
			return fmt.Errorf("%w: there is a template called %s", ErrConflict, t.Name)
		case errors.Is(err, pgx.ErrNoRows) && added:
			return fmt.Errorf("%w: there are %d templates; remove one first", ErrConflict, maxTemplates)
		case err != nil:
			return notFound(err)
		}
		return audit(ctx, tx, actor, "template.save", t.ID, map[string]any{"name": t.Name, "config": t.Config})
	})
	return t, err
}

// RemoveTemplate deletes a template; rounds and schedules that were made from it stay.
func (s *Store) RemoveTemplate(ctx context.Context, projectID, id, actor string) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var name string
		if err := tx.QueryRow(ctx, `DELETE FROM round_templates WHERE project_id = $1 AND id::text = $2 RETURNING name`, projectID, id).Scan(&name); err != nil {
			return notFound(err)
		}
		return audit(ctx, tx, actor, "template.remove", id, map[string]any{"name": name})
	})
}
