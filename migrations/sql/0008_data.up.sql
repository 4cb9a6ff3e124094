-- labeling: data in and out. Imports and their staging, redactions, exports, webhooks, erasures.

-- The first 256 normalised characters of a prompt that has as many, hashed: of two that begin alike only the first is
-- taken to be labeled (InstructGPT, appendix A.3).
ALTER TABLE prompts ADD COLUMN prefix bytea CHECK (length(prefix) = 16);
CREATE INDEX prompts_prefix ON prompts (project_id, prefix) WHERE prefix IS NOT NULL;

-- Imports write assignments and rankings in bulk, each naming the other.
ALTER TABLE assignments ALTER CONSTRAINT assignments_ranking_id_fkey DEFERRABLE INITIALLY IMMEDIATE;

CREATE TABLE imports (
    id          uuid        PRIMARY KEY,
    project_id  uuid        NOT NULL REFERENCES projects (id),
    name        text        NOT NULL,
    digest      bytea       NOT NULL CHECK (length(digest) = 32), -- sha256 of the file
    bytes       bigint      NOT NULL CHECK (bytes >= 0),
    reading     jsonb       NOT NULL, -- format, preset, columns as asked for
    format      text        NOT NULL DEFAULT '', -- as read
    state       text        NOT NULL DEFAULT 'reading' CHECK (state IN ('reading', 'settling', 'done', 'failed')),
    line        bigint      NOT NULL DEFAULT 0, -- the last one that is staged
    read        bigint      NOT NULL DEFAULT 0,
    imported    bigint      NOT NULL DEFAULT 0,
    duplicates  bigint      NOT NULL DEFAULT 0,
    rejected    bigint      NOT NULL DEFAULT 0,
    redacted    bigint      NOT NULL DEFAULT 0, -- records in which personal data was found
    file        text        NOT NULL DEFAULT '', -- an upload's, in the data folder; empty where the command line reads it
    error       text        NOT NULL DEFAULT '',
    actor       text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    worked_at   timestamptz NOT NULL DEFAULT now(), -- the last sign of life
    finished_at timestamptz
);
CREATE UNIQUE INDEX imports_open ON imports (project_id, digest, reading) WHERE state IN ('reading', 'settling');
CREATE INDEX imports_project ON imports (project_id, id);

-- Records on their way from the file to the tables: nothing here is served. They leave in the order of lines, redacted,
-- without duplicates, in the transaction that writes what they become.
CREATE TABLE import_rows (
    import_id uuid     NOT NULL,
    line      bigint   NOT NULL,
    part      smallint NOT NULL, -- a line may hold several records
    kind      smallint NOT NULL, -- 0 ranking, 1 demonstration, 2 prompt
    hash      bytea    NOT NULL, -- of the prompt as it stands in the file
    body      text     NOT NULL, -- the record as a line of rankings.jsonl or of TRL
    PRIMARY KEY (import_id, line, part)
);

CREATE TABLE import_errors (
    import_id uuid   NOT NULL REFERENCES imports (id),
    line      bigint NOT NULL,
    reason    text   NOT NULL,
    PRIMARY KEY (import_id, line)
);

-- What was found in a text before it was stored, and the text as it came, until a reviewer confirms (the original goes) or
-- undoes it (it goes back, while nobody has ranked it).
CREATE TABLE redactions (
    id          uuid        PRIMARY KEY,
    project_id  uuid        NOT NULL REFERENCES projects (id),
    subject     text        NOT NULL CHECK (subject IN ('prompt', 'response', 'demonstration')),
    subject_id  uuid        NOT NULL,
    finds       jsonb       NOT NULL, -- [{"place", "kind", "start", "end"}], bytes of the original
    original    jsonb,                -- {"messages", "text"} of a prompt under review; else null
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'confirmed', 'undone')),
    reviewer    text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    reviewed_at timestamptz,
    UNIQUE (subject, subject_id),
    CHECK (state = 'open' OR original IS NULL)
);
CREATE INDEX redactions_open ON redactions (project_id, id) WHERE state = 'open';

-- The same snapshot in the same format is the same file: its size and digest once somebody has had it made.
CREATE TABLE exports (
    snapshot_id uuid   NOT NULL REFERENCES snapshots (id),
    format      text   NOT NULL,
    bytes       bigint NOT NULL,
    digest      bytea  NOT NULL CHECK (length(digest) = 32), -- sha256
    counts      jsonb  NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (snapshot_id, format)
);

CREATE TABLE webhooks (
    id          uuid        PRIMARY KEY,
    url         text        NOT NULL CHECK (length(url) BETWEEN 8 AND 2000),
    events      text[]      NOT NULL DEFAULT '{}', -- patterns such as round.*; none = all
    active      boolean     NOT NULL DEFAULT true,
    created_by  text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- The outbox: a row is written in the transaction of the act it tells of.
CREATE TABLE webhook_deliveries (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id   uuid        NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id     uuid        NOT NULL, -- the same for all webhooks and all attempts: receivers tell doubles by it
    event        text        NOT NULL,
    payload      jsonb       NOT NULL,
    state        text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts     integer     NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT now(),
    status       integer,    -- of the last answer
    error        text        NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    attempted_at timestamptz
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, created_at);

-- webhook_emit puts an event into the outbox of every webhook that wants it. Any room may call it, in its transaction.
CREATE FUNCTION webhook_emit(event text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    made uuid := gen_random_uuid();
BEGIN
    INSERT INTO webhook_deliveries (webhook_id, event_id, event, payload)
    SELECT w.id, made, $1, jsonb_build_object('type', $1, 'timestamp', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', $2)
    FROM webhooks w
    WHERE w.active AND (w.events = '{}' OR EXISTS (SELECT 1 FROM unnest(w.events) p WHERE $1 = p OR p LIKE '%.*' AND starts_with($1, left(p, -1))));
END $$;

CREATE TABLE erasures (
    id         uuid        PRIMARY KEY,
    subject    text        NOT NULL, -- customer:<id> or labeler:<id>
    actor      text        NOT NULL,
    report     json        NOT NULL DEFAULT '{}', -- as it was hashed
    digest     text        NOT NULL DEFAULT '', -- its sha256
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Snapshots that have lost rows: their hash is that of what they held.
CREATE TABLE snapshot_taints (
    snapshot_id uuid    NOT NULL REFERENCES snapshots (id),
    erasure_id  uuid    NOT NULL REFERENCES erasures (id),
    rankings    integer NOT NULL,
    PRIMARY KEY (snapshot_id, erasure_id)
);

-- model/registry: versions that learned from what was erased since.
CREATE TABLE model_taints (
    version_id uuid        NOT NULL REFERENCES model_versions (id),
    reason     text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version_id, reason)
);

-- Append-only tables let rows go for one purpose: an erasure recorded in the same transaction.
CREATE OR REPLACE FUNCTION labeling_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM erasures e WHERE e.id::text = current_setting('rankloop.erasure', true)
            AND e.xmin = pg_current_xact_id()::xid) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
