-- labeling: projects, prompts, responses, tasks and leases, rankings, snapshots.
--
-- Ids of labelers, customers and API keys are text: they belong to other rooms, and imported rankings name labelers who
-- have no account. A task's lock guards the states of its assignments; locks are taken in the order task, labeler.

CREATE TABLE projects (
    id           uuid             PRIMARY KEY,
    name         text             NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    question     text             NOT NULL DEFAULT 'ranking',
    guideline    integer          NOT NULL DEFAULT 1, -- newest version in guidelines
    k            integer          NOT NULL CHECK (k BETWEEN 2 AND 9),
    overlap      integer          NOT NULL CHECK (overlap BETWEEN 1 AND 100),
    prompt_cap   integer          NOT NULL CHECK (prompt_cap >= 1),
    valid_share  double precision NOT NULL CHECK (valid_share >= 0),
    test_share   double precision NOT NULL CHECK (test_share >= 0),
    lease_s      integer          NOT NULL CHECK (lease_s BETWEEN 1 AND 86400),
    created_at   timestamptz      NOT NULL DEFAULT now(),
    CHECK (valid_share + test_share < 1)
);

CREATE TABLE guidelines (
    project_id uuid        NOT NULL REFERENCES projects (id),
    version    integer     NOT NULL CHECK (version >= 1),
    body       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, version)
);

-- One row per customer of a project: its side of the split, and how many prompts it has brought.
CREATE TABLE contributors (
    project_id  uuid        NOT NULL REFERENCES projects (id),
    customer_id text        NOT NULL CHECK (customer_id <> ''),
    ordinal     integer     NOT NULL CHECK (ordinal >= 0), -- order of arrival, from 0
    split       text        NOT NULL CHECK (split IN ('train', 'valid', 'test')),
    prompts     integer     NOT NULL CHECK (prompts >= 0),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, customer_id),
    UNIQUE (project_id, ordinal)
);

CREATE TABLE prompts (
    id               uuid        PRIMARY KEY,
    project_id       uuid        NOT NULL REFERENCES projects (id),
    hash             bytea       NOT NULL CHECK (length(hash) = 32), -- sha256 of the normalised text
    messages         jsonb       NOT NULL,
    text             text        NOT NULL,
    token_ids        integer[],
    tokenizer_digest text        NOT NULL DEFAULT '',
    origin           text        NOT NULL CHECK (origin IN ('api', 'import', 'labeler')),
    customer_id      text,
    api_key_id       text,
    consent          boolean     NOT NULL,
    split            text        NOT NULL CHECK (split IN ('train', 'valid', 'test')),
    tasks            integer     NOT NULL DEFAULT 0,
    hidden_at        timestamptz, -- consent withdrawn
    usable           boolean     NOT NULL GENERATED ALWAYS AS (hidden_at IS NULL AND (consent OR origin <> 'api')) STORED,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, hash)
);
CREATE INDEX prompts_waiting ON prompts (project_id, id) WHERE tasks = 0 AND usable;
CREATE INDEX prompts_customer ON prompts (customer_id) WHERE customer_id IS NOT NULL;

-- Everyone who sent the same text. The prompt's own columns are those of the source it is used under.
CREATE TABLE prompt_sources (
    prompt_id   uuid        NOT NULL REFERENCES prompts (id),
    origin      text        NOT NULL,
    customer_id text        NOT NULL DEFAULT '',
    api_key_id  text        NOT NULL DEFAULT '',
    consent     boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (prompt_id, origin, customer_id, api_key_id, consent)
);

-- Order of the queue. A slot that opens again gets a new position, behind every labeler's watermark.
CREATE SEQUENCE task_position;

