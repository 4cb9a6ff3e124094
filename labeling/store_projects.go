package labeling

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const projectColumns = `p.id, p.name, p.question, g.body, p.guideline, p.k, p.overlap, p.prompt_cap, p.valid_share, p.test_share, p.lease_s,
	p.languages, p.closed, p.comparison, p.created_at
	FROM projects p JOIN guidelines g ON g.project_id = p.id AND g.version = p.guideline`

func scanProject(row pgx.CollectableRow) (Project, error) {
	var p Project
	var lease int
	err := row.Scan(&p.ID, &p.Name, &p.Question, &p.Instructions, &p.Guideline, &p.K, &p.Overlap, &p.PromptCap, &p.ValidShare, &p.TestShare,
		&lease, &p.Languages, &p.Closed, &p.Comparison, &p.CreatedAt)
	p.Lease = time.Duration(lease) * time.Second
	return p, err
}

const (
	maxLanguages   = 20
	maxGuideline   = 30_000 // bytes of instructions
	leastLease     = time.Second
	longestLease   = 24 * time.Hour
	defaultLease   = 30 * time.Minute
	defaultCap     = 200 // Ouyang et al. 2022, section 3.2
	biggestCap     = 1_000_000
	biggestOverlap = 100
)

// withDefaults fills what a zero Project leaves open and checks the rest.
func (p Project) withDefaults() (Project, error) {
	if p.Question == "" {
		p.Question = QuestionRanking
	}
	q, err := questionNamed(p.Question)
	if err != nil {
		return p, err
	}
	if p.K == 0 {
		p.K = q.k
	}
	if p.Overlap == 0 {
		p.Overlap = 1
	}
	if p.PromptCap == 0 {
		p.PromptCap = defaultCap
	}
	if p.Lease == 0 {
		p.Lease = defaultLease
	}
	switch {
	case p.Name == "" || len(p.Name) > 200:
		return p, invalid("name", "1 to 200 bytes are wanted")
	case p.K < q.min || p.K > q.max:
		return p, invalid("k", "%d is not within %d..%d", p.K, q.min, q.max)
	case p.Overlap < 1 || p.Overlap > biggestOverlap:
		return p, invalid("overlap", "%d is not within 1..%d", p.Overlap, biggestOverlap)
	case p.PromptCap < 1 || p.PromptCap > biggestCap:
		return p, invalid("prompt_cap", "%d is not within 1..%d", p.PromptCap, biggestCap)
	case !(p.ValidShare >= 0 && p.TestShare >= 0 && p.ValidShare+p.TestShare < 1):
		return p, invalid("valid_share", "shares must not be negative and must leave something to train on")
	case p.Lease < leastLease || p.Lease > longestLease:
		return p, invalid("lease", "%s is not within %s..%s", p.Lease, leastLease, longestLease)
	case len(p.Instructions) > maxGuideline:
		return p, invalid("instructions", "%d bytes, at most %d", len(p.Instructions), maxGuideline)
	}
	if p.Languages, err = checkLanguages(p.Languages); err != nil {
		return p, err
	}
	if err := CheckText("name", p.Name); err != nil {
		return p, err
	}
	return p, CheckText("instructions", p.Instructions)
}

// languageTag is the part of BCP 47 that names a language, a script and a region.
var languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$`)

// CheckLanguage wants a BCP 47 tag such as en, zh-Hant or pt-BR, written as registered; "" is not known.
func CheckLanguage(tag string) error {
	if tag != "" && !languageTag.MatchString(tag) {
		return invalid("language", "%q is not a tag such as en, zh-Hant or pt-BR", tag)
	}
	return nil
}

func checkLanguages(tags []string) ([]string, error) {
	out := []string{}
	for _, t := range tags {
		if err := CheckLanguage(t); err != nil {
			return nil, err
		}
		if t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	if len(out) > maxLanguages {
		return nil, invalid("languages", "%d given, at most %d", len(out), maxLanguages)
	}
	return out, nil
}

// EnsureProject returns the project of that name, and makes it of p if there is none.
// Zero fields take the defaults: the question ranking, its usual K, overlap 1, cap 200,
// lease 30 minutes; shares are taken as they are. The settings of a project that exists
// are not touched.
func (s *Store) EnsureProject(ctx context.Context, p Project) (Project, error) {
	p, err := p.withDefaults()
	if err != nil {
		return p, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := insertProject(ctx, tx, p)
		return err
	})
	if err != nil {
		return p, wrap(err, "ensure project %q", p.Name)
	}
	return s.ProjectByName(ctx, p.Name)
}

// CreateProject makes a project of p, with the defaults of EnsureProject. ErrConflict if the name is taken.
func (s *Store) CreateProject(ctx context.Context, p Project, actor string) (Project, error) {
	p, err := p.withDefaults()
	if err != nil {
		return p, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if p.ID, err = insertProject(ctx, tx, p); err != nil {
			return err
		}
		if p.ID == "" {
			return fmt.Errorf("%w: there is a project %q", ErrConflict, p.Name)
		}
		return audit(ctx, tx, actor, "labeling.create_project", p.ID, map[string]any{"name": p.Name, "question": p.Question, "k": p.K, "overlap": p.Overlap})
	})
	if err != nil {
		return p, wrap(err, "create project %q", p.Name)
	}
	return s.Project(ctx, p.ID)
}

// insertProject returns the id of the new project, "" if the name is taken.
func insertProject(ctx context.Context, tx pgx.Tx, p Project) (string, error) {
	id, err := newID()
	if err != nil {
		return "", err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO projects (id, name, question, guideline, k, overlap, prompt_cap, valid_share, test_share, lease_s, languages, closed, comparison)
		VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (name) DO NOTHING`,
		id, p.Name, p.Question, p.K, p.Overlap, p.PromptCap, p.ValidShare, p.TestShare, int(p.Lease/time.Second), p.Languages, p.Closed, p.Comparison)
	if err != nil || tag.RowsAffected() == 0 {
		return "", err
	}
	_, err = tx.Exec(ctx, `INSERT INTO guidelines (project_id, version, body) VALUES ($1, 1, $2)`, id, p.Instructions)
	return id, err
}

