-- Whether a round's reward model still judges the answers of the policy that came out of the round, and what follows from it.
ALTER TABLE rounds
    ADD COLUMN probe      text NOT NULL DEFAULT '' CHECK (probe IN ('', 'answer', 'rank', 'measure', 'fresh', 'stale', 'void')),
    ADD COLUMN probe_id   uuid UNIQUE, -- batch of the tasks whose rankings tell
    ADD COLUMN relabel_id uuid UNIQUE; -- batch of the tasks that were ordered because of them
CREATE INDEX rounds_probed ON rounds (project_id) WHERE probe = 'rank';
