-- River's tables are made by rivermigrate in this schema.
CREATE SCHEMA river;

-- The audit log: who did what to which thing. Rows are appended by audit_append in the transaction of the act itself,
-- and sealed into a hash chain a moment later by audit_seal (chaining inside the act would serialise all commits).
--
-- The chain's order is position, not id: a transaction may draw a low id and commit after higher ones were sealed.
-- Within one sealing, rows are taken in id order. Verify by audit_verify(), or by walking ORDER BY position.
CREATE TABLE audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    actor     text NOT NULL CHECK (actor <> ''),
    act       text NOT NULL CHECK (act <> ''),
    subject   text NOT NULL,
    detail    jsonb NOT NULL DEFAULT '{}',
    position  bigint UNIQUE,     -- place in the chain, from 1; null until sealed
    prev_hash bytea,             -- hash of the row at position - 1; empty for the first
    hash      bytea,             -- audit_hash of this row
    CHECK ((position IS NULL) = (hash IS NULL) AND (position IS NULL) = (prev_hash IS NULL))
);
CREATE INDEX audit_unsealed ON audit (id) WHERE position IS NULL;
CREATE INDEX audit_subject ON audit (subject, id);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_at ON audit (at);

-- audit_append writes one row and returns its id. actor: "user:<id>", "key:<id>" or "system:<what>"; act: "<room>.<verb>";
-- subject: the id of the thing acted on, or empty.
CREATE FUNCTION audit_append(actor text, act text, subject text, detail jsonb) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO audit (actor, act, subject, detail)
    VALUES ($1, $2, coalesce($3, ''), coalesce($4, '{}'))
    RETURNING id
$$;

-- audit_hash = sha256(prev hash bytes || UTF-8 of the jsonb array [position, id, microseconds, actor, act, subject, detail]
-- as PostgreSQL prints it).
CREATE FUNCTION audit_hash(prev bytea, "position" bigint, id bigint, at timestamptz, actor text, act text, subject text, detail jsonb)
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256($1 || convert_to(jsonb_build_array(
        $2, $3, (extract(epoch FROM $4) * 1000000)::bigint, $5, $6, $7, $8)::text, 'UTF8'))
$$;

-- Only one change is ever let through: sealing an unsealed row, with the right hash.
CREATE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- audit_seal puts every visible unsealed row at the end of the chain and returns how many it sealed. Sealers exclude
-- one another; appends are never held up.
CREATE FUNCTION audit_seal() RETURNS bigint LANGUAGE plpgsql AS $$
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

-- audit_verify walks the chain. broken is the id of the first row that does not fit (a changed row, or the one after a
-- removed one), null when all fit; unsealed counts rows not yet in the chain.
CREATE FUNCTION audit_verify(OUT checked bigint, OUT unsealed bigint, OUT broken bigint) LANGUAGE sql STABLE AS $$
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
