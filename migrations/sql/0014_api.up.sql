-- Owned by web/account: limits of API keys in tokens, keys that took the place of others, and what of a prompt was not read again.
ALTER TABLE api_keys
    ADD COLUMN tpm          integer NOT NULL DEFAULT 100000 CHECK (tpm BETWEEN 1 AND 100000000), -- tokens a minute
    ADD COLUMN daily_tokens bigint  NOT NULL DEFAULT 0 CHECK (daily_tokens BETWEEN 0 AND 1000000000000), -- a UTC day; 0: no quota
    ADD COLUMN replaced_by  text    REFERENCES api_keys (id);
ALTER TABLE usage ADD COLUMN cached_tokens integer NOT NULL DEFAULT 0 CHECK (cached_tokens BETWEEN 0 AND prompt_tokens);

-- The sum of usage per key and UTC day, so that a quota is one row to read.
CREATE TABLE key_days (
    key_id text   NOT NULL REFERENCES api_keys (id),
    day    date   NOT NULL,
    tokens bigint NOT NULL CHECK (tokens >= 0),
    PRIMARY KEY (key_id, day)
);
INSERT INTO key_days (key_id, day, tokens)
SELECT key_id, (at AT TIME ZONE 'UTC')::date, sum(prompt_tokens + completion_tokens) FROM usage WHERE key_id IS NOT NULL GROUP BY 1, 2;

-- Owned by web/stored: chat completions that customers asked to keep. The customer is a text, as in prompts, so that an erasure finds
-- it. The JSON of body and messages is bytes, since a model may
-- write what the type json does not take (NUL).
CREATE TABLE stored_completions (
    id            text        PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    customer_id   text        NOT NULL,
    key_id        text        NOT NULL REFERENCES api_keys (id),
    created_at    timestamptz NOT NULL DEFAULT now(),
    model         text        NOT NULL,
    model_version text        NOT NULL,
    body          bytea       NOT NULL,
    messages      bytea       NOT NULL,
    metadata      jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX stored_completions_customer ON stored_completions (customer_id, created_at, id);
CREATE INDEX stored_completions_metadata ON stored_completions USING gin (metadata jsonb_path_ops);
