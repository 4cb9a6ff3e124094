package loop_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rankloop/rankloop/ppo/loop"
)

// probed waits until the round's probe stands so.
func (b *bench) probed(t *testing.T, id string, want loop.Probe) loop.Round {
	t.Helper()
	var r loop.Round
	for range 600 {
		var err error
		if r, err = b.loop.Get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if r.Probe == want {
			return r
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the probe stands at %q, want %q", r.Probe, want)
	return r
}

// promoted takes a round to its promotion.
func (b *bench) promoted(t *testing.T, c loop.Config) loop.Round {
	t.Helper()
	c.Promotion = loop.PromoteByHand
	r, err := b.loop.Start(t.Context(), b.project.ID, "test", c)
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, r.ID, is(loop.StageRank))
	b.rank(t)
	r = b.until(t, r.ID, is(loop.StageDecide))
	if err := b.loop.Decide(t.Context(), r.ID, "ada", true); err != nil {
		t.Fatal(err)
	}
	return r
}

// orders are the sizes of the orders in the audit log, and who gave each.
func (b *bench) orders(t *testing.T) (sizes []int, actors string) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT (detail->>'prompts')::int, actor FROM audit WHERE act = 'loop.order_tasks' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		var who string
		if err := rows.Scan(&n, &who); err != nil {
			t.Fatal(err)
		}
		sizes, actors = append(sizes, n), actors+who+";"
	}
	return sizes, actors
}

func (b *bench) tasks(t *testing.T, batch string) (n int) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM tasks WHERE batch = $1`, batch).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRelabel: after the promotion some of the new policy's answers are ranked; a reward model that is stale on them orders more, once,
// and one that is not orders nothing.
func TestRelabel(t *testing.T) {
	for _, c := range []struct {
		name  string
		below float64 // no reward model here is right in 99.9% or wrong in so many: which of the two it is does not hang on the training
		want  loop.Probe
		sizes []int
	}{
		{"stale", 0.999, loop.ProbeStale, []int{8, 5}},
		{"fresh", 0.001, loop.ProbeFresh, []int{8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			cfg := smallRound()
			cfg.Relabel = loop.RelabelConfig{Below: c.below, Probe: 8, Prompts: 5}
			r := b.promoted(t, cfg)
			r = b.probed(t, r.ID, loop.ProbeRank)
			if n := b.tasks(t, r.ProbeID); n != 8 || r.RelabelID != "" || r.Report.OnPolicy != nil {
				t.Fatalf("before anybody has ranked: %d tasks, order %q, %+v", n, r.RelabelID, r.Report.OnPolicy)
			}
			b.rankAs(t, "ann", func(texts []string, i int) int { return 1 + i }) // in the order of the page, which is shuffled
			r = b.probed(t, r.ID, c.want)
			if r.Stage != loop.StageDone || r.Report.OnPolicy == nil || r.Report.OnPolicy.N != 8*6 {
				t.Fatalf("%s, %+v: 8 prompts with 4 answers have 48 pairs", r.Stage, r.Report.OnPolicy)
			}
			for range 3 { // nothing follows, however often it is looked at and whatever is ranked
				if err := b.loop.AdvanceWaiting(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.rank(t)
			}
			sizes, actors := b.orders(t)
			if len(sizes) != len(c.sizes) || sizes[0] != 8 || sizes[len(sizes)-1] != c.sizes[len(c.sizes)-1] || strings.Count(actors, "round 1;") != len(sizes) {
				t.Errorf("orders of %v prompts by %q, want %v by the round", sizes, actors, c.sizes)
			}
			alarms, err := b.loop.Alarms(t.Context(), r.ID, 10)
			if err != nil {
				t.Fatal(err)
			}
			var probes int
			if err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM audit WHERE act = 'round.probe' AND subject = $1 AND detail->>'found' = $2`, r.ID, string(c.want)).Scan(&probes); err != nil || probes != 1 {
				t.Errorf("%d audit rows of what the probe found, %v", probes, err)
			}
			if c.want == loop.ProbeFresh {
				if len(alarms) != 0 || r.RelabelID != "" {
					t.Errorf("nothing is wrong, but: %+v, order %q", alarms, r.RelabelID)
				}
				return
			}
			if len(alarms) != 1 || alarms[0].Kind != "stale" || !strings.Contains(alarms[0].Message, "below the limit of 99.9%: answers to 5 more prompts were ordered") {
				t.Errorf("alarms %+v", alarms)
			}
			for range 600 {
				if b.tasks(t, r.RelabelID) == 5 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			b.rank(t)
			items, err := b.labeling.BatchItems(t.Context(), b.project.ID, r.RelabelID)
			if err != nil || len(items) != 5 {
				t.Fatalf("%d of the 5 ordered tasks are ranked, %v", len(items), err)
			}
			for _, it := range items {
				for _, x := range it.Completions {
					if x.ModelVersion != r.PolicyVersionID {
						t.Errorf("an answer is of model %s, want the new policy %s", x.ModelVersion, r.PolicyVersionID)
					}
				}
			}
			if sizes, _ := b.orders(t); len(sizes) != 2 {
				t.Errorf("after the order was ranked there are orders of %v prompts", sizes)
			}
		})
	}
}

// TestRelabelOfAnother: rankings of answers that another policy gave say nothing of this round's, and without a limit there is no probe.
func TestRelabelOfAnother(t *testing.T) {
	b := newBench(t)
	cfg := smallRound()
	r := b.promoted(t, cfg)
	if r, err := b.loop.Get(t.Context(), r.ID); err != nil || r.Probe != loop.ProbeNone || r.Stage != loop.StageDone {
		t.Fatalf("without a limit: probe %q, %s, %v", r.Probe, r.Stage, err)
	}
	cfg.Relabel = loop.RelabelConfig{Below: 0.999, Probe: 4, Prompts: 5}
	cfg.Seed++
	r = b.promoted(t, cfg)
	b.probed(t, r.ID, loop.ProbeRank)
	if _, err := b.pool.Exec(t.Context(), `UPDATE rounds SET policy_version_id = init_version_id WHERE id = $1`, r.ID); err != nil {
		t.Fatal(err)
	}
	b.rank(t)
	r = b.probed(t, r.ID, loop.ProbeVoid)
	if sizes, _ := b.orders(t); r.Report.OnPolicy != nil || len(sizes) != 1 {
		t.Errorf("%+v, orders of %v prompts", r.Report.OnPolicy, sizes)
	}
}
