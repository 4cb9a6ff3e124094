-- labeling: question types beside ranking, several projects, labelers' own prompts, guidelines acknowledged.

ALTER TABLE projects
    ADD COLUMN languages text[]  NOT NULL DEFAULT '{}', -- BCP 47; none = any
    ADD COLUMN closed    boolean NOT NULL DEFAULT false, -- not offered to labelers
    DROP CONSTRAINT projects_k_check,
    ADD CONSTRAINT projects_k_check CHECK (k BETWEEN 0 AND 9);

-- lowered_to: the overlap was lowered below what was done and under way; slots that come back are closed, not opened,
-- until need has come down to it.
ALTER TABLE tasks
    ADD COLUMN lowered_to integer CHECK (lowered_to >= 1),
    DROP CONSTRAINT tasks_k_check,
    ADD CONSTRAINT tasks_k_check CHECK (k BETWEEN 0 AND 9);

CREATE FUNCTION tasks_close_slots() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    n integer := greatest(0, least(NEW.open_slots, NEW.need - NEW.lowered_to));
BEGIN
    NEW.need := NEW.need - n;
    NEW.open_slots := NEW.open_slots - n;
    IF NEW.need <= NEW.lowered_to THEN
        NEW.lowered_to := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER close_slots BEFORE UPDATE ON tasks FOR EACH ROW WHEN (NEW.lowered_to IS NOT NULL) EXECUTE FUNCTION tasks_close_slots();

-- ranks are those of the task's answers in their own order, then of the text that the labeler wrote, if that competes.
-- Such a text goes by the ranking's own id, in comparisons too.
ALTER TABLE rankings
    ADD COLUMN text     text     NOT NULL DEFAULT '',
    ADD COLUMN strength smallint NOT NULL DEFAULT 0 CHECK (strength BETWEEN 0 AND 4), -- of a pairwise preference, 0 = not asked
    DROP CONSTRAINT rankings_ranks_check,
    ADD CONSTRAINT rankings_ranks_check CHECK (cardinality(ranks) BETWEEN 1 AND 9);
CREATE INDEX rankings_own ON rankings (project_id, labeler_id, id);

-- kind: how a labeler's prompt was written; language: BCP 47, '' = not known.
ALTER TABLE prompts
    ADD COLUMN kind     text NOT NULL DEFAULT '' CHECK (kind IN ('', 'plain', 'few-shot', 'user-based')),
    ADD COLUMN language text NOT NULL DEFAULT '';

-- A demonstration that came with a task belongs to its assignment and is replaced by the next revision. The same words
-- from two labelers are two demonstrations.
ALTER TABLE demonstrations
    ADD COLUMN assignment_id uuid UNIQUE REFERENCES assignments (id),
    ADD COLUMN prompt_id     uuid REFERENCES prompts (id),
    DROP CONSTRAINT demonstrations_project_id_hash_key;
CREATE UNIQUE INDEX demonstrations_once ON demonstrations (project_id, hash) WHERE assignment_id IS NULL;
CREATE INDEX demonstrations_prompt ON demonstrations (prompt_id) WHERE prompt_id IS NOT NULL;

-- What customers want the model for, in an admin's words: labelers write user-based prompts from them.
CREATE TABLE use_cases (
    id         uuid        PRIMARY KEY,
    project_id uuid        NOT NULL REFERENCES projects (id),
    body       text        NOT NULL CHECK (body <> ''),
    retired    boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX use_cases_project ON use_cases (project_id, id);

-- The version of the guideline that a labeler has read. Who starts in a project starts with the version of that day,
-- which stands beside the first task.
CREATE TABLE guideline_acks (
    project_id uuid        NOT NULL REFERENCES projects (id),
    labeler_id text        NOT NULL CHECK (labeler_id <> ''),
    version    integer     NOT NULL CHECK (version >= 1),
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, labeler_id)
);
INSERT INTO guideline_acks (project_id, labeler_id, version)
SELECT l.project_id, l.labeler_id, p.guideline FROM labelers l JOIN projects p ON p.id = l.project_id;

CREATE FUNCTION labelers_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO guideline_acks (project_id, labeler_id, version)
    SELECT p.id, NEW.labeler_id, p.guideline FROM projects p WHERE p.id = NEW.project_id ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER start AFTER INSERT ON labelers FOR EACH ROW EXECUTE FUNCTION labelers_start();