CREATE TABLE tasks (
    id         uuid        PRIMARY KEY,
    project_id uuid        NOT NULL REFERENCES projects (id),
    prompt_id  uuid        NOT NULL REFERENCES prompts (id),
    k          smallint    NOT NULL CHECK (k BETWEEN 2 AND 9),
    need       integer     NOT NULL CHECK (need >= 1),
    open_slots integer     NOT NULL CHECK (open_slots >= 0),
    done       integer     NOT NULL DEFAULT 0 CHECK (done >= 0),
    batch      text        NOT NULL DEFAULT '',
    lane       smallint    NOT NULL DEFAULT 0, -- lower lanes are served first
    position   bigint      NOT NULL DEFAULT nextval('task_position'),
    hidden     boolean     NOT NULL DEFAULT false, -- the prompt's consent was withdrawn
    held       text        NOT NULL DEFAULT '',    -- reported: the flag; kept out of the queue and of snapshots
    open       boolean     NOT NULL GENERATED ALWAYS AS (open_slots > 0 AND NOT hidden AND held = '') STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (open_slots + done <= need)
) WITH (fillfactor = 70);
CREATE INDEX tasks_open ON tasks (project_id, lane, position) WHERE open;
CREATE INDEX tasks_batch ON tasks (project_id, batch);
CREATE INDEX tasks_prompt ON tasks (prompt_id);
CREATE UNIQUE INDEX tasks_once_a_batch ON tasks (prompt_id, batch) WHERE batch <> '';
CREATE INDEX tasks_held ON tasks (project_id, id) WHERE held <> '';

-- token_ids with tokenizer_digest are what was sampled; text is a view that Postgres can store; raw holds the exact
-- bytes where the view differs from them.
CREATE TABLE responses (
    id               uuid        PRIMARY KEY,
    prompt_id        uuid        NOT NULL REFERENCES prompts (id),
    task_id          uuid        NOT NULL REFERENCES tasks (id),
    position         smallint    NOT NULL CHECK (position BETWEEN 0 AND 8), -- place in the task's own order
    text             text        NOT NULL,
    raw              bytea,
    token_ids        integer[],
    tokenizer_digest text        NOT NULL DEFAULT '',
    model_version    text        NOT NULL DEFAULT '',
    finish           text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (task_id, position)
);

