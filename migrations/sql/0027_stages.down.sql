ALTER TABLE rounds ADD COLUMN stages_began jsonb NOT NULL DEFAULT '{}'; -- stage to the moment in which it began, in seconds since 1970
UPDATE rounds r SET stages_began = s.began || CASE WHEN r.ended_at IS NULL THEN '{}' ELSE jsonb_build_object(r.stage, extract(epoch FROM r.ended_at)) END
FROM (SELECT round_id, jsonb_object_agg(stage, extract(epoch FROM began_at)) AS began FROM round_stages GROUP BY round_id) s WHERE s.round_id = r.id;