// UpdateProject changes the settings of project p.ID: everything but the name, the
// question and the shares, on which work that exists was built. New instructions become
// the next version of the guideline; assignments claimed before keep the version their
// labeler saw. A new overlap counts at once (setOverlap); since a lower one may complete
// a batch, after (may be nil) runs in the transaction as it does for a submit.
func (s *Store) UpdateProject(ctx context.Context, p Project, actor string, after func(ctx context.Context, tx pgx.Tx, projectID string) error) (Project, error) {
	old, err := s.Project(ctx, p.ID)
	if err != nil {
		return p, err
	}
	p.Name, p.Question, p.ValidShare, p.TestShare = old.Name, old.Question, old.ValidShare, old.TestShare
	if p, err = p.withDefaults(); err != nil {
		return p, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var version, overlap int
		var body string
		if err := tx.QueryRow(ctx, `SELECT p.guideline, p.overlap, g.body FROM projects p JOIN guidelines g ON g.project_id = p.id AND g.version = p.guideline
			WHERE p.id = $1 FOR NO KEY UPDATE OF p`, p.ID).Scan(&version, &overlap, &body); err != nil {
			return err
		}
		if body != p.Instructions {
			version++
			if _, err := tx.Exec(ctx, `INSERT INTO guidelines (project_id, version, body) VALUES ($1, $2, $3)`, p.ID, version, p.Instructions); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE projects SET guideline = $2, k = $3, overlap = $4, prompt_cap = $5, lease_s = $6, languages = $7, closed = $8
			WHERE id = $1`, p.ID, version, p.K, p.Overlap, p.PromptCap, int(p.Lease/time.Second), p.Languages, p.Closed); err != nil {
			return err
		}
		tasks := 0
		if overlap != p.Overlap {
			if tasks, err = setOverlap(ctx, tx, p.ID, overlap, p.Overlap); err != nil {
				return err
			}
			if after != nil {
				if err := after(ctx, tx, p.ID); err != nil {
					return err
				}
			}
		}
		return audit(ctx, tx, actor, "labeling.update_project", p.ID, map[string]any{
			"guideline": version, "k": p.K, "overlap": p.Overlap, "tasks": tasks, "prompt_cap": p.PromptCap, "lease_s": int(p.Lease / time.Second),
			"languages": strings.Join(p.Languages, " "), "closed": p.Closed})
	})
	if err != nil {
		return p, wrap(err, "update project %s", p.ID)
	}
	return s.Project(ctx, p.ID)
}

// setOverlap brings the unfinished tasks that follow the project's overlap from one number to another; a task that was
// given another number on purpose keeps it. need never falls below what is done and under way, which is need -
// open_slots; where that is more than the new number, lowered_to closes slots as they come back. The statement works on
// each row's newest version, so claims and submits may go on beside it. Finished tasks stay finished.
func setOverlap(ctx context.Context, tx pgx.Tx, projectID string, from, to int) (int, error) {
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = '25s'`); err != nil { // a million rows take their time
		return 0, err
	}
	tag, err := tx.Exec(ctx, `
		UPDATE tasks t SET need = greatest($3, need - open_slots), open_slots = greatest($3, need - open_slots) - (need - open_slots),
			lowered_to = CASE WHEN need - open_slots > $3 THEN $3::int END,
			position = CASE WHEN $3 > need THEN nextval('task_position') ELSE position END
		WHERE purpose = 'work' AND done < need AND coalesce(lowered_to, need) = $2 AND id IN (
			SELECT id FROM tasks WHERE project_id = $1 AND purpose = 'work' AND done < need AND coalesce(lowered_to, need) = $2 ORDER BY id FOR NO KEY UPDATE)`,
		projectID, from, to)
	return int(tag.RowsAffected()), err
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
	return s.listProjects(ctx, `SELECT `+projectColumns+` ORDER BY p.id`)
}

// OpenProjects lists the projects that labelers may work in, oldest first. Those whose Comparison is CompareRoom are for who has their
// address.
func (s *Store) OpenProjects(ctx context.Context) ([]Project, error) {
	return s.listProjects(ctx, `SELECT `+projectColumns+` WHERE NOT p.closed ORDER BY p.id`)
}

func (s *Store) listProjects(ctx context.Context, sql string) ([]Project, error) {
	rows, err := s.pool.Query(ctx, sql)
	if err != nil {
		return nil, wrap(err, "projects")
	}
	list, err := pgx.CollectRows(rows, scanProject)
	return list, wrap(err, "projects")
}
