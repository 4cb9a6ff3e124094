package account

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SetTraining is a customer's decision whether what comes by a key may be used for training. after (may be nil) is called in
// the same transaction, so that what came before is hidden, or shown again, at the same moment.
func (s *Store) SetTraining(ctx context.Context, id string, allowed bool, actor string, after func(ctx context.Context, tx pgx.Tx) error) error {
	if len(id) != keyID || !isBase62(id) {
		return wrap("set training", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE api_keys SET training_opt_in = $2 WHERE id = $1`, id, allowed)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		if err := audit(ctx, tx, actor, "apikey.training", id, map[string]any{"training_opt_in": allowed}); err != nil || after == nil {
			return err
		}
		return after(ctx, tx)
	})
	return wrap("set training", err)
}