CREATE TABLE assignments (
    id            uuid        PRIMARY KEY,
    task_id       uuid        NOT NULL REFERENCES tasks (id),
    project_id    uuid        NOT NULL REFERENCES projects (id),
    labeler_id    text        NOT NULL CHECK (labeler_id <> ''),
    state         text        NOT NULL CHECK (state IN ('leased', 'submitted', 'reopened', 'skipped', 'released', 'expired')),
    lease_until   timestamptz NOT NULL,
    lease_epoch   integer     NOT NULL DEFAULT 1,
    display_order smallint[]  NOT NULL, -- display_order[d] = position of the response shown at d, from 0
    guideline     integer     NOT NULL,
    draft         jsonb,
    skip_reason   text        NOT NULL DEFAULT '',
    surplus       boolean     NOT NULL DEFAULT false,
    ranking_id    uuid, -- the revision that counts
    claimed_at    timestamptz NOT NULL DEFAULT now(),
    closed_at     timestamptz,
    UNIQUE (task_id, labeler_id),
    CHECK ((state IN ('submitted', 'reopened')) = (ranking_id IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX assignments_live ON assignments (project_id, labeler_id) WHERE state IN ('leased', 'reopened');

-- A labeler in a project: the watermark of the queue, and counters.
CREATE TABLE labelers (
    project_id      uuid        NOT NULL REFERENCES projects (id),
    labeler_id      text        NOT NULL CHECK (labeler_id <> ''),
    lane            smallint    NOT NULL DEFAULT 0,
    position        bigint      NOT NULL DEFAULT 0,
    scanned_at      timestamptz NOT NULL DEFAULT now(), -- when the queue was last read from its beginning
    done            integer     NOT NULL DEFAULT 0,
    skipped         integer     NOT NULL DEFAULT 0,
    active_ms       bigint      NOT NULL DEFAULT 0,
    last_assignment uuid, -- what undo reopens
    PRIMARY KEY (project_id, labeler_id)
) WITH (fillfactor = 50);

CREATE TABLE rankings (
    id              uuid        PRIMARY KEY,
    project_id      uuid        NOT NULL,
    task_id         uuid        NOT NULL,
    assignment_id   uuid        NOT NULL REFERENCES assignments (id),
    labeler_id      text        NOT NULL,
    revision        integer     NOT NULL CHECK (revision >= 1),
    ranks           smallint[]  NOT NULL CHECK (cardinality(ranks) BETWEEN 2 AND 9), -- in the task's own order
    comment         text        NOT NULL DEFAULT '',
    idempotency_key text        NOT NULL,
    request_hash    bytea       NOT NULL CHECK (length(request_hash) = 32),
    active_ms       bigint      NOT NULL DEFAULT 0,
    wall_ms         bigint      NOT NULL DEFAULT 0,
    guideline       integer     NOT NULL,
    surplus         boolean     NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (assignment_id, revision),
    UNIQUE (labeler_id, idempotency_key)
);
ALTER TABLE assignments ADD FOREIGN KEY (ranking_id) REFERENCES rankings (id);

-- The strict pairs of a ranking; ties have no row. winner_id and loser_id are responses of the ranking's task; they are
-- written together with it by one statement and carry no foreign key of their own (up to 36 rows a submit).
CREATE TABLE comparisons (
    ranking_id uuid NOT NULL REFERENCES rankings (id),
    winner_id  uuid NOT NULL,
    loser_id   uuid NOT NULL,
    PRIMARY KEY (ranking_id, winner_id, loser_id)
);

CREATE TABLE ratings (
    ranking_id  uuid     NOT NULL REFERENCES rankings (id),
    response_id uuid     NOT NULL REFERENCES responses (id),
    rating      smallint CHECK (rating BETWEEN 1 AND 7),
    flags       text[]   NOT NULL DEFAULT '{}',
    PRIMARY KEY (ranking_id, response_id)
);

CREATE TABLE snapshots (
    id         uuid        PRIMARY KEY,
    project_id uuid        NOT NULL REFERENCES projects (id),
    name       text        NOT NULL CHECK (name <> ''),
    hash       text        NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
    filter     jsonb       NOT NULL,
    n          integer     NOT NULL CHECK (n >= 1), -- rankings
    prompts    integer     NOT NULL CHECK (prompts >= 1), -- items
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name)
);

CREATE TABLE snapshot_items (
    snapshot_id uuid    NOT NULL REFERENCES snapshots (id),
    position    integer NOT NULL CHECK (position >= 0),
    task_id     uuid    NOT NULL REFERENCES tasks (id),
    ranking_id  uuid    NOT NULL REFERENCES rankings (id),
    split       text    NOT NULL CHECK (split IN ('train', 'valid', 'test')),
    customer_id text    NOT NULL DEFAULT '',
    PRIMARY KEY (snapshot_id, position)
);
CREATE INDEX snapshot_items_ranking ON snapshot_items (ranking_id);

CREATE FUNCTION labeling_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON guidelines FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rankings FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON comparisons FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ratings FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON responses FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON snapshots FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON snapshot_items FOR EACH ROW EXECUTE FUNCTION labeling_append_only();

-- Answers that people wrote: what SFT learns, and what a reward model's zero is set by.
CREATE TABLE demonstrations (
    id         uuid        PRIMARY KEY,
    project_id uuid        NOT NULL REFERENCES projects (id),
    hash       bytea       NOT NULL CHECK (length(hash) = 32), -- sha256 of messages and response
    messages   jsonb       NOT NULL,
    response   text        NOT NULL,
    origin     text        NOT NULL CHECK (origin IN ('import', 'labeler')),
    labeler_id text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, hash)
);
