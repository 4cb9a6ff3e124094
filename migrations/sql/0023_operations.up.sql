-- web/health: moments worth remembering, such as the last backup and the last time the audit log's chain was verified.
CREATE TABLE health_marks (
    name   text        PRIMARY KEY CHECK (name <> ''),
    at     timestamptz NOT NULL DEFAULT now(),
    ok     boolean     NOT NULL,
    detail text        NOT NULL DEFAULT ''
);

-- web/setting: what an admin has set; a setting without a row has its default.
CREATE TABLE settings (
    name  text  PRIMARY KEY CHECK (name <> ''),
    value jsonb NOT NULL
);

-- Every change of a setting, for good. A null value is the default of the time.
CREATE TABLE setting_changes (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text        NOT NULL CHECK (name <> ''),
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text        NOT NULL CHECK (actor <> ''),
    old    jsonb,
    new    jsonb,
    reason text        NOT NULL CHECK (length(reason) <= 1000)
);
CREATE INDEX setting_changes_name ON setting_changes (name, id);

-- Deliveries that were given up lately, for the health page.
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (attempted_at) WHERE state = 'failed';
