package loop

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// States of a pair.
const (
	pairAsked    = "asked"
	pairAnswered = "answered"
	pairUnfit    = "unfit" // too long for one of the versions
)

// pairRows reads a comparison's pairs from a position on, without texts and votes.
func (s *Store) pairRows(ctx context.Context, id string, from, limit int) ([]ComparePair, error) {
	rows, err := s.pool.Query(ctx, `SELECT position, slice, state, CASE WHEN swapped THEN 'b' ELSE 'a' END, coalesce(task_id::text, ''),
			a_tokens, b_tokens, a_length, b_length, a_reward, b_reward, kl
		FROM model_comparison_pairs WHERE comparison_id = $1 AND position >= $2 ORDER BY position LIMIT $3`, id, from, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p ComparePair, err error) {
		err = row.Scan(&p.Position, &p.Category, &p.State, &p.First, &p.TaskID, &p.TokensA, &p.TokensB, &p.LengthA, &p.LengthB, &p.RewardA, &p.RewardB, &p.KL)
		return p, err
	})
}

// votes gives pairs their judgements: those that count, as of now.
func (l *Loop) votes(ctx context.Context, c Comparison, pairs []ComparePair) error {
	items, err := l.Labeling.BatchItems(ctx, c.ProjectID, c.ID)
	if err != nil {
		return err
	}
	byTask := make(map[string]*ComparePair, len(pairs))
	for i := range pairs {
		byTask[pairs[i].TaskID] = &pairs[i]
	}
	for _, it := range items {
		if p := byTask[it.TaskID]; p != nil {
			for _, k := range it.Rankings {
				p.vote(k)
			}
		}
	}
	return nil
}

// CompareReport is the result as it stands.
func (l *Loop) CompareReport(ctx context.Context, c Comparison) (CompareReport, error) {
	pairs, err := l.pairRows(ctx, c.ID, 0, maxComparePrompts)
	if err == nil {
		err = l.votes(ctx, c, pairs)
	}
	return compareReport(pairs, c.Config.Seed), err
}

// ComparePairs are the pairs of a closed comparison from a position on, with all that was said. ErrConflict before the end: nobody sees
// which answer is whose.
func (l *Loop) ComparePairs(ctx context.Context, c Comparison, from, limit int) ([]ComparePair, error) {
	if c.Stage != CompareClosed {
		return nil, fmt.Errorf("%w: comparison %d is not closed: nobody sees yet which answer is whose", ErrConflict, c.Number)
	}
	pairs, err := l.pairRows(ctx, c.ID, from, limit)
	if err == nil {
		err = l.votes(ctx, c, pairs)
	}
	if err != nil {
		return nil, err
	}
	var tasks []string
	for _, p := range pairs {
		if p.TaskID != "" {
			tasks = append(tasks, p.TaskID)
		}
	}
	texts, err := l.Labeling.TasksOf(ctx, tasks)
	if err != nil {
		return nil, err
	}
	for i := range pairs {
		p := &pairs[i]
		t, ok := texts[p.TaskID]
		if !ok || len(t.Completions) != 2 {
			continue
		}
		p.Messages, p.A, p.B = t.Messages, t.Completions[0].Text, t.Completions[1].Text
		if p.First == "b" {
			p.A, p.B = p.B, p.A
		}
	}
	return pairs, nil
}
