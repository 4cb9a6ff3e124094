-- Owned by web/account: the role of an analyst, and links by which people join or set a new password.

ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check
    CHECK (role IN ('labeler', 'reviewer', 'analyst', 'customer', 'admin', 'owner'));

-- The link holds 32 random bytes; only their sha256 is here. user_id is set for links that set a password.
CREATE TABLE invitations (
    id         uuid        PRIMARY KEY,
    token_hash bytea       NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    role       text        NOT NULL CHECK (role IN ('labeler', 'reviewer', 'analyst', 'customer', 'admin', 'owner')),
    user_id    uuid        REFERENCES users (id) ON DELETE CASCADE,
    project_id uuid,       -- where a new labeler begins; another room's id
    note       text        NOT NULL DEFAULT '' CHECK (length(note) <= 200),
    max_uses   integer     NOT NULL CHECK (max_uses BETWEEN 1 AND 1000),
    uses       integer     NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    created_by uuid        NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX invitations_user ON invitations (user_id) WHERE user_id IS NOT NULL;
ALTER TABLE users ADD COLUMN invitation_id uuid REFERENCES invitations (id); -- by which the person came

-- Owned by labeling: what the pages of an admin read.

-- Lists of tasks, newest first, by keyset; each filter that finds few among many has an index that ends in the id.
CREATE INDEX tasks_newest ON tasks (project_id, id);
CREATE INDEX tasks_batch_newest ON tasks (project_id, batch, id);
CREATE INDEX assignments_labeler ON assignments (labeler_id, project_id, task_id);
CREATE INDEX prompts_words ON prompts USING gin (to_tsvector('simple', left(text, 2000)));
CREATE INDEX rankings_created ON rankings (project_id, created_at);

-- Figures of the dashboard, computed by a job: one row per project.
CREATE TABLE labeling_stats (
    project_id  uuid        PRIMARY KEY REFERENCES projects (id),
    computed_at timestamptz NOT NULL,
    took_ms     bigint      NOT NULL CHECK (took_ms >= 0),
    seen        bigint      NOT NULL, -- work of all labelers when it was computed: what tells whether anything is new
    stats       jsonb       NOT NULL
);
