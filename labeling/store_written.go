package labeling

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// WritePrompt adds a labeler's prompt to the pool, with the labeler's own answer as a demonstration if there is one. A
// text that the project has already is not added again (created false), an answer to it is. Labelers are capped and
// split as customers are: all prompts of one are on the same side. ErrCapped as for AddPrompt.
func (s *Store) WritePrompt(ctx context.Context, w WrittenPrompt) (p Prompt, created bool, err error) {
	project, err := s.Project(ctx, w.ProjectID)
	if err != nil {
		return p, false, err
	}
	if project.Closed {
		return p, false, wrap(ErrNotFound, "write prompt in project %s", w.ProjectID)
	}
	if err := w.check(project); err != nil {
		return p, false, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if w.UseCaseID != "" {
			if err := openCase(ctx, tx, w.ProjectID, w.UseCaseID); err != nil {
				return err
			}
		}
		p, created, err = s.AddPrompt(ctx, tx, NewPrompt{ProjectID: w.ProjectID, Messages: w.Conversation(), Origin: OriginLabeler,
			CustomerID: contributor(w.LabelerID), Kind: w.Kind, Language: w.Language})
		if err != nil {
			return err
		}
		if w.Answer != "" {
			if err := s.demonstrate(ctx, tx, p, w); err != nil {
				return err
			}
		} else if created && project.Question == QuestionDemonstration && p.Split != Test {
			if _, err := s.AddTask(ctx, tx, p.ID, nil, project.Overlap, ""); err != nil {
				return err
			}
		}
		return audit(ctx, tx, actor(w.LabelerID), "labeling.write_prompt", p.ID, map[string]any{"kind": w.Kind, "new": created, "answered": w.Answer != "", "case": w.UseCaseID})
	})
	return p, created, wrap(err, "write prompt in project %s", w.ProjectID)
}

func openCase(ctx context.Context, tx pgx.Tx, projectID, id string) error {
	var n int
	if !isID(id) {
		return invalid("use_case", "there is no such use case")
	}
	err := tx.QueryRow(ctx, `SELECT 1 FROM use_cases WHERE id = $1 AND project_id = $2 AND NOT retired`, id, projectID).Scan(&n)
	if errors.Is(err, pgx.ErrNoRows) {
		return invalid("use_case", "there is no such use case")
	}
	return err
}

// demonstrate adds the labeler's own answer to a prompt; the same one again changes nothing.
func (s *Store) demonstrate(ctx context.Context, tx pgx.Tx, p Prompt, w WrittenPrompt) error {
	id, err := newID()
	if err != nil {
		return err
	}
	hash, err := demonstrationHash(p.Messages, w.Answer)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO demonstrations (id, project_id, hash, messages, response, origin, labeler_id, prompt_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		id, p.ProjectID, hash, p.Messages, w.Answer, OriginLabeler, w.LabelerID, p.ID)
	return err
}

// UseCase is what a customer wants the model for, as an admin describes it to labelers.
type UseCase struct {
	ID      string
	Body    string
	Retired bool
}

const maxUseCase = 2000 // bytes

// AddUseCase gives labelers of a project a use case to write prompts from.
func (s *Store) AddUseCase(ctx context.Context, projectID, body, actor string) (UseCase, error) {
	u := UseCase{Body: body}
	if Normalize(body) == "" || len(body) > maxUseCase {
		return u, invalid("use_case", "1 to %d bytes are wanted", maxUseCase)
	}
	if err := CheckText("use_case", body); err != nil {
		return u, err
	}
	if _, err := s.Project(ctx, projectID); err != nil {
		return u, err
	}
	id, err := newID()
	if err != nil {
		return u, err
	}
	u.ID = id
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO use_cases (id, project_id, body) VALUES ($1, $2, $3)`, u.ID, projectID, body); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.add_use_case", u.ID, map[string]any{"project": projectID})
	})
	return u, wrap(err, "add use case to project %s", projectID)
}

// RetireUseCase takes a use case out of the list that labelers choose from; what was written from it stays.
func (s *Store) RetireUseCase(ctx context.Context, projectID, id, actor string) error {
	if !isID(id) || !isID(projectID) {
		return wrap(ErrNotFound, "retire use case %q", id)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE use_cases SET retired = true WHERE id = $1 AND project_id = $2 AND NOT retired`, id, projectID)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, "labeling.retire_use_case", id, map[string]any{"project": projectID})
	})
	return wrap(err, "retire use case %s", id)
}

// UseCases lists the use cases of a project, oldest first, at most 500.
func (s *Store) UseCases(ctx context.Context, projectID string) ([]UseCase, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, body, retired FROM use_cases WHERE project_id = $1 ORDER BY id LIMIT 500`, projectID)
	if err != nil {
		return nil, wrap(err, "use cases of project %s", projectID)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[UseCase])
	return list, wrap(err, "use cases of project %s", projectID)
}
