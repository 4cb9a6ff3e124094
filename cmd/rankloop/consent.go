package main

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/web/account"
)

// consent joins what a customer decides of a key with what becomes of the prompts that came with it.
func (a *app) consent(ctx context.Context, k account.Key, on bool, actor string) error {
	return a.accounts.SetTraining(ctx, k.CustomerID, k.ID, on, actor, func(ctx context.Context, tx pgx.Tx) error {
		_, err := a.labeling.SetConsent(ctx, tx, k.CustomerID, k.ID, on)
		return err
	})
}
