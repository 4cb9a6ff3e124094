DELETE FROM schedules WHERE cron = '' AND rankings = 0;
ALTER TABLE schedules
    DROP CONSTRAINT schedules_when,
    DROP COLUMN accuracy_below,
    ADD CONSTRAINT schedules_when CHECK (cron <> '' OR rankings > 0);
DROP TABLE round_templates;
DROP TABLE round_stages;
UPDATE rounds SET stage = 'cancelled', ended_at = coalesce(ended_at, now()) WHERE stage = 'sft';
ALTER TABLE rounds
    DROP COLUMN overrides, DROP COLUMN finding, DROP COLUMN held, DROP COLUMN sft_run_id,
    DROP CONSTRAINT rounds_stage_check,
    ADD CONSTRAINT rounds_stage_check CHECK (stage IN ('sample', 'rank', 'reward', 'ppo', 'evaluate', 'decide', 'done', 'failed', 'cancelled'));
