DROP TABLE policy_samples;
DROP INDEX alarms_open;
ALTER TABLE alarms DROP COLUMN new_limit, DROP COLUMN reason, DROP COLUMN answered_by, DROP COLUMN answered_at, DROP COLUMN step, DROP COLUMN threshold,
    DROP COLUMN value, DROP COLUMN metric, DROP COLUMN run_id, DROP COLUMN rule;
ALTER TABLE rounds DROP COLUMN stages_began;
