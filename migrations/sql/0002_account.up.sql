-- Owned by web/account: who may do what. Other tables hold ids of these rows only.

CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    email         text        NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name          text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role          text        NOT NULL CHECK (role IN ('labeler', 'reviewer', 'customer', 'admin', 'owner')),
    password_hash text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz,
    CONSTRAINT users_email_key UNIQUE (email)
);

-- The cookie holds 32 random bytes; only their sha256 is here.
CREATE TABLE sessions (
    token_hash   bytea       PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id      uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    user_agent   text        NOT NULL DEFAULT ''
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_created ON sessions (created_at);

-- Token buckets of failed sign-ins: one per account and one per address.
CREATE TABLE login_buckets (
    bucket     text             PRIMARY KEY,
    tokens     double precision NOT NULL,
    updated_at timestamptz      NOT NULL DEFAULT now()
);
CREATE INDEX login_buckets_updated ON login_buckets (updated_at);

CREATE TABLE api_keys (
    id              text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{8}$'),
    secret_hash     bytea       NOT NULL CHECK (length(secret_hash) = 32),
    customer_id     uuid        NOT NULL REFERENCES users (id),
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    scopes          text[]      NOT NULL,
    training_opt_in boolean     NOT NULL DEFAULT false,
    rpm             integer     NOT NULL CHECK (rpm BETWEEN 1 AND 1000000),
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    last_used_at    timestamptz
);
CREATE INDEX api_keys_customer ON api_keys (customer_id, created_at);

-- One row per answered request of the API and of the chat page (key_id null there).
CREATE TABLE usage (
    id                uuid        PRIMARY KEY,
    at                timestamptz NOT NULL DEFAULT now(),
    key_id            text        REFERENCES api_keys (id),
    user_id           uuid        NOT NULL REFERENCES users (id),
    endpoint          text        NOT NULL,
    model_version     text        NOT NULL,
    prompt_tokens     integer     NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens integer     NOT NULL CHECK (completion_tokens >= 0),
    finish            text        NOT NULL,
    duration_ms       integer     NOT NULL CHECK (duration_ms >= 0)
);
CREATE INDEX usage_key ON usage (key_id, at);
CREATE INDEX usage_user ON usage (user_id, at);
