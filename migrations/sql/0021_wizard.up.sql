-- ppo/loop: rounds of any part of the loop, gates that hold them, how long their stages took; setups by name.

ALTER TABLE rounds
    DROP CONSTRAINT rounds_stage_check,
    ADD CONSTRAINT rounds_stage_check CHECK (stage IN ('sft', 'sample', 'rank', 'reward', 'ppo', 'evaluate', 'decide', 'done', 'failed', 'cancelled')),
    ADD COLUMN sft_run_id uuid REFERENCES runs (id),
    ADD COLUMN held       text  NOT NULL DEFAULT '', -- the gate that keeps it where it is; empty while none does
    ADD COLUMN finding    text  NOT NULL DEFAULT '', -- what that gate has found
    ADD COLUMN overrides  jsonb NOT NULL DEFAULT '[]'; -- people's decisions against a gate, with their reasons

-- How long each stage took, for estimates and the time that is left.
CREATE TABLE round_stages (
    round_id uuid        NOT NULL REFERENCES rounds (id),
    stage    text        NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    broken   boolean     NOT NULL DEFAULT false, -- paused, halted, tried again or cut off: its time tells nothing
    PRIMARY KEY (round_id, stage)
);

CREATE TABLE round_templates (
    id         uuid        PRIMARY KEY,
    project_id uuid        NOT NULL REFERENCES projects (id),
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    config     jsonb       NOT NULL,
    created_by text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name)
);

ALTER TABLE schedules
    ADD COLUMN accuracy_below double precision NOT NULL DEFAULT 0 CHECK (accuracy_below >= 0 AND accuracy_below < 1), -- it starts only while the reward model is known to be right in less of its own policy's pairs
    DROP CONSTRAINT schedules_when,
    ADD CONSTRAINT schedules_when CHECK (cron <> '' OR rankings > 0 OR accuracy_below > 0);
