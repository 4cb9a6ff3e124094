-- The hash chain beside the audit log instead of in it: a row of audit is written once and never touched again. What was not
-- sealed yet waits in a list of its own, so that a sealing reads nothing else.
CREATE TABLE audit_pending (
    id bigint NOT NULL -- of audit; no index: it is read and emptied whole
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Links of the chain, many a row: hashes[i] is that of audit row ids[i], which stands at position + i - 1.
CREATE TABLE audit_seals (
    position bigint   PRIMARY KEY CHECK (position >= 1),
    ids      bigint[] NOT NULL CHECK (cardinality(ids) >= 1),
    hashes   bytea[]  NOT NULL CHECK (cardinality(hashes) = cardinality(ids))
);

INSERT INTO audit_seals (position, ids, hashes)
SELECT min(position), array_agg(id ORDER BY position), array_agg(hash ORDER BY position)
FROM audit WHERE position IS NOT NULL GROUP BY (position - 1) / 1000;
INSERT INTO audit_pending SELECT id FROM audit WHERE position IS NULL ORDER BY id;

DROP TRIGGER audit_guard ON audit;
DROP TRIGGER audit_guard_truncate ON audit;
ALTER TABLE audit DROP COLUMN position, DROP COLUMN prev_hash, DROP COLUMN hash; -- and with them audit_unsealed's index and the checks

CREATE OR REPLACE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_guard();
CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_guard();
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON audit_seals FOR EACH ROW EXECUTE FUNCTION audit_guard();
CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON audit_seals FOR EACH STATEMENT EXECUTE FUNCTION audit_guard();

CREATE OR REPLACE FUNCTION audit_append(actor text, act text, subject text, detail jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO audit (actor, act, subject, detail)
    VALUES ($1, $2, coalesce($3, ''), coalesce($4, '{}')) RETURNING audit.id INTO made;
    INSERT INTO audit_pending VALUES (made);
    RETURN made;
END $$;

-- audit_seal puts every visible unsealed row at the end of the chain, in the order of ids, and returns how many it sealed.
-- Sealers exclude one another; appends are never held up.
CREATE OR REPLACE FUNCTION audit_seal() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    r      audit%ROWTYPE;
    last   bigint;
    prev   bytea;
    ids    bigint[];
    hashes bytea[];
    n      bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7310579626985811817);
    SELECT s.position + cardinality(s.ids) - 1, s.hashes[cardinality(s.hashes)] INTO last, prev FROM audit_seals s ORDER BY s.position DESC LIMIT 1;
    last := coalesce(last, 0);
    prev := coalesce(prev, '\x');
    FOR r IN
        WITH waiting AS (DELETE FROM audit_pending RETURNING id)
        SELECT a.* FROM audit a JOIN waiting w ON w.id = a.id ORDER BY a.id
    LOOP
        n := n + 1;
        prev := audit_hash(prev, last + n, r.id, r.at, r.actor, r.act, r.subject, r.detail);
        ids := ids || r.id;
        hashes := hashes || prev;
        IF cardinality(ids) = 1000 THEN
            INSERT INTO audit_seals VALUES (last + n - 999, ids, hashes);
            ids := NULL;
            hashes := NULL;
        END IF;
    END LOOP;
    IF ids IS NOT NULL THEN
        INSERT INTO audit_seals VALUES (last + n - cardinality(ids) + 1, ids, hashes);
    END IF;
    RETURN n;
END $$;

-- audit_verify walks the chain. broken is the id of the first row that does not fit (a changed or a removed row, or the one
-- after a removed link), null when all fit; a row that is neither sealed nor waiting breaks it too, behind all others.
-- unsealed counts rows not yet in the chain.
CREATE OR REPLACE FUNCTION audit_verify(OUT checked bigint, OUT unsealed bigint, OUT broken bigint) LANGUAGE sql STABLE AS $$
    WITH link AS (
        SELECT s.position + u.n - 1 AS position, u.id, u.hash
        FROM audit_seals s, unnest(s.ids, s.hashes) WITH ORDINALITY u(id, hash, n)
    ), chain AS (
        SELECT l.id, l.position, coalesce(
            l.position = row_number() OVER w
            AND l.hash = audit_hash(coalesce(lag(l.hash) OVER w, '\x'), l.position, a.id, a.at, a.actor, a.act, a.subject, a.detail), false) AS fits
        FROM link l LEFT JOIN audit a ON a.id = l.id
        WINDOW w AS (ORDER BY l.position)
    ), stray AS (
        SELECT a.id FROM audit a
        WHERE NOT EXISTS (SELECT FROM link l WHERE l.id = a.id) AND NOT EXISTS (SELECT FROM audit_pending u WHERE u.id = a.id)
    )
    SELECT count(*),
        (SELECT count(*) FROM audit_pending),
        coalesce((array_agg(id ORDER BY position) FILTER (WHERE NOT fits))[1], (SELECT min(id) FROM stray))
    FROM chain
$$;

-- labeling_tell tells webhooks of a ranking, and of its task where that has all it needs now.
CREATE FUNCTION labeling_tell(ranking uuid, task uuid, project uuid, completed boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM webhook_emit('ranking.submitted', jsonb_build_object('ranking', $1, 'task', $2, 'project', $3));
    IF $4 THEN
        PERFORM webhook_emit('task.completed', jsonb_build_object('task', $2, 'project', $3));
    END IF;
END $$;

-- Checks are read from their text anew for every statement that writes a row: half of what an update of tasks cost. One a table
-- is left where every ranking writes, with what concurrent acts could break; what one act alone decides is checked by the program.
ALTER TABLE tasks DROP CONSTRAINT tasks_k_check, DROP CONSTRAINT tasks_purpose_check, DROP CONSTRAINT tasks_check, DROP CONSTRAINT tasks_open_slots_check,
    DROP CONSTRAINT tasks_done_check, DROP CONSTRAINT tasks_need_check, DROP CONSTRAINT tasks_check1, DROP CONSTRAINT tasks_lowered_to_check,
    ADD CONSTRAINT tasks_counters CHECK (open_slots >= 0 AND done >= 0 AND open_slots + done <= need);
ALTER TABLE assignments DROP CONSTRAINT assignments_check1, DROP CONSTRAINT assignments_labeler_id_check, DROP CONSTRAINT assignments_state_check,
    DROP CONSTRAINT assignments_check,
    ADD CONSTRAINT assignments_ranked CHECK ((ranking_id IS NOT NULL) = (state = 'submitted' OR state = 'reopened'));
ALTER TABLE labelers DROP CONSTRAINT labelers_labeler_id_check;
ALTER TABLE rankings DROP CONSTRAINT rankings_strength_check, DROP CONSTRAINT rankings_request_hash_check, DROP CONSTRAINT rankings_revision_check,
    DROP CONSTRAINT rankings_ranks_check,
    ADD CONSTRAINT rankings_ranks CHECK (cardinality(ranks) BETWEEN 1 AND 9);
ALTER TABLE audit DROP CONSTRAINT audit_actor_check, DROP CONSTRAINT audit_act_check,
    ADD CONSTRAINT audit_named CHECK (actor <> '' AND act <> '');
