-- web/account: when somebody last proved, in a session, to be who they are. Acts on keys, roles, promotions and what is kept of people want that
-- to be a few minutes ago.
ALTER TABLE sessions ADD COLUMN proved_at timestamptz NOT NULL DEFAULT now();
UPDATE sessions SET proved_at = created_at;
