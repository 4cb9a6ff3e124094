package loop_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/model/checkpoint"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestCollect: weights that nobody needs go from the blob store, those of an open round stay, and a dry run removes nothing.
func TestCollect(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	serving, err := b.registry.Serving(ctx, loop.Channel)
	if err != nil {
		t.Fatal(err)
	}
	sizes := func() int {
		t.Helper()
		list, err := os.ReadDir(b.models)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	blobs := checkpoint.Dir(b.models)
	dir, err := blobs.Open(ctx, serving.Digest)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // copies that differ in their card
		cp, err := checkpoint.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		cp.Card.Metrics = map[string]float64{"i": float64(i)}
		out := filepath.Join(t.TempDir(), "copy")
		if err := cp.Save(out, "F32"); err != nil {
			t.Fatal(err)
		}
		digest, err := blobs.Put(ctx, out)
		if err == nil {
			err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
				_, err := b.registry.Register(ctx, tx, registry.Version{Kind: registry.Policy, Name: fmt.Sprint("copy ", i), Digest: digest, Parents: []string{serving.ID}})
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := sizes()
	gone, err := b.loop.Collect(ctx, 1, "ada", true)
	if err != nil || len(gone) != 2 || sizes() != before {
		t.Fatalf("dry: %+v, %v, %d of %d folders", gone, err, sizes(), before)
	}
	if gone, err = b.loop.Collect(ctx, 1, "ada", false); err != nil || len(gone) != 2 || sizes() != before-2 {
		t.Fatalf("%+v, %v, %d of %d folders", gone, err, sizes(), before)
	}
	if err := b.loop.Promote(ctx, gone[0].ID, "ada", ""); !errors.Is(err, registry.ErrConflict) {
		t.Errorf("promoted without weights: %v", err)
	}
	r, err := b.loop.Start(ctx, b.project.ID, "test", smallRound())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.loop.Collect(ctx, 1, "ada", false); err != nil {
		t.Fatal(err)
	}
	b.until(t, r.ID, is(loop.StageRank)) // its weights are there
}
