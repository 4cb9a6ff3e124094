-- ppo/loop: other engines that answer prompts for labeling, over OpenAI's API.
CREATE TABLE engines (
    id           uuid        PRIMARY KEY,
    name         text        NOT NULL CONSTRAINT engines_name UNIQUE CHECK (length(name) BETWEEN 1 AND 60),
    url          text        NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    model        text        NOT NULL CHECK (length(model) BETWEEN 1 AND 200),
    secret       bytea,      -- the key, sealed; null: none
    answers      smallint    NOT NULL CHECK (answers BETWEEN 1 AND 9), -- to each prompt
    max_tokens   integer     NOT NULL CHECK (max_tokens BETWEEN 1 AND 8192),
    daily_tokens bigint      NOT NULL CHECK (daily_tokens >= 1), -- budget of a UTC day
    timeout_s    integer     NOT NULL CHECK (timeout_s BETWEEN 1 AND 600),
    customers    boolean     NOT NULL, -- whether it may be asked what customers asked
    enabled      boolean     NOT NULL,
    error        text        NOT NULL DEFAULT '', -- kind of the last failure
    error_status integer     NOT NULL DEFAULT 0,
    error_at     timestamptz,
    answered_at  timestamptz,
    created_by   text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- What an engine was asked in a UTC day. tokens counts what is under way by an estimate.
CREATE TABLE engine_days (
    engine_id uuid    NOT NULL REFERENCES engines (id) ON DELETE CASCADE,
    day       date    NOT NULL,
    tokens    bigint  NOT NULL CHECK (tokens >= 0),
    requests  integer NOT NULL DEFAULT 0,
    answers   integer NOT NULL DEFAULT 0,
    failures  integer NOT NULL DEFAULT 0,
    PRIMARY KEY (engine_id, day)
);
