-- ppo/loop: rounds, schedules, alarms.

CREATE TABLE rounds (
    id                uuid PRIMARY KEY,
    project_id        uuid NOT NULL REFERENCES projects (id),
    number            integer NOT NULL CHECK (number >= 1),
    stage             text NOT NULL CHECK (stage IN ('sample', 'rank', 'reward', 'ppo', 'evaluate', 'decide', 'done', 'failed', 'cancelled')),
    config            jsonb NOT NULL,
    actor             text NOT NULL,
    error             text NOT NULL DEFAULT '',
    init_version_id   uuid NOT NULL REFERENCES model_versions (id),
    sft_version_id    uuid NOT NULL REFERENCES model_versions (id),
    snapshot_id       uuid REFERENCES snapshots (id),
    reward_run_id     uuid REFERENCES runs (id),
    ppo_run_id        uuid REFERENCES runs (id),
    evaluate_run_id   uuid REFERENCES runs (id),
    reward_version_id uuid REFERENCES model_versions (id),
    policy_version_id uuid REFERENCES model_versions (id),
    promoted          boolean,
    report            jsonb,
    started_at        timestamptz NOT NULL DEFAULT now(),
    stage_at          timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    ended_at          timestamptz,
    UNIQUE (project_id, number)
);

-- One round at a time in a project: the constraint, not the queue, is the lock.
CREATE UNIQUE INDEX rounds_one_open ON rounds (project_id) WHERE stage NOT IN ('done', 'failed', 'cancelled');

CREATE TABLE schedules (
    id         uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects (id),
    cron       text NOT NULL,
    enabled    boolean NOT NULL DEFAULT true,
    config     jsonb NOT NULL,
    last_at    timestamptz,
    next_at    timestamptz NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled;

CREATE TABLE alarms (
    id       uuid PRIMARY KEY,
    round_id uuid REFERENCES rounds (id),
    kind     text NOT NULL,
    message  text NOT NULL,
    actor    text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alarms_round ON alarms (round_id, at);
