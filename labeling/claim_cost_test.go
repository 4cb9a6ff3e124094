package labeling

import (
	"testing"
)

// pages is how many pages of tables and indexes the labeler's next claim touches, by the server's own count.
func (b *bench) pages(labeler string) int {
	b.Helper()
	tx, err := b.pool.Begin(b.ctx)
	b.ok(err)
	defer tx.Rollback(b.ctx)
	id := newKey()
	var plan []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	b.ok(tx.QueryRow(b.ctx, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+claimSkipping, b.project.ID, labeler, id, Order(id, MaxAnswers)).Scan(&plan))
	return plan[0].Plan.Hit + plan[0].Plan.Read
}

// TestClaimStaysFlat: the 20,000th claim of a labeler who works alone touches no more than twice the pages of one of the first
// hundred, though all tasks before it still have open slots.
func TestClaimStaysFlat(t *testing.T) {
	b := setup(t)
	b.settings(func(q *QualitySettings) { q.ControlAfter = 0 })
	const solo = 20_000
	b.tasks(100, 4, 3, "")
	for range 50 {
		b.submit(b.claim("ann"))
	}
	b.sql(`VACUUM ANALYZE`)
	early := 0
	for range 10 {
		early += b.pages("ann")
		b.submit(b.claim("ann"))
	}
	b.sql(`INSERT INTO prompts (id, project_id, hash, messages, text, origin, consent, split)
		SELECT gen_random_uuid(), $1, sha256(n::text::bytea), '[{"role": "user", "content": "say it"}]', n::text, 'import', true, 'train'
		FROM generate_series(1, $2) n`, b.project.ID, solo+1000)
	b.sql(`INSERT INTO tasks (id, project_id, prompt_id, k, need, open_slots) SELECT gen_random_uuid(), project_id, id, 4, 3, 3 FROM prompts WHERE tasks = 0`)
	b.sql(`INSERT INTO responses (id, prompt_id, task_id, position, text) SELECT gen_random_uuid(), t.prompt_id, t.id, n, 'answer ' || n
		FROM tasks t, generate_series(0, 3) n WHERE NOT EXISTS (SELECT FROM responses r WHERE r.task_id = t.id)`)
	// All but the last hundred of the twenty thousand are behind the labeler, who skipped them: their slots are all open.
	b.sql(`INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline)
		SELECT gen_random_uuid(), id, project_id, 'ann', 'skipped', now(), '{0,1,2,3}', 1 FROM tasks
		ORDER BY position LIMIT $1 ON CONFLICT DO NOTHING`, solo-100)
	b.sql(`UPDATE labelers SET position = (SELECT max(position) FROM (SELECT position FROM tasks ORDER BY position LIMIT $1) t)`, solo-100)
	b.sql(`VACUUM ANALYZE`)
	for range 90 {
		b.submit(b.claim("ann"))
	}
	late := 0
	for range 10 {
		late += b.pages("ann")
		b.submit(b.claim("ann"))
	}
	if done := b.count(`SELECT count(*) FROM assignments WHERE labeler_id = 'ann'`); done < solo-100 {
		t.Fatalf("only %d tasks lie behind", done)
	}
	t.Logf("pages a claim: %.1f among the first hundred, %.1f at the 20,000th", float64(early)/10, float64(late)/10)
	if late > 2*early {
		t.Errorf("a claim touches %d pages at the 20,000th task, %d among the first hundred", late/10, early/10)
	}
	b.sql(`UPDATE labelers SET lane = 0, position = 0, scanned_at = now() - interval '1 hour'`)
	if blind := b.pages("ann"); blind < 10*late/10 {
		t.Errorf("without the watermark a claim touches %d pages: the test measures nothing", blind)
	}
	b.sound()
}

// TestSubmitIsPlannedOnce: no submit is planned for its own values, and what comes next on the connection is as before.
func TestSubmitIsPlannedOnce(t *testing.T) {
	b := setup(t)
	b.settings(func(q *QualitySettings) { q.ControlAfter = 0 })
	b.tasks(8, 4, 1, "")
	pool := b.oneConnection()
	for range 8 {
		b.submit(b.claim("ann"))
	}
	var generic, custom int
	b.ok(pool.QueryRow(b.ctx, `SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1`, storeSQL).Scan(&generic, &custom))
	if generic != 8 || custom != 0 {
		t.Errorf("%d submits had the plan for all, %d one of their own", generic, custom)
	}
	var mode string
	b.ok(pool.QueryRow(b.ctx, `SELECT current_setting('plan_cache_mode')`).Scan(&mode))
	if mode != "auto" {
		t.Errorf("the next plans are chosen by %s", mode)
	}
}
