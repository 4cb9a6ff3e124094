-- labeling: where each prompt came from, completions kept for feedback, and the feedback.

-- One row a request: who brought the text, by which key, for which of its own users, and what answered.
ALTER TABLE prompt_sources
    ADD COLUMN completion_id text NOT NULL DEFAULT '', -- as the customer knows it; '' = not of a request
    ADD COLUMN end_user      text NOT NULL DEFAULT '', -- "user" of the request
    ADD COLUMN model_version text NOT NULL DEFAULT '', -- that answered
    DROP CONSTRAINT prompt_sources_pkey,
    ADD PRIMARY KEY (prompt_id, origin, customer_id, api_key_id, consent, completion_id);
CREATE INDEX prompt_sources_customer ON prompt_sources (customer_id, api_key_id) WHERE customer_id <> '';

-- An answered prompt of a request whose customer consents, without personal data, for as long as feedback may come. A request
-- with several prompts has a row for each; the choices of the request count through them.
CREATE TABLE kept_completions (
    id               uuid        PRIMARY KEY,
    project_id       uuid        NOT NULL REFERENCES projects (id),
    completion_id    text        NOT NULL CHECK (length(completion_id) BETWEEN 1 AND 100),
    position         integer     NOT NULL CHECK (position >= 0),
    customer_id      text        NOT NULL CHECK (customer_id <> ''),
    api_key_id       text        NOT NULL,
    end_user         text        NOT NULL DEFAULT '',
    prompt_id        uuid        REFERENCES prompts (id), -- null: the pool did not take it
    messages         jsonb       NOT NULL,
    text             text        NOT NULL,
    token_ids        integer[],
    tokenizer_digest text        NOT NULL DEFAULT '',
    answers          jsonb       NOT NULL, -- [{"text", "token_ids", "tokenizer", "finish"}], one a choice
    model_version    text        NOT NULL,
    hidden_at        timestamptz, -- consent withdrawn
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (completion_id, position)
);
CREATE INDEX kept_completions_customer ON kept_completions (customer_id, api_key_id);
CREATE INDEX kept_completions_prompt ON kept_completions (prompt_id) WHERE prompt_id IS NOT NULL;
CREATE INDEX kept_completions_age ON kept_completions (created_at);

-- What a customer said of a completion. choice counts through the whole request.
CREATE TABLE feedback (
    id               uuid        PRIMARY KEY,
    project_id       uuid        NOT NULL REFERENCES projects (id),
    completion       uuid        NOT NULL REFERENCES kept_completions (id),
    customer_id      text        NOT NULL,
    api_key_id       text        NOT NULL,
    idempotency_key  text        NOT NULL,
    request_hash     bytea       NOT NULL CHECK (length(request_hash) = 32),
    choice           integer     NOT NULL CHECK (choice >= 0), -- the answer that is rated, preferred or corrected
    rating           smallint    CHECK (rating IN (-1, 1)),
    preferred        boolean     NOT NULL, -- the choice is better than the others
    tied             boolean     NOT NULL DEFAULT false, -- no choice is better than another
    correction       text        NOT NULL DEFAULT '',
    tags             text[]      NOT NULL DEFAULT '{}',
    comment          text        NOT NULL DEFAULT '',
    task_id          uuid        REFERENCES tasks (id),
    ranking_id       uuid        REFERENCES rankings (id),
    demonstration_id uuid        REFERENCES demonstrations (id) ON DELETE SET NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (completion, idempotency_key)
);
CREATE INDEX feedback_project ON feedback (project_id, id);
CREATE INDEX feedback_customer ON feedback (customer_id);
CREATE INDEX feedback_task ON feedback (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX feedback_demonstration ON feedback (demonstration_id) WHERE demonstration_id IS NOT NULL;
CREATE INDEX feedback_ranking ON feedback (ranking_id) WHERE ranking_id IS NOT NULL;

ALTER TABLE demonstrations DROP CONSTRAINT demonstrations_origin_check,
    ADD CONSTRAINT demonstrations_origin_check CHECK (origin IN ('import', 'labeler', 'customer'));

-- web/conversation: what people say at the chat page. Turns are a tree: an edited question and an answer given anew are
-- branches. customer_id is the user's id: an erasure of that customer takes all of this.
CREATE TABLE conversations (
    id          uuid        PRIMARY KEY,
    customer_id text        NOT NULL CHECK (customer_id <> ''),
    title       text        NOT NULL DEFAULT '' CHECK (length(title) <= 200), -- '' = by its first question
    training    boolean     NOT NULL DEFAULT false, -- whether what is said may be used for training
    leaf        uuid,       -- last turn of the branch that was open last
    settings    jsonb       NOT NULL DEFAULT '{}',
    share_hash  bytea       UNIQUE CHECK (length(share_hash) = 32),
    share_leaf  uuid,       -- the branch that is shared, up to here
    shared_at   timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversations_customer ON conversations (customer_id, updated_at DESC, id);

CREATE TABLE conversation_turns (
    id                uuid        PRIMARY KEY,
    conversation_id   uuid        NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent_id         uuid        REFERENCES conversation_turns (id) ON DELETE CASCADE,
    role              text        NOT NULL CHECK (role IN ('user', 'assistant')),
    content           text        NOT NULL,
    completion_id     text        NOT NULL DEFAULT '', -- of an answer; both answers of a comparison have the same
    choice            integer     NOT NULL DEFAULT 0,
    model_name        text        NOT NULL DEFAULT '',
    model_version     text        NOT NULL DEFAULT '',
    finish            text        NOT NULL DEFAULT '',
    prompt_tokens     integer     NOT NULL DEFAULT 0,
    completion_tokens integer     NOT NULL DEFAULT 0,
    left_out          integer     NOT NULL DEFAULT 0, -- earlier turns that did not fit the model's context
    settings          jsonb       NOT NULL DEFAULT '{}',
    tokens            jsonb,      -- [[text, log-probability, [[text, log-probability], ...]], ...]
    rating            smallint    NOT NULL DEFAULT 0 CHECK (rating IN (-1, 0, 1)),
    vote              text        NOT NULL DEFAULT '' CHECK (vote IN ('', 'better', 'worse', 'tie', 'bad')), -- of a comparison
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_turns_conversation ON conversation_turns (conversation_id, id);
CREATE INDEX conversation_turns_parent ON conversation_turns (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE chat_presets (
    id          uuid        PRIMARY KEY,
    customer_id text        NOT NULL CHECK (customer_id <> ''),
    name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 60),
    settings    jsonb       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (customer_id, name)
);
