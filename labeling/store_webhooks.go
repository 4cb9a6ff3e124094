package labeling

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Emit tells the webhooks that want it of an event, in the transaction of the act: what is
// rolled back was never told. data must be small and hold ids, not texts.
func Emit(ctx context.Context, tx pgx.Tx, event string, data map[string]any) error {
	_, err := tx.Exec(ctx, `SELECT webhook_emit($1, $2)`, event, data)
	return err
}
