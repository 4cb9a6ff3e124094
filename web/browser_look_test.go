package web

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rankloop/rankloop/labeling"
	"github.com/rankloop/rankloop/model/registry"
	"github.com/rankloop/rankloop/ppo/loop"
	"github.com/rankloop/rankloop/web/account"
)

var demoAnswers = []string{
	"Fox found an old drum under the oak. He tapped it once, and the whole forest came to dance. When the moon rose, Fox shared the drum with a shy hedgehog, and from that night on they played together. They were never lonely again.",
	"Once there was a fox. The fox had a drum. The fox had a drum. The fox had a drum and the drum was",
	"A fox beat his drum so loudly that the birds flew away. He was sorry, so he learned to play softly. One by one the birds came back and sang along, and everybody was happy.",
	"The fox lost the drum in the river and went home in the rain.",
}

// usedKey makes the customer acme with a key that has been used for three weeks, and another that was rotated and one that was revoked.
func (w *world) usedKey() account.Key {
	w.Helper()
	ctx := w.Context()
	k, _ := w.key("acme", func(n *account.NewKey) { n.TrainingOptIn, n.RPM, n.TPM, n.DailyTokens = true, 120, 50_000, 200_000 })
	for _, version := range []string{w.version.ID, "gone"} {
		_, err := w.pool.Exec(ctx, `
			INSERT INTO usage (id, at, key_id, user_id, endpoint, model_version, prompt_tokens, cached_tokens, completion_tokens, finish, duration_ms)
			SELECT gen_random_uuid(), now() - d * interval '1 day', $1, $2, '/v1/chat/completions', $3, 900 + 40 * d, 300, 2000 + (d * 37) % 900, 'stop', 40
			FROM generate_series(0, 20) d`, k.ID, k.CustomerID, version)
		w.must(err)
	}
	_, err := w.pool.Exec(ctx, `INSERT INTO key_days (key_id, day, tokens) SELECT key_id, (at AT TIME ZONE 'UTC')::date, sum(prompt_tokens + completion_tokens) FROM usage GROUP BY 1, 2`)
	w.must(err)
	for i, name := range []string{"website", "notebook"} {
		old, _, err := w.accounts.CreateKey(ctx, account.NewKey{CustomerID: k.CustomerID, Name: name, Lifetime: 90 * 24 * time.Hour, Actor: "system"})
		w.must(err)
		if i == 0 {
			_, _, err = w.accounts.RotateKey(ctx, old.ID, 24*time.Hour, "system")
		} else {
			err = w.accounts.RevokeKey(ctx, old.ID, "system")
		}
		w.must(err)
	}
	return k
}

