package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/ppo/loop"
)

// Of the rounds: how many there are, and how many steps each of their three runs has.
const (
	pastRounds = 1000
	pastSteps  = 100
)

// rounds is how long the admin's pages over a long past of rounds take: lists, one round with its curves, models with all that
// they come from, lineage forward from one labeler, and the log.
func (l *lab) rounds(ctx context.Context) ([]bar, error) {
	rankings, err := l.addHistory(ctx)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if err := l.promote(ctx, 1, "admin"); err != nil {
		return nil, err
	}
	l.show.say("Making %d rounds", pastRounds)
	if err := l.addRounds(ctx); err != nil {
		return nil, fmt.Errorf("rounds: %w", err)
	}
	var round, policy, reward, snapshot, early string
	err = l.pool.QueryRow(ctx, `SELECT id, policy_version_id, reward_version_id, snapshot_id FROM rounds ORDER BY number DESC LIMIT 1`).Scan(&round, &policy, &reward, &snapshot)
	if err == nil {
		err = l.pool.QueryRow(ctx, `SELECT id FROM rounds WHERE number = 1`).Scan(&early)
	}
	if err != nil {
		return nil, err
	}
	note := fmt.Sprintf("%d rounds, %d rankings", pastRounds, rankings)
	pages := []struct{ name, path string }{
		{"rounds", "/admin"},
		{"the newest round", "/admin/rounds/" + round},
		{"the first round", "/admin/rounds/" + early},
		{"models", "/admin/models"},
		{"the newest policy, with its line", "/admin/models/" + policy},
		{"the newest reward model", "/admin/models/" + reward},
		{"lineage from a labeler", "/admin/lineage?kind=labeler&id=reader+7"},
		{"snapshots", "/admin/snapshots"},
		{"audit log", "/admin/audit"},
		{"progress", "/admin/labeling"},
		{"agreement", "/admin/labeling/agreement"},
		{"people", "/admin/people"},
	}
	var out []bar
	for i, p := range pages {
		l.show.show("rounds", i, len(pages), "pages")
		slow, err := l.slowest(ctx, l.sessions[1], l.base+p.path)
		if err != nil {
			return nil, err
		}
		out = append(out, atMost(p.name+", p99", float64(slow.Microseconds())/1000, "ms", 100, note))
	}
	return out, nil
}

