package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

const compareColumns = `c.id::text, c.number, c.a_version_id::text, c.b_version_id::text, coalesce(c.reward_version_id::text, ''), c.project_id::text, c.config,
	c.stage, c.error, c.report, c.actor, c.looked_at, coalesce(c.settled_import::text, ''), c.started_at, c.closed_at,
	(SELECT count(*) FROM model_comparison_pairs p WHERE p.comparison_id = c.id), (SELECT count(*) FROM model_comparison_pairs p WHERE p.comparison_id = c.id AND p.state <> 'asked')
	FROM model_comparisons c`

func scanComparison(row pgx.CollectableRow) (c Comparison, err error) {
	var config, report []byte
	if err = row.Scan(&c.ID, &c.Number, &c.A, &c.B, &c.RewardVersionID, &c.ProjectID, &config, &c.Stage, &c.Error, &report, &c.Actor, &c.LookedAt,
		&c.SettledImport, &c.StartedAt, &c.ClosedAt, &c.Pairs, &c.Answered); err != nil {
		return c, err
	}
	if err := json.Unmarshal(config, &c.Config); err != nil {
		return c, fmt.Errorf("config of comparison %s: %w", c.ID, err)
	}
	if report != nil {
		c.Report = new(CompareReport)
		if err := json.Unmarshal(report, c.Report); err != nil {
			return c, fmt.Errorf("report of comparison %s: %w", c.ID, err)
		}
	}
	return c, nil
}

func oneComparison(ctx context.Context, q querier, where string, args ...any) (Comparison, error) {
	rows, err := q.Query(ctx, `SELECT `+compareColumns+` `+where, args...)
	if err != nil {
		return Comparison{}, err
	}
	c, err := pgx.CollectExactlyOneRow(rows, scanComparison)
	return c, notFound(err)
}

// Comparisons lists the newest first, at most limit; only those of one version where that is not empty.
func (l *Loop) Comparisons(ctx context.Context, versionID string, limit int) ([]Comparison, error) {
	rows, err := l.pool.Query(ctx, `SELECT `+compareColumns+` WHERE $1 = '' OR $1 IN (c.a_version_id::text, c.b_version_id::text) ORDER BY c.number DESC LIMIT $2`, versionID, limit)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanComparison)
	for i := range list {
		if err == nil {
			err = l.countJudgements(ctx, &list[i])
		}
	}
	return list, err
}

// Comparison returns one with its progress counted, or ErrNotFound.
func (l *Loop) Comparison(ctx context.Context, id string) (Comparison, error) {
	if _, err := uuid.Parse(id); err != nil {
		return Comparison{}, ErrNotFound
	}
	c, err := oneComparison(ctx, l.pool, `WHERE c.id = $1`, id)
	if err == nil {
		err = l.countJudgements(ctx, &c)
	}
	return c, err
}

func (l *Loop) countJudgements(ctx context.Context, c *Comparison) error {
	if c.Config.Judges == JudgesNobody {
		return nil
	}
	counts, err := l.Labeling.BatchCounts(ctx, c.ProjectID, c.ID)
	c.Need, c.Done = counts.Need, counts.Done
	return err
}

