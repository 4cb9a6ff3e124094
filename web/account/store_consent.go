package account

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SetTraining says whether prompts of a customer's key may be trained on from the next request on, and calls after (may be nil) in the same
// transaction, so that what came before is hidden or shown at the same moment. ErrNotFound: the customer has no such key.
func (s *Store) SetTraining(ctx context.Context, customerID, id string, on bool, actor string, after func(ctx context.Context, tx pgx.Tx) error) error {
	if len(id) != keyID || !isBase62(id) || !validID(customerID) {
		return wrap("set training", ErrNotFound)
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `UPDATE api_keys SET training_opt_in = $3 WHERE id = $1 AND customer_id = $2`, id, customerID, on)
		if err == nil && done.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err == nil && after != nil {
			err = after(ctx, tx)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, actor, "apikey.training", id, map[string]any{"training_opt_in": on})
	})
	s.forget()
	return wrap("set training", err)
}
