-- model/registry: why something serves, canaries, and promotions at a time.

ALTER TABLE serving ADD COLUMN reason text NOT NULL DEFAULT '';
CREATE INDEX serving_version ON serving (version_id, id);

-- A version that answers a share of the requests before it answers all.
CREATE TABLE canaries (
    id         uuid        PRIMARY KEY,
    channel    text        NOT NULL CHECK (channel <> ''),
    version_id uuid        NOT NULL REFERENCES model_versions (id),
    serving_id uuid        NOT NULL REFERENCES model_versions (id), -- what it is compared with
    round_id   uuid,                                                -- whose rule began it; null: a person
    state      text        NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'promoted', 'rolled_back', 'aborted')),
    step       integer     NOT NULL DEFAULT 0 CHECK (step >= 0),
    share      double precision NOT NULL CHECK (share > 0 AND share < 1), -- of the requests, at this step
    config     jsonb       NOT NULL,
    actor      text        NOT NULL,
    reason     text        NOT NULL DEFAULT '',
    ended_why  text        NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT now(),
    step_at    timestamptz NOT NULL DEFAULT now(), -- when the step began; guards look at what was answered since
    ended_at   timestamptz,
    CHECK ((state IN ('running', 'paused')) = (ended_at IS NULL)),
    CHECK (version_id <> serving_id)
);
CREATE UNIQUE INDEX canaries_open ON canaries (channel) WHERE ended_at IS NULL; -- one at a time
CREATE INDEX canaries_version ON canaries (version_id, started_at);

-- What happened to a canary, with what the guards saw.
CREATE TABLE canary_events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    canary_id uuid        NOT NULL REFERENCES canaries (id),
    act       text        NOT NULL CHECK (act IN ('start', 'advance', 'pause', 'resume', 'promote', 'rollback', 'abort')),
    share     double precision NOT NULL, -- from then on
    actor     text        NOT NULL,
    reason    text        NOT NULL DEFAULT '',
    verdicts  jsonb       NOT NULL DEFAULT '[]',
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX canary_events_canary ON canary_events (canary_id, id);

-- How requests were answered while a canary ran, on both sides. No text, no customer. Removed when the next canary begins.
CREATE TABLE canary_answers (
    canary_id uuid        NOT NULL REFERENCES canaries (id),
    canary    boolean     NOT NULL, -- by the canary; else by what serves
    at        timestamptz NOT NULL DEFAULT now(),
    ms        integer     NOT NULL CHECK (ms >= 0),
    failed    boolean     NOT NULL,
    empty     boolean     NOT NULL,
    cut       boolean     NOT NULL, -- at its greatest length
    repeating boolean     NOT NULL,
    reward    double precision
);
CREATE INDEX canary_answers_at ON canary_answers (canary_id, at);

-- Promotions that wait for their time.
CREATE TABLE planned_promotions (
    id         uuid        PRIMARY KEY,
    version_id uuid        NOT NULL REFERENCES model_versions (id),
    due_at     timestamptz NOT NULL,
    time_zone  text        NOT NULL DEFAULT 'UTC', -- in which it was given
    actor      text        NOT NULL,
    reason     text        NOT NULL DEFAULT '',
    state      text        NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'done', 'cancelled', 'failed')),
    ended_why  text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CHECK ((state = 'planned') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX planned_promotions_open ON planned_promotions (version_id) WHERE state = 'planned';
CREATE INDEX planned_promotions_due ON planned_promotions (due_at) WHERE state = 'planned';

-- web/conversation, labeling: what was said of a version's answers since a canary's step began.
CREATE INDEX conversation_turns_version ON conversation_turns (model_version, created_at) WHERE rating <> 0;
CREATE INDEX kept_completions_version ON kept_completions (model_version, created_at);