// StartComparison lets two versions answer the same prompts, for people to judge. InvalidError where it cannot be done.
func (l *Loop) StartComparison(ctx context.Context, n NewComparison) (c Comparison, err error) {
	if err := n.Config.check(); err != nil {
		return c, err
	}
	a, err := l.contender(ctx, "a", n.A)
	if err != nil {
		return c, err
	}
	b, err := l.contender(ctx, "b", n.B)
	if err != nil {
		return c, err
	}
	if a.ID == b.ID {
		return c, &InvalidError{"b", "is the same version as a; choose another one"}
	}
	list, categories, instructions, err := l.asked(ctx, n)
	if err != nil {
		return c, err
	}
	var proxy *string
	switch v, err := l.RewardModel(ctx); {
	case err == nil && v.GoneAt == nil:
		proxy = &v.ID
	case err != nil && !errors.Is(err, ErrNotFound):
		return c, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return c, err
	}
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		var number int
		if err := tx.QueryRow(ctx, `SELECT nextval(pg_get_serial_sequence('model_comparisons', 'number'))`).Scan(&number); err != nil {
			return err
		}
		hidden := n.Config.Judges
		if hidden == JudgesNobody {
			hidden = JudgesRoom
		}
		project, prompts, sources, err := l.Labeling.AddComparison(ctx, tx, labeling.Project{Name: Comparison{Number: number}.Name(), Instructions: instructions,
			Overlap: n.Config.Overlap, Comparison: hidden, Closed: true}, list) // opened once all is answered
		if err != nil {
			return err
		}
		config, err := json.Marshal(n.Config)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO model_comparisons (id, number, a_version_id, b_version_id, reward_version_id, project_id, config, actor)
			OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, id, number, a.ID, b.ID, proxy, project.ID, config, n.Actor); err != nil {
			return err
		}
		sides := rand.New(rand.NewPCG(n.Config.Seed, seedOf(n.Config.Seed, "sides")))
		batch := &pgx.Batch{}
		for i, p := range prompts {
			batch.Queue(`INSERT INTO model_comparison_pairs (comparison_id, position, prompt_id, slice, swapped) VALUES ($1, $2, $3, $4, $5)`,
				id, i, p.ID, categories[sources[i]], sides.IntN(2) == 1)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		if err := audit(ctx, tx, n.Actor, "comparison.start", id.String(), map[string]any{"number": number, "a": a.ID, "b": b.ID, "prompts": len(prompts), "config": n.Config}); err != nil {
			return err
		}
		if err := l.enqueue.insert(ctx, tx, compareArgs{ComparisonID: id.String()}); err != nil {
			return err
		}
		c, err = oneComparison(ctx, tx, `WHERE c.id = $1`, id)
		return err
	})
	return c, err
}

// changeComparison locks a comparison and lets f act on it, in one transaction with its audit row.
func (l *Loop) changeComparison(ctx context.Context, id, actor, act string, f func(tx pgx.Tx, c Comparison) (detail map[string]any, err error)) error {
	if _, err := uuid.Parse(id); err != nil {
		return ErrNotFound
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		c, err := oneComparison(ctx, tx, `WHERE c.id = $1 FOR UPDATE OF c`, id)
		if err != nil {
			return err
		}
		detail, err := f(tx, c)
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, act, id, detail)
	})
}

// LookEarly notes that somebody looks at a result before the end; from then on the result says so.
func (l *Loop) LookEarly(ctx context.Context, id, actor string) error {
	return l.changeComparison(ctx, id, actor, "comparison.look", func(tx pgx.Tx, c Comparison) (map[string]any, error) {
		if c.Stage != CompareJudge {
			return nil, fmt.Errorf("%w: comparison %d is not being judged", ErrConflict, c.Number)
		}
		_, err := tx.Exec(ctx, `UPDATE model_comparisons SET looked_at = coalesce(looked_at, now()) WHERE id = $1`, id)
		return map[string]any{"number": c.Number}, err
	})
}

// CloseComparison ends the judging: the result is kept, and the names are shown. What somebody holds at that moment may still come in; it
// is among the judgements then, and the result stays as it was.
func (l *Loop) CloseComparison(ctx context.Context, id, actor string) error {
	return l.changeComparison(ctx, id, actor, "comparison.close", func(tx pgx.Tx, c Comparison) (map[string]any, error) {
		if c.Stage != CompareJudge {
			return nil, fmt.Errorf("%w: comparison %d is not being judged", ErrConflict, c.Number)
		}
		return map[string]any{"number": c.Number}, l.closeComparison(ctx, tx, c)
	})
}

