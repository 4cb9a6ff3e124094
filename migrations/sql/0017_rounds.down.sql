DELETE FROM schedules WHERE cron = '';
ALTER TABLE schedules DROP CONSTRAINT schedules_when, DROP COLUMN rankings, DROP COLUMN time_zone;
ALTER TABLE rounds DROP COLUMN broke_at, DROP COLUMN paused_at;
ALTER TABLE model_versions DROP COLUMN weights_gone_at, DROP COLUMN code;
