ALTER TABLE audit ADD COLUMN position bigint UNIQUE, ADD COLUMN prev_hash bytea, ADD COLUMN hash bytea;
DROP TRIGGER audit_guard ON audit;
DROP TRIGGER audit_guard_truncate ON audit;
UPDATE audit a SET position = l.position, hash = l.hash, prev_hash = l.prev FROM (
    SELECT s.position + u.n - 1 AS position, u.id, u.hash, coalesce(lag(u.hash) OVER (ORDER BY s.position, u.n), '\x') AS prev
    FROM audit_seals s, unnest(s.ids, s.hashes) WITH ORDINALITY u(id, hash, n)) l
WHERE a.id = l.id;
ALTER TABLE audit ADD CHECK ((position IS NULL) = (hash IS NULL) AND (position IS NULL) = (prev_hash IS NULL));
DROP TABLE audit_pending, audit_seals;
CREATE INDEX audit_unsealed ON audit (id) WHERE position IS NULL;

CREATE OR REPLACE FUNCTION audit_append(actor text, act text, subject text, detail jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO audit (actor, act, subject, detail)
    VALUES ($1, $2, coalesce($3, ''), coalesce($4, '{}')) RETURNING audit.id INTO made;
    RETURN made;
END $$;

CREATE OR REPLACE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.position IS NULL THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.position IS NULL AND NEW.position IS NOT NULL
        AND (NEW.id, NEW.at, NEW.actor, NEW.act, NEW.subject, NEW.detail)
          = (OLD.id, OLD.at, OLD.actor, OLD.act, OLD.subject, OLD.detail)
        AND NEW.hash = audit_hash(NEW.prev_hash, NEW.position, NEW.id, NEW.at, NEW.actor, NEW.act, NEW.subject, NEW.detail)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_guard BEFORE INSERT OR UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_guard();
CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_guard();

CREATE OR REPLACE FUNCTION audit_seal() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    r    audit%ROWTYPE;
    last bigint;
    prev bytea;
    n    bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7310579626985811817);
    SELECT a.position, a.hash INTO last, prev FROM audit a WHERE a.position IS NOT NULL ORDER BY a.position DESC LIMIT 1;
    last := coalesce(last, 0);
    prev := coalesce(prev, '\x');
    FOR r IN SELECT * FROM audit a WHERE a.position IS NULL ORDER BY a.id LOOP
        last := last + 1;
        r.hash := audit_hash(prev, last, r.id, r.at, r.actor, r.act, r.subject, r.detail);
        UPDATE audit a SET position = last, prev_hash = prev, hash = r.hash WHERE a.id = r.id;
        prev := r.hash;
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;

CREATE OR REPLACE FUNCTION audit_verify(OUT checked bigint, OUT unsealed bigint, OUT broken bigint) LANGUAGE sql STABLE AS $$
    WITH chain AS (
        SELECT id, position,
            position = row_number() OVER w
            AND prev_hash = coalesce(lag(hash) OVER w, '\x')
            AND hash = audit_hash(prev_hash, position, id, at, actor, act, subject, detail) AS fits
        FROM audit WHERE position IS NOT NULL
        WINDOW w AS (ORDER BY position)
    )
    SELECT count(*),
        (SELECT count(*) FROM audit WHERE position IS NULL),
        (array_agg(id ORDER BY position) FILTER (WHERE NOT fits))[1]
    FROM chain
$$;

DROP FUNCTION labeling_tell;

ALTER TABLE tasks DROP CONSTRAINT tasks_counters, ADD CHECK (k >= 0 AND k <= 9), ADD CHECK (purpose IN ('work', 'gold', 'control')),
    ADD CHECK (open_slots + done <= need), ADD CHECK (open_slots >= 0), ADD CHECK (done >= 0),
    ADD CONSTRAINT tasks_need_check CHECK (need >= 1 OR purpose <> 'work' AND need = 0),
    ADD CHECK ((purpose = 'control') = (control_of IS NOT NULL)), ADD CHECK (lowered_to >= 1);
ALTER TABLE assignments DROP CONSTRAINT assignments_ranked, ADD CHECK (surplus OR NOT aside), ADD CHECK (labeler_id <> ''),
    ADD CHECK (state IN ('leased', 'submitted', 'reopened', 'skipped', 'released', 'expired')),
    ADD CHECK ((state IN ('submitted', 'reopened')) = (ranking_id IS NOT NULL));
ALTER TABLE labelers ADD CHECK (labeler_id <> '');
ALTER TABLE rankings DROP CONSTRAINT rankings_ranks, ADD CHECK (strength >= 0 AND strength <= 4), ADD CHECK (length(request_hash) = 32),
    ADD CHECK (revision >= 1), ADD CONSTRAINT rankings_ranks_check CHECK (cardinality(ranks) BETWEEN 1 AND 9);
ALTER TABLE audit DROP CONSTRAINT audit_named, ADD CHECK (actor <> ''), ADD CHECK (act <> '');
