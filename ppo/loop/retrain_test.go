package loop_test

import (
	"errors"
	"testing"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/ppo/loop"
)

// TestRetrain: a round without one of the labelers samples nothing, learns from the rankings of the others, and starts from the
// supervised policy whatever serves.
func TestRetrain(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if err := b.loop.AddTasks(ctx, b.project.ID, "practice", 12, 4, 2, 8, 1); err != nil {
		t.Fatal(err)
	}
	b.rank(t)
	c := smallRound()
	c.Retrain, c.Promotion = true, loop.PromoteByHand
	c.Without = []labeling.Subject{{Kind: labeling.SubjectLabeler, ID: "ann"}, {Kind: labeling.SubjectLabeler, ID: "bob"}}
	var invalid *loop.InvalidError
	if _, err := b.loop.Start(ctx, b.project.ID, "test", c); !errors.As(err, &invalid) || invalid.Field != "without" {
		t.Fatalf("with nothing left: %v", err)
	}
	c.Without[1].Kind = "someone"
	if _, err := b.loop.Start(ctx, b.project.ID, "test", c); !errors.As(err, &invalid) || invalid.Field != "without/1" {
		t.Fatalf("of an unknown kind: %v", err)
	}
	c.Without = c.Without[:1]
	r, err := b.loop.Start(ctx, b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Stage != loop.StageReward || r.InitVersionID != r.SFTVersionID {
		t.Fatalf("%s from %s", r.Stage, r.InitVersionID)
	}
	r = b.until(t, r.ID, is(loop.StageDecide))
	o, err := b.labeling.SnapshotOrigin(ctx, r.SnapshotID)
	if err != nil || len(o.Labelers) != 1 || o.Labelers[0].ID != "bob" || o.Labelers[0].N != o.Snapshot.N {
		t.Fatalf("%+v, %v", o, err)
	}
	var tasks int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM tasks WHERE batch = $1`, r.ID).Scan(&tasks); err != nil || tasks != 0 {
		t.Errorf("%d tasks were made, %v", tasks, err)
	}
	learned, err := b.registry.Learned(ctx, []string{r.SnapshotID})
	if err != nil || len(learned) != 2 || learned[0].ID != r.RewardVersionID || learned[1].ID != r.PolicyVersionID {
		t.Errorf("learned %+v, %v", learned, err)
	}
}
