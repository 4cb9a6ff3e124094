package labeling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store is the room's door to Postgres. A public method is one act; where it takes a
// pgx.Tx the caller joins it with acts of other rooms. A Store is safe for use by
// many goroutines.
type Store struct {
	pool      *pgxpool.Pool
	measuring sync.Map // project id -> rates
}

// NewStore makes a store on a pool whose database is migrated.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// newID is a UUIDv7: ids made later sort later.
func newID() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}

// isID tells whether s can be the id of a row at all; what cannot is not found.
func isID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// wrap names the operation and the id once, and turns "no rows" into ErrNotFound.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

// violates tells whether err is a unique violation of the named constraint or index.
func violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == constraint
}

// deadlocked tells whether Postgres gave this statement up to resolve a deadlock.
func deadlocked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40P01"
}

const projectColumns = `p.id, p.name, p.question, g.body, p.guideline, p.k, p.overlap, p.prompt_cap, p.valid_share, p.test_share, p.lease_s, p.created_at
	FROM projects p JOIN guidelines g ON g.project_id = p.id AND g.version = p.guideline`

func scanProject(row pgx.CollectableRow) (Project, error) {
	var p Project
	var lease int
	err := row.Scan(&p.ID, &p.Name, &p.Question, &p.Instructions, &p.Guideline, &p.K, &p.Overlap, &p.PromptCap, &p.ValidShare, &p.TestShare,
		&lease, &p.CreatedAt)
	p.Lease = time.Duration(lease) * time.Second
	return p, err
}

// withDefaults fills what a zero Project leaves open and checks the rest.
func (p Project) withDefaults() (Project, error) {
	if p.Question == "" {
		p.Question = Question
	}
	if p.K == 0 {
		p.K = 4
	}
	if p.Overlap == 0 {
		p.Overlap = 1
	}
	if p.PromptCap == 0 {
		p.PromptCap = 200
	}
	if p.Lease == 0 {
		p.Lease = 30 * time.Minute
	}
	switch {
	case p.Name == "" || len(p.Name) > 200:
		return p, invalid("name", "1 to 200 bytes are wanted")
	case p.Question != Question:
		return p, invalid("question", "%q is not a question type", p.Question)
	case p.K < MinAnswers || p.K > MaxAnswers:
		return p, invalid("k", "%d is not within %d..%d", p.K, MinAnswers, MaxAnswers)
	case p.Overlap < 1 || p.Overlap > 100:
		return p, invalid("overlap", "%d is not within 1..100", p.Overlap)
	case p.PromptCap < 1:
		return p, invalid("prompt_cap", "%d is below 1", p.PromptCap)
	case !(p.ValidShare >= 0 && p.TestShare >= 0 && p.ValidShare+p.TestShare < 1):
		return p, invalid("valid_share", "shares must not be negative and must leave something to train on")
	case p.Lease < time.Second || p.Lease > 24*time.Hour:
		return p, invalid("lease", "%s is not within 1s..24h", p.Lease)
	}
	if err := CheckText("name", p.Name); err != nil {
		return p, err
	}
	return p, CheckText("instructions", p.Instructions)
}

// EnsureProject returns the project of that name, and makes it of p if there is none.
// Zero fields take the defaults: K 4, overlap 1, cap 200, lease 30 minutes; shares are
// taken as they are. The settings of a project that exists are not touched.
func (s *Store) EnsureProject(ctx context.Context, p Project) (Project, error) {
	p, err := p.withDefaults()
	if err != nil {
		return p, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		id, err := newID()
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO projects (id, name, question, guideline, k, overlap, prompt_cap, valid_share, test_share, lease_s)
			VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING`,
			id, p.Name, p.Question, p.K, p.Overlap, p.PromptCap, p.ValidShare, p.TestShare, int(p.Lease/time.Second))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO guidelines (project_id, version, body) VALUES ($1, 1, $2)`, id, p.Instructions)
		return err
	})
	if err != nil {
		return p, wrap(err, "ensure project %q", p.Name)
	}
	return s.ProjectByName(ctx, p.Name)
}

// UpdateProject changes the settings of project p.ID: everything but the name, the
// question and the shares. New instructions become the next version of the guideline;
// assignments claimed before keep the version their labeler saw. A new overlap counts
// for tasks added later.
func (s *Store) UpdateProject(ctx context.Context, p Project, actor string) (Project, error) {
	old, err := s.Project(ctx, p.ID)
	if err != nil {
		return p, err
	}
	p.Name, p.Question, p.ValidShare, p.TestShare = old.Name, old.Question, old.ValidShare, old.TestShare
	if p, err = p.withDefaults(); err != nil {
		return p, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var version int
		if err := tx.QueryRow(ctx, `SELECT guideline FROM projects WHERE id = $1 FOR NO KEY UPDATE`, p.ID).Scan(&version); err != nil {
			return err
		}
		var body string
		if err := tx.QueryRow(ctx, `SELECT body FROM guidelines WHERE project_id = $1 AND version = $2`, p.ID, version).Scan(&body); err != nil {
			return err
		}
		if body != p.Instructions {
			version++
			if _, err := tx.Exec(ctx, `INSERT INTO guidelines (project_id, version, body) VALUES ($1, $2, $3)`, p.ID, version, p.Instructions); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE projects SET guideline = $2, k = $3, overlap = $4, prompt_cap = $5, lease_s = $6 WHERE id = $1`,
			p.ID, version, p.K, p.Overlap, p.PromptCap, int(p.Lease/time.Second)); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.update_project", p.ID, map[string]any{
			"guideline": version, "k": p.K, "overlap": p.Overlap, "prompt_cap": p.PromptCap, "lease_s": int(p.Lease / time.Second)})
	})
	if err != nil {
		return p, wrap(err, "update project %s", p.ID)
	}
	return s.Project(ctx, p.ID)
}

// Project returns a project by id.
func (s *Store) Project(ctx context.Context, id string) (Project, error) {
	if !isID(id) {
		return Project{}, fmt.Errorf("project %q: %w", id, ErrNotFound)
	}
	return s.oneProject(ctx, id, `SELECT `+projectColumns+` WHERE p.id = $1`)
}

// ProjectByName returns a project by its name.
func (s *Store) ProjectByName(ctx context.Context, name string) (Project, error) {
	return s.oneProject(ctx, name, `SELECT `+projectColumns+` WHERE p.name = $1`)
}

func (s *Store) oneProject(ctx context.Context, key, sql string) (Project, error) {
	rows, err := s.pool.Query(ctx, sql, key)
	if err != nil {
		return Project{}, wrap(err, "project %q", key)
	}
	p, err := pgx.CollectExactlyOneRow(rows, scanProject)
	return p, wrap(err, "project %q", key)
}

// Projects lists all projects, oldest first.
func (s *Store) Projects(ctx context.Context) ([]Project, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+projectColumns+` ORDER BY p.id`)
	if err != nil {
		return nil, wrap(err, "projects")
	}
	list, err := pgx.CollectRows(rows, scanProject)
	return list, wrap(err, "projects")
}

// imported marks labelers who are known from a file alone.
const imported = "import:"

// actor is how the audit log names a labeler.
func actor(labelerID string) string {
	if strings.HasPrefix(labelerID, imported) {
		return labelerID
	}
	return "user:" + labelerID
}

// audit appends a row to the audit log in the transaction of the act.
func audit(ctx context.Context, tx pgx.Tx, actor, act, subject string, detail map[string]any) error {
	_, err := tx.Exec(ctx, `SELECT audit_append($1, $2, $3, $4)`, actor, act, subject, detail)
	return err
}
