-- web/account: sessions that people can tell apart; sign-in by other providers; links for a new password made on the command line.

ALTER TABLE sessions
    ADD COLUMN id       uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, -- names it to people: the token is secret
    ADD COLUMN address  text NOT NULL DEFAULT '',                       -- it was opened from
    ADD COLUMN provider text NOT NULL DEFAULT '';                       -- it was opened by; empty: a password

ALTER TABLE invitations ALTER COLUMN created_by DROP NOT NULL; -- null: the command line

-- Who a user is at a provider. An account without a password has an empty password_hash.
CREATE TABLE identities (
    id           uuid        PRIMARY KEY,
    issuer       text        NOT NULL,
    subject      text        NOT NULL,
    user_id      uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider     text        NOT NULL, -- its name in the settings
    email        text        NOT NULL, -- there
    made_account boolean     NOT NULL, -- the account came by it: its role follows the provider's claims
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);

-- Sign-ins that are under way at a provider, each for the one browser that began it, and once.
CREATE TABLE sign_ins (
    state_hash   bytea       PRIMARY KEY CHECK (length(state_hash) = 32),
    browser_hash bytea       NOT NULL CHECK (length(browser_hash) = 32),
    provider     text        NOT NULL,
    nonce        text        NOT NULL,
    verifier     text        NOT NULL,
    next         text        NOT NULL,
    user_id      uuid        REFERENCES users (id) ON DELETE CASCADE, -- who links the identity; null: somebody signs in
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_ins_created ON sign_ins (created_at);

-- Identities whose address has an account here: they are linked when the account's password is given.
CREATE TABLE identity_offers (
    token_hash bytea       PRIMARY KEY CHECK (length(token_hash) = 32),
    user_id    uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    issuer     text        NOT NULL,
    subject    text        NOT NULL,
    provider   text        NOT NULL,
    email      text        NOT NULL,
    next       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX identity_offers_created ON identity_offers (created_at);

-- web/audit: search. A search by act reads the newest of each act; words are those of details, except of rankings, which are most
-- of the log and hold ids alone.
CREATE INDEX audit_act ON audit (act, id);
CREATE INDEX audit_words ON audit USING gin (jsonb_to_tsvector('simple', detail, '["key", "string", "numeric"]')) WHERE act <> 'labeling.submit';
