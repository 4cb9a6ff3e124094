-- model/registry: what made a version.
ALTER TABLE model_versions
    ADD COLUMN code            text NOT NULL DEFAULT '', -- version of the program
    ADD COLUMN weights_gone_at timestamptz;              -- when its weights were removed; null while they are there

-- ppo/loop: rounds that pause and are tried again; schedules in a time zone, and by what people ranked.

ALTER TABLE rounds
    ADD COLUMN paused_at timestamptz,              -- by a person; null while it goes on
    ADD COLUMN broke_at  text NOT NULL DEFAULT ''; -- stage in which it failed or was cancelled

ALTER TABLE schedules
    ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',                             -- of cron
    ADD COLUMN rankings  integer NOT NULL DEFAULT 0 CHECK (rankings >= 0),        -- it starts only with so many new ones since the last round began to learn
    ADD CONSTRAINT schedules_when CHECK (cron <> '' OR rankings > 0);             -- without cron: as soon as they are there
