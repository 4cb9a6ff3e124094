-- labeling: projects in which people compare two models.
ALTER TABLE projects
    ADD COLUMN comparison text NOT NULL DEFAULT '' CHECK (comparison IN ('', 'labelers', 'room')); -- room: only who has its address finds it

-- ppo/loop: two model versions, blind and side by side.
CREATE TABLE model_comparisons (
    id                uuid PRIMARY KEY,
    number            integer NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    a_version_id      uuid NOT NULL REFERENCES model_versions (id),
    b_version_id      uuid NOT NULL REFERENCES model_versions (id),
    reward_version_id uuid REFERENCES model_versions (id), -- the proxy that judges too; null: none
    project_id        uuid NOT NULL REFERENCES projects (id), -- of its own: prompts, answers and judgements
    config            jsonb NOT NULL,
    stage             text NOT NULL DEFAULT 'sample' CHECK (stage IN ('sample', 'judge', 'closed', 'failed')),
    error             text NOT NULL DEFAULT '',
    report            jsonb, -- of a closed one
    actor             text NOT NULL,
    looked_at         timestamptz, -- when somebody first looked before the end
    settled_import    uuid, -- by which its judgements became preference data
    started_at        timestamptz NOT NULL DEFAULT now(),
    closed_at         timestamptz,
    CHECK (a_version_id <> b_version_id),
    CHECK ((stage = 'closed') = (closed_at IS NOT NULL)),
    CHECK (report IS NULL OR stage = 'closed')
);
CREATE INDEX model_comparisons_a ON model_comparisons (a_version_id);
CREATE INDEX model_comparisons_b ON model_comparisons (b_version_id);

-- One prompt of a comparison. Which of the task's two answers is whose stands here alone.
CREATE TABLE model_comparison_pairs (
    comparison_id uuid NOT NULL REFERENCES model_comparisons (id) ON DELETE CASCADE,
    position      integer NOT NULL CHECK (position >= 0),
    prompt_id     uuid NOT NULL, -- in the comparison's own project; an erasure may take it
    slice         text NOT NULL DEFAULT '',
    swapped       boolean NOT NULL, -- the task's first answer is B's
    state         text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'answered', 'unfit')), -- unfit: too long for one of them
    task_id       uuid,
    a_tokens      integer NOT NULL DEFAULT 0,
    b_tokens      integer NOT NULL DEFAULT 0,
    a_length      integer NOT NULL DEFAULT 0, -- characters
    b_length      integer NOT NULL DEFAULT 0,
    a_reward      double precision,
    b_reward      double precision,
    kl            double precision, -- log B(y) - log A(y) of B's answer, nats; null where their tokens differ
    PRIMARY KEY (comparison_id, position),
    CHECK ((state = 'answered') = (task_id IS NOT NULL))
);
CREATE UNIQUE INDEX model_comparison_pairs_task ON model_comparison_pairs (task_id);