func (l *Loop) closeComparison(ctx context.Context, tx pgx.Tx, c Comparison) error {
	if err := l.Labeling.CloseComparison(ctx, tx, c.ProjectID, true); err != nil {
		return err
	}
	report, err := l.CompareReport(ctx, c)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(report)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE model_comparisons SET stage = 'closed', closed_at = now(), report = $2 WHERE id = $1`, c.ID, raw)
	return err
}

// ReopenComparison lets people judge on, or tries again what failed. Since names were shown, a closed one that is judged on counts as
// looked at.
func (l *Loop) ReopenComparison(ctx context.Context, id, actor string) error {
	return l.changeComparison(ctx, id, actor, "comparison.reopen", func(tx pgx.Tx, c Comparison) (map[string]any, error) {
		detail := map[string]any{"number": c.Number}
		switch {
		case c.Stage == CompareFailed:
			if _, err := tx.Exec(ctx, `UPDATE model_comparisons SET stage = 'sample', error = '' WHERE id = $1`, id); err != nil {
				return nil, err
			}
			return detail, l.enqueue.insert(ctx, tx, compareArgs{ComparisonID: id})
		case c.Stage != CompareClosed:
			return nil, fmt.Errorf("%w: comparison %d is not closed", ErrConflict, c.Number)
		case c.Config.Judges == JudgesNobody:
			return nil, fmt.Errorf("%w: nobody judges comparison %d; start one that people judge", ErrConflict, c.Number)
		case c.SettledImport != "":
			return nil, fmt.Errorf("%w: the judgements of comparison %d are preference data already", ErrConflict, c.Number)
		}
		if err := l.Labeling.CloseComparison(ctx, tx, c.ProjectID, false); err != nil {
			return nil, err
		}
		_, err := tx.Exec(ctx, `UPDATE model_comparisons SET stage = 'judge', closed_at = NULL, report = NULL, looked_at = coalesce(looked_at, now()) WHERE id = $1`, id)
		return detail, err
	})
}

// DeleteComparison forgets a comparison: which answer was whose, and its figures. What people judged stays in its project, which is
// closed.
func (l *Loop) DeleteComparison(ctx context.Context, id, actor string) error {
	return l.changeComparison(ctx, id, actor, "comparison.delete", func(tx pgx.Tx, c Comparison) (map[string]any, error) {
		if err := l.Labeling.CloseComparison(ctx, tx, c.ProjectID, true); err != nil {
			return nil, err
		}
		_, err := tx.Exec(ctx, `DELETE FROM model_comparisons WHERE id = $1`, id)
		return map[string]any{"number": c.Number, "a": c.A, "b": c.B, "project": c.ProjectID}, err
	})
}

// SettleComparison makes preference data of what people judged, in the project whose prompts were asked, or in projectID where they
// came from a list. What is held out stays so. The import's name tells where the rankings come from.
func (l *Loop) SettleComparison(ctx context.Context, id, projectID, actor string) error {
	c, err := l.Comparison(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case c.Stage != CompareClosed:
		return fmt.Errorf("%w: comparison %d is not closed yet", ErrConflict, c.Number)
	case c.SettledImport != "":
		return fmt.Errorf("%w: the judgements of comparison %d are preference data already", ErrConflict, c.Number)
	case c.Config.Project != "":
		projectID = c.Config.Project
	}
	items, err := l.Labeling.BatchItems(ctx, c.ProjectID, c.ID)
	if err != nil {
		return err
	}
	var records []labeling.Record
	for _, it := range items {
		it.Split = "" // the project decides
		records = append(records, it.Records()...)
	}
	if len(records) == 0 {
		return fmt.Errorf("%w: nobody judged anything in comparison %d", ErrConflict, c.Number)
	}
	run, err := l.Labeling.ImportRankings(ctx, labeling.NewImport{ProjectID: projectID, Name: fmt.Sprintf("comparison %d (%s)", c.Number, c.ID), Actor: actor}, records)
	if err != nil {
		return err
	}
	return l.changeComparison(ctx, id, actor, "comparison.settle", func(tx pgx.Tx, c Comparison) (map[string]any, error) {
		_, err := tx.Exec(ctx, `UPDATE model_comparisons SET settled_import = $2 WHERE id = $1`, id, run.ID)
		return map[string]any{"number": c.Number, "import": run.ID, "project": projectID, "rankings": run.Imported}, err
	})
}
