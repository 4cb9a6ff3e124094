package labeling

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// bulk writes n tasks of four answers with the rankings of two of ten labelers each, as the store would leave them, in a
// few statements: what lists and figures of large projects are tested on. Task i is of batch "b<i/1000>", its text begins
// with "prompt <i>", and its newest state follows i: one in ten is open, one in a thousand held. Lists need neither answers nor rankings (bodies).
func (b *bench) bulk(n int, bodies bool) {
	b.Helper()
	b.tx(func(tx pgx.Tx) error {
		for _, statement := range []string{
			`SET LOCAL session_replication_role = replica`, // no checks of foreign keys, row by row
			`CREATE FUNCTION pg_temp.id(kind int, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
				$$SELECT ('01890000-000' || kind || '-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid$$`,
			`CREATE TEMP TABLE bulk ON COMMIT DROP AS SELECT i, project.id AS project FROM projects project, generate_series(1, ` + itoa(n) + `) i`,
			`INSERT INTO prompts (id, project_id, hash, messages, text, origin, customer_id, consent, split, tasks)
				SELECT pg_temp.id(1, i), project, sha256(i::text::bytea), '[{"role": "user", "content": "x"}]', 'prompt ' || i || ' about a fox' || CASE WHEN i % 5000 = 7 THEN ' and a zeppelin' ELSE '' END,
					CASE WHEN i % 3 = 0 THEN 'api' ELSE 'import' END, CASE WHEN i % 3 = 0 THEN 'customer ' || i % 1000 END, true,
					CASE WHEN i % 10 = 0 THEN 'valid' ELSE 'train' END, 1 FROM bulk`,
			`INSERT INTO tasks (id, project_id, prompt_id, k, need, open_slots, done, batch, held)
				SELECT pg_temp.id(2, i), project, pg_temp.id(1, i), 4, 2, CASE WHEN i % 10 = 0 THEN 1 ELSE 0 END, CASE WHEN i % 10 = 0 THEN 1 ELSE 2 END,
					'b' || i / 1000, CASE WHEN i % 1000 = 1 THEN 'unsafe' ELSE '' END FROM bulk`,
			`INSERT INTO responses (id, prompt_id, task_id, position, text)
				SELECT pg_temp.id(3, i * 4 + p), pg_temp.id(1, i), pg_temp.id(2, i), p, repeat('word ', 10 + 3 * p) FROM bulk, generate_series(0, 3) p`,
			`INSERT INTO assignments (id, task_id, project_id, labeler_id, state, lease_until, display_order, guideline, ranking_id, claimed_at, closed_at)
				SELECT pg_temp.id(4, i * 2 + l), pg_temp.id(2, i), project, 'labeler ' || (i + 5 * l) % 10, 'submitted', now(), '{0,1,2,3}', 1, pg_temp.id(5, i * 2 + l), now(), now()
				FROM bulk, generate_series(0, 1) l WHERE l = 0 OR i % 10 > 0`,
			`INSERT INTO rankings (id, project_id, task_id, assignment_id, labeler_id, revision, ranks, idempotency_key, request_hash, active_ms, wall_ms, guideline, surplus, created_at)
				SELECT pg_temp.id(5, i * 2 + l), project, pg_temp.id(2, i), pg_temp.id(4, i * 2 + l), 'labeler ' || (i + 5 * l) % 10, 1,
					CASE WHEN (i * 7 + l) % 4 = 0 THEN '{2,1,3,4}' WHEN (i * 7 + l) % 4 = 1 THEN '{1,2,2,4}' WHEN (i * 7 + l) % 4 = 2 THEN '{4,3,2,1}' ELSE '{1,3,2,4}' END::smallint[],
					i || '/' || l, sha256(i::text::bytea), 1000 * (5 + i % 60), 1000 * (6 + i % 60), 1, false, now() - make_interval(mins => ((` + itoa(n) + ` - i) % 20000)::int)
				FROM bulk, generate_series(0, 1) l WHERE l = 0 OR i % 10 > 0`,
			`INSERT INTO labelers (project_id, labeler_id, done, active_ms)
				SELECT project_id, labeler_id, count(*), sum(active_ms) FROM rankings GROUP BY project_id, labeler_id`,
		} {
			if !bodies && (strings.HasPrefix(statement, "INSERT INTO responses") || strings.HasPrefix(statement, "INSERT INTO rankings")) {
				continue
			}
			if _, err := tx.Exec(b.ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	b.sql(`ANALYZE`)
}
