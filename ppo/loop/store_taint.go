package loop

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
)

// Taint marks what learned from snapshots that lost rows, as registry.Taint does, and says which rounds made it.
func (l *Loop) Taint(ctx context.Context, tx pgx.Tx, snapshots []string, reason string) ([]labeling.Touched, error) {
	versions, err := l.Registry.Taint(ctx, tx, snapshots, reason)
	if err != nil {
		return nil, err
	}
	rounds := []string{}
	for _, v := range versions {
		if v.RoundID != nil {
			rounds = append(rounds, *v.RoundID)
		}
	}
	rows, err := tx.Query(ctx, `SELECT id::text, number FROM rounds WHERE id = ANY($1)`, rounds)
	if err != nil {
		return nil, fmt.Errorf("rounds of what is tainted: %w", err)
	}
	numbers := map[string]int{}
	var id string
	var number int
	if _, err := pgx.ForEachRow(rows, []any{&id, &number}, func() error { numbers[id] = number; return nil }); err != nil {
		return nil, fmt.Errorf("rounds of what is tainted: %w", err)
	}
	var list []labeling.Touched
	for _, v := range versions {
		t := labeling.Touched{ID: v.ID, Name: v.Name}
		if v.RoundID != nil {
			t.RoundID, t.Round = *v.RoundID, numbers[*v.RoundID]
		}
		list = append(list, t)
	}
	return list, nil
}
