-- Model versions: immutable facts about weights in the blob store. Owner: model/registry.
CREATE TABLE model_versions (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('base', 'sft', 'reward', 'policy', 'value')),
    name       text NOT NULL,
    digest     text NOT NULL CHECK (digest <> ''), -- of the model folder, the key of the blob
    round_id   uuid,                               -- of the loop, null for imports
    run_id     uuid,                               -- that made it, null for imports
    snapshot   text,                               -- of the rankings behind it
    metrics    jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
-- Registering is idempotent by this.
CREATE UNIQUE INDEX model_versions_same ON model_versions
    (kind, digest, coalesce(run_id, '00000000-0000-0000-0000-000000000000'));
CREATE INDEX model_versions_created ON model_versions (created_at, id);

CREATE TABLE model_parents (
    version_id uuid NOT NULL REFERENCES model_versions (id),
    position   int NOT NULL,
    parent_id  uuid NOT NULL REFERENCES model_versions (id),
    PRIMARY KEY (version_id, position),
    UNIQUE (version_id, parent_id),
    CHECK (version_id <> parent_id)
);
CREATE INDEX model_parents_parent ON model_parents (parent_id);

-- What serves and served. The live row of a channel is its pointer; the others are its history.
CREATE TABLE serving (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel    text NOT NULL CHECK (channel <> ''),
    version_id uuid NOT NULL REFERENCES model_versions (id),
    former     bigint REFERENCES serving (id), -- the row that a rollback of this one goes back to
    rollback   boolean NOT NULL DEFAULT false, -- made by a rollback
    actor      text NOT NULL,
    live       boolean NOT NULL DEFAULT true,
    since      timestamptz NOT NULL DEFAULT now(),
    until      timestamptz,
    CHECK (live = (until IS NULL))
);
CREATE UNIQUE INDEX serving_live ON serving (channel) WHERE live;
CREATE INDEX serving_history ON serving (channel, id);

-- Training runs and their curves. Owner: model/run.
CREATE TABLE runs (
    id           uuid PRIMARY KEY,
    kind         text NOT NULL CHECK (kind <> ''), -- also the kind of the River jobs that work on it
    state        text NOT NULL DEFAULT 'queued'
                 CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
    config       jsonb NOT NULL,
    round_id     uuid,
    epoch        int NOT NULL DEFAULT 1 CHECK (epoch > 0),         -- fence: only the worker of this epoch may write
    step         int NOT NULL DEFAULT 0 CHECK (step >= 0),         -- steps committed
    live_step    int NOT NULL DEFAULT 0,                           -- steps done by the running slice, not all committed
    total        int NOT NULL DEFAULT 0,
    state_file   text NOT NULL DEFAULT '',                         -- of that step, relative to the workers' folder; empty at step 0
    restarts     int NOT NULL DEFAULT 0,                           -- since the last committed step
    error        text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    heartbeat_at timestamptz,                                      -- while a slice runs; null between
    finished_at  timestamptz
);
CREATE INDEX runs_open ON runs (state, heartbeat_at) WHERE state IN ('queued', 'running', 'paused');
CREATE INDEX runs_round ON runs (round_id);
CREATE INDEX runs_created ON runs (created_at, id);

CREATE TABLE run_metrics (
    run_id  uuid NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step    int NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    metrics jsonb NOT NULL, -- name to number; null stands for a number that is not finite
    PRIMARY KEY (run_id, step)
);