// addRounds gives the project a past of rounds: each learned a thousandth of the rankings and began where the one before it ended.
func (l *lab) addRounds(ctx context.Context) error {
	config, err := json.Marshal(loop.DefaultConfig())
	if err != nil {
		return err
	}
	report, err := json.Marshal(loop.Report{Judge: "reward model", Reason: "better than the serving policy", Promoted: true,
		Examples: []loop.Example{{Prompt: "Tell a story about a fox.", SFT: "A fox ran.", After: "A kind fox ran home."}}})
	if err != nil {
		return err
	}
	run := func(kind, column string) string {
		return `INSERT INTO runs (id, kind, state, config, round_id, step, total, started_at, finished_at)
			SELECT ` + column + `, '` + kind + `', 'done', '{}', id, ` + strconv.Itoa(pastSteps) + `, ` + strconv.Itoa(pastSteps) + `, at, at + interval '1 hour' FROM many`
	}
	version := func(kind, column, run, snapshot string) string {
		return `INSERT INTO model_versions (id, kind, name, digest, round_id, run_id, snapshot, created_at)
			SELECT ` + column + `, '` + kind + `', '` + kind + ` ' || n, encode(sha256(('` + kind + `' || n)::bytea), 'hex'), id, ` + run + `, ` + snapshot + `, at FROM many`
	}
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		for _, s := range []struct {
			sql  string
			args []any
		}{
			{`SET LOCAL session_replication_role = replica`, nil}, // foreign keys hold by construction
			{`CREATE TEMP TABLE many ON COMMIT DROP AS SELECT n, now() - (` + strconv.Itoa(pastRounds) + ` - n) * interval '1 day' AS at, ` + idSQL + ` AS id, ` + idSQL + ` AS snapshot, ` +
				idSQL + ` AS reward_run, ` + idSQL + ` AS ppo_run, ` + idSQL + ` AS evaluate_run, ` + idSQL + ` AS reward, ` + idSQL + ` AS policy
				FROM generate_series(1, ` + strconv.Itoa(pastRounds) + `) n`, nil},
			{`CREATE TEMP TABLE origin ON COMMIT DROP AS SELECT ` + idSQL + ` AS sft`, nil},
			{`INSERT INTO model_versions (id, kind, name, digest) SELECT sft, 'sft', 'sft', 'sft' FROM origin`, nil},
			{version("reward", "reward", "reward_run", "snapshot::text"), nil},
			{version("policy", "policy", "ppo_run", "snapshot::text"), nil},
			{`INSERT INTO model_parents (version_id, position, parent_id) SELECT reward, 0, sft FROM many, origin`, nil},
			{`INSERT INTO model_parents (version_id, position, parent_id) SELECT m.policy, 0, coalesce(b.policy, sft) FROM origin, many m LEFT JOIN many b ON b.n = m.n - 1`, nil},
			{`INSERT INTO model_parents (version_id, position, parent_id) SELECT policy, 1, reward FROM many`, nil},
			{run("reward.train", "reward_run"), nil}, {run("ppo.train", "ppo_run"), nil}, {run("evaluate", "evaluate_run"), nil},
			{`INSERT INTO run_metrics (run_id, step, at, metrics)
				SELECT run, step, at, jsonb_build_object('loss', random(), 'score', step * 0.01 + random(), 'kl', step * 0.05 + random(), 'entropy', 2 - random(), 'length', 30 + random(),
					'value_loss', random(), 'ratio', 1, 'clip_fraction', random() * 0.1, 'eos_rate', 1, 'kl_coef', 0.2)
				FROM many, unnest(ARRAY[reward_run, ppo_run]) run, generate_series(1, ` + strconv.Itoa(pastSteps) + `) step`, nil},
			{`CREATE TEMP TABLE learned ON COMMIT DROP AS SELECT k.id AS ranking, k.task_id AS task, 1 + (row_number() OVER (ORDER BY k.id) - 1) % ` + strconv.Itoa(pastRounds) + ` AS n
				FROM rankings k`, nil},
			{`INSERT INTO snapshots (id, project_id, name, hash, filter, n, prompts, created_at)
				SELECT snapshot, $1, 'round ' || n, encode(sha256(n::text::bytea), 'hex'), '{}', greatest(1, (SELECT count(*) FROM learned l WHERE l.n = many.n)), 1, at FROM many`, []any{l.project.ID}},
			{`INSERT INTO snapshot_items (snapshot_id, position, task_id, ranking_id, split)
				SELECT snapshot, row_number() OVER (PARTITION BY n) - 1, task, ranking, 'train' FROM learned JOIN many USING (n)`, nil},
			{`INSERT INTO rounds (id, project_id, number, stage, config, actor, init_version_id, sft_version_id, snapshot_id, reward_run_id, ppo_run_id, evaluate_run_id,
					reward_version_id, policy_version_id, promoted, report, started_at, stage_at, updated_at, ended_at)
				SELECT m.id, $1, m.n, 'done', $2, 'schedule', coalesce(b.policy, sft), sft, m.snapshot, m.reward_run, m.ppo_run, m.evaluate_run, m.reward, m.policy, true, $3, m.at, m.at, m.at, m.at
				FROM origin, many m LEFT JOIN many b ON b.n = m.n - 1`, []any{l.project.ID, config, report}},
			{`INSERT INTO alarms (id, round_id, kind, message, actor, at) SELECT ` + idSQL + `, id, 'kl', 'of the past', 'loop', at FROM many`, nil},
		} {
			if _, err := tx.Exec(ctx, s.sql, s.args...); err != nil {
				return fmt.Errorf("%.60s: %w", s.sql, err)
			}
		}
		return nil
	})
}
