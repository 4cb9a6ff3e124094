package loop

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/registry"
)

var errDryRun = errors.New("dry run")

// Collect removes the weights that nobody needs any more, see registry.Store.Collect; open rounds need theirs. With dry it only
// says what would go.
func (l *Loop) Collect(ctx context.Context, keep int, actor string, dry bool) (gone []registry.Version, err error) {
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		needed, err := l.needed(ctx, tx)
		if err != nil {
			return err
		}
		if gone, err = l.Registry.Collect(ctx, tx, keep, needed); err != nil {
			return err
		}
		if dry {
			return errDryRun
		}
		for _, v := range gone {
			if err := audit(ctx, tx, actor, "model.collect", v.ID, map[string]any{"name": v.Name, "digest": v.Digest}); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		return gone, nil
	}
	if err != nil {
		return nil, err
	}
	digests, err := l.Registry.Collected(ctx) // of before too, where their removal was cut off
	for _, d := range digests {
		if err == nil {
			err = l.Blobs.Delete(ctx, d)
		}
	}
	return gone, err
}