// finishedRound writes a round that has ended, with its curves and its report, as the loop leaves it.
func (w *world) finishedRound() loop.Round {
	w.Helper()
	ctx := w.Context()
	cfg := loop.DefaultConfig()
	r, err := w.loop.Start(ctx, w.project.ID, "user:"+w.version.ID, cfg)
	w.must(err)
	reward := w.register(registry.Version{Kind: registry.Reward, Name: "reward-r1", Digest: "sha256:" + repeat("c"), Parents: []string{w.version.ID}, RoundID: &r.ID,
		Metrics: map[string]float64{"heldout_accuracy": .742, "heldout_low": .711, "heldout_high": .771, "heldout_loss": .523, "heldout_n": 930, "ceiling": .79, "agreement": .731, "ece": .028}})
	policy := w.register(registry.Version{Kind: registry.Policy, Name: "policy-r1", Digest: "sha256:" + repeat("d"), Parents: []string{w.version.ID, reward.ID}, RoundID: &r.ID})
	report := loop.Report{Rankings: 620, RoundRankings: 620, Agreement: loop.Estimate{Value: .731, Low: .702, High: .758, N: 1240},
		RewardAccuracy: loop.Estimate{Value: .742, Low: .711, High: .771, N: 930}, RewardCeiling: .79, Judge: "gold",
		ScoreSFT: loop.Estimate{Value: 1.214, Low: 1.13, High: 1.3, N: 1000}, ScoreBefore: loop.Estimate{Value: 1.214, Low: 1.13, High: 1.3, N: 1000},
		ScoreAfter: loop.Estimate{Value: 2.031, Low: 1.95, High: 2.11, N: 1000}, WinSFT: loop.Estimate{Value: .712, Low: .684, High: .739, N: 1000},
		WinServing: loop.Estimate{Value: .712, Low: .684, High: .739, N: 1000}, KL: loop.Estimate{Value: 9.41, Low: 9.1, High: 9.7, N: 1000}, EOSRate: .964, Length: 34.2,
		TokensPerS: 21_400, Seconds: 297, Promoted: true, OnPolicy: &loop.Estimate{Value: .482, Low: .43, High: .535, N: 384}, Reason: "win rate against SFT above 0.5 and KL within the limit",
		Examples: []loop.Example{{Prompt: "Tell a story about a fox and a drum with a happy ending.", SFT: demoAnswers[1], After: demoAnswers[2]}}}
	raw, err := json.Marshal(report)
	w.must(err)
	w.must(pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		var ids [2]string
		for i, kind := range []string{"reward.train", "ppo.train"} {
			v, err := w.runs.Create(ctx, tx, kind, map[string]any{}, &r.ID)
			if err != nil {
				return err
			}
			ids[i] = v.ID
			if _, err := tx.Exec(ctx, curvesSQL[i], v.ID); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `UPDATE runs SET state = 'done', step = 120, total = 120 WHERE id = $1`, v.ID); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE rounds SET stage = 'done', report = $2, promoted = true, probe = 'stale', reward_run_id = $3, ppo_run_id = $4, reward_version_id = $5,
			policy_version_id = $6, ended_at = now() WHERE id = $1`, r.ID, raw, ids[0], ids[1], reward.ID, policy.ID)
		return err
	}))
	w.must(w.loop.Promote(ctx, policy.ID, "user:"+w.version.ID, ""))
	r, err = w.loop.View(ctx, r.ID)
	w.must(err)
	w.sampled(r, w.splitPrompt("Tell a story about a fox and a drum with a happy ending.", labeling.Test), demoAnswers[1], demoAnswers[3], demoAnswers[2])
	return r
}

// curvesSQL writes 120 steps of made-up metrics.
var curvesSQL = [2]string{
	`INSERT INTO run_metrics (run_id, step, metrics)
	SELECT $1, s, jsonb_build_object('loss', 0.35 + 0.34 * exp(-s / 30.0) + 0.02 * sin(s * 2.3), 'accuracy', 0.76 - 0.25 * exp(-s / 25.0) + 0.02 * cos(s * 1.7))
		|| CASE WHEN s % 20 = 0 THEN jsonb_build_object('heldout_loss', 0.42 + 0.26 * exp(-s / 30.0), 'heldout_accuracy', 0.74 - 0.22 * exp(-s / 25.0)) ELSE '{}' END
	FROM generate_series(1, 120) s`,
	`INSERT INTO run_metrics (run_id, step, metrics)
	SELECT $1, s, jsonb_build_object('score', 1.1 * (1 - exp(-s / 40.0)) + 0.05 * sin(s * 1.9), 'kl', 9.4 * (1 - exp(-s / 50.0)) + 0.2 * cos(s * 2.1),
		'entropy', 2.6 - 0.9 * (1 - exp(-s / 60.0)) + 0.03 * sin(s), 'value_loss', 0.5 * exp(-s / 25.0) + 0.06 + 0.01 * sin(s * 2.7), 'eos_rate', 0.97 - 0.12 * exp(-s / 30.0), 'clipfrac', 0.09 + 0.02 * sin(s * 3.1))
	FROM generate_series(1, 120) s`,
}

func repeat(s string) string {
	out := ""
	for range 64 {
		out += s
	}
	return out
}
