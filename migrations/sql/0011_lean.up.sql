-- What every ranking pays for. A function in SQL is parsed and planned anew for each statement that calls it; one in PL/pgSQL
-- keeps its plan for the session.
CREATE OR REPLACE FUNCTION audit_append(actor text, act text, subject text, detail jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO audit (actor, act, subject, detail)
    VALUES ($1, $2, coalesce($3, ''), coalesce($4, '{}')) RETURNING audit.id INTO made;
    RETURN made;
END $$;
