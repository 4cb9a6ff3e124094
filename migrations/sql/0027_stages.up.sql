-- ppo/loop: when a stage began stands in round_stages alone. Of older rounds it is known when their stages began, not whether they were paused in
-- them: no estimate follows from those.
INSERT INTO round_stages (round_id, stage, began_at, ended_at, broken)
SELECT r.id, b.key, to_timestamp(b.value::text::float8), least(
        (SELECT min(to_timestamp(n.value::text::float8)) FROM jsonb_each(r.stages_began) n WHERE n.value::text::float8 > b.value::text::float8), r.ended_at), true
FROM rounds r, jsonb_each(r.stages_began) b
WHERE b.key NOT IN ('done', 'failed', 'cancelled')
ON CONFLICT (round_id, stage) DO NOTHING;
INSERT INTO round_stages (round_id, stage, began_at, ended_at, broken)
SELECT r.id, first.stage, r.started_at, least(
        (SELECT min(to_timestamp(n.value::text::float8)) FROM jsonb_each(r.stages_began) n), r.ended_at), true
FROM rounds r, LATERAL (SELECT CASE WHEN r.config->'parts' ? 'sft' THEN 'sft' ELSE 'sample' END AS stage) first
WHERE NOT EXISTS (SELECT FROM round_stages s WHERE s.round_id = r.id AND s.began_at <= r.started_at)
    AND (r.stage = first.stage OR r.stages_began <> '{}')
ON CONFLICT (round_id, stage) DO NOTHING;
ALTER TABLE rounds DROP COLUMN stages_began;
