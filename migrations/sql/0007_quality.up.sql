-- labeling: gold and control tasks, qualification, quarantine, reports, adjudication, selection; ppo/loop: the Andon cord.

ALTER TABLE projects
    ADD COLUMN gold_rate      double precision NOT NULL DEFAULT 0.1  CHECK (gold_rate BETWEEN 0 AND 0.5),
    ADD COLUMN control_after  integer          NOT NULL DEFAULT 50   CHECK (control_after >= 0), -- own tasks between control comparisons; 0: none
    ADD COLUMN quarantine     text             NOT NULL DEFAULT 'suggest' CHECK (quarantine IN ('off', 'suggest', 'automatic')),
    ADD COLUMN qualify        boolean          NOT NULL DEFAULT false, -- only labelers who passed the test are served
    ADD COLUMN pass_pairs     double precision NOT NULL DEFAULT 0.75 CHECK (pass_pairs BETWEEN 0 AND 1),
    ADD COLUMN pass_flags     double precision NOT NULL DEFAULT 0.857 CHECK (pass_flags BETWEEN 0 AND 1), -- 6 of 7
    ADD COLUMN retry_hours    integer          NOT NULL DEFAULT 24   CHECK (retry_hours >= 0),
    ADD COLUMN attempts       integer          NOT NULL DEFAULT 2    CHECK (attempts >= 1),
    ADD COLUMN test_items     integer          NOT NULL DEFAULT 7    CHECK (test_items BETWEEN 1 AND 100),
    ADD COLUMN random_share   double precision NOT NULL DEFAULT 0.2  CHECK (random_share BETWEEN 0 AND 1),
    ADD COLUMN policy_share   double precision NOT NULL DEFAULT 0.5  CHECK (policy_share BETWEEN 0 AND 1);

-- Tasks that measure labelers never have an open slot: a claim of one raises need, and giving it back lowers it. So
-- need = open_slots + live leases + done holds for them too.
ALTER TABLE tasks
    ADD COLUMN purpose    text NOT NULL DEFAULT 'work' CHECK (purpose IN ('work', 'gold', 'control')),
    ADD COLUMN control_of uuid REFERENCES assignments (id), -- of a control: the former ranking that it is compared with
    ADD COLUMN score      double precision,                 -- what ranking it would tell: a reward model's margin or variance
    DROP CONSTRAINT tasks_need_check,
    ADD CONSTRAINT tasks_need_check CHECK (need >= 1 OR purpose <> 'work' AND need = 0),
    ADD CHECK ((purpose = 'control') = (control_of IS NOT NULL));
CREATE INDEX tasks_gold ON tasks (project_id) WHERE purpose = 'gold';
CREATE UNIQUE INDEX tasks_control ON tasks (control_of) WHERE control_of IS NOT NULL;

-- What is known of a gold task.
CREATE TABLE gold (
    task_id     uuid        PRIMARY KEY REFERENCES tasks (id),
    project_id  uuid        NOT NULL REFERENCES projects (id),
    stage       text        NOT NULL CHECK (stage IN ('stream', 'practice', 'test', 'retired')),
    ranks       smallint[]  NOT NULL CHECK (cardinality(ranks) BETWEEN 2 AND 9), -- in the task's own order
    flagged     boolean[],  -- whether an answer should get any flag; null: not asked
    explanation text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gold_stage ON gold (project_id, stage, task_id);

-- Set aside: by a quarantine (and again counted when that is lifted), or by a reviewer's decision. Also surplus.
ALTER TABLE assignments ADD COLUMN aside boolean NOT NULL DEFAULT false, ADD CHECK (surplus OR NOT aside);
CREATE INDEX assignments_done ON assignments (project_id, labeler_id, closed_at) WHERE ranking_id IS NOT NULL;

ALTER TABLE labelers
    ADD COLUMN quarantined_at timestamptz,
    ADD COLUMN quarantine_why text NOT NULL DEFAULT '',
    ADD COLUMN qualified_at   timestamptz,
    ADD COLUMN judged_at      timestamptz, -- when the three below were estimated
    ADD COLUMN sense          double precision,
    ADD COLUMN evidence       double precision,
    ADD COLUMN fault          text NOT NULL DEFAULT '';

CREATE TABLE qualification_answers (
    project_id uuid        NOT NULL REFERENCES projects (id),
    labeler_id text        NOT NULL CHECK (labeler_id <> ''),
    attempt    integer     NOT NULL CHECK (attempt >= 0), -- 0: practice
    task_id    uuid        NOT NULL REFERENCES tasks (id),
    position   integer     NOT NULL, -- place in the attempt, from 0
    ranks      smallint[],  -- null: not answered yet
    flagged    boolean[],
    pairs      integer     NOT NULL DEFAULT 0, -- strict pairs of the known ranks
    agreed     integer     NOT NULL DEFAULT 0, -- of these, ordered alike
    flags      integer     NOT NULL DEFAULT 0, -- answers with a known flag or none
    flags_hit  integer     NOT NULL DEFAULT 0,
    answered_at timestamptz,
    PRIMARY KEY (project_id, labeler_id, attempt, task_id)
);

CREATE TABLE qualifications (
    project_id  uuid        NOT NULL REFERENCES projects (id),
    labeler_id  text        NOT NULL CHECK (labeler_id <> ''),
    attempt     integer     NOT NULL CHECK (attempt >= 1),
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    passed      boolean,
    PRIMARY KEY (project_id, labeler_id, attempt)
);

CREATE TABLE reports (
    id            uuid        PRIMARY KEY,
    project_id    uuid        NOT NULL REFERENCES projects (id),
    task_id       uuid        NOT NULL REFERENCES tasks (id),
    assignment_id uuid        NOT NULL REFERENCES assignments (id),
    labeler_id    text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('unsafe', 'pii', 'other')),
    body          text        NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (assignment_id, kind)
);
CREATE INDEX reports_task ON reports (task_id);

-- What a reviewer decided of a task; the newest row counts.
CREATE TABLE adjudications (
    id         uuid        PRIMARY KEY,
    project_id uuid        NOT NULL REFERENCES projects (id),
    task_id    uuid        NOT NULL REFERENCES tasks (id),
    actor      text        NOT NULL,
    decision   text        NOT NULL CHECK (decision IN ('accept', 'gold', 'drop', 'release')),
    ranks      smallint[],
    note       text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX adjudications_task ON adjudications (task_id, created_at);

-- Who stopped the training of a project, and why. One pull at a time.
CREATE TABLE cords (
    id          uuid        PRIMARY KEY,
    project_id  uuid        NOT NULL REFERENCES projects (id),
    reason      text        NOT NULL CHECK (reason <> ''),
    actor       text        NOT NULL,
    pulled_at   timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    released_by text        NOT NULL DEFAULT '',
    runs        uuid[]      NOT NULL DEFAULT '{}', -- that it paused
    CHECK ((released_at IS NULL) = (released_by = ''))
);
CREATE UNIQUE INDEX cords_one_pulled ON cords (project_id) WHERE released_at IS NULL;
