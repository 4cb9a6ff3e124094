CREATE OR REPLACE FUNCTION audit_append(actor text, act text, subject text, detail jsonb) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO audit (actor, act, subject, detail)
    VALUES ($1, $2, coalesce($3, ''), coalesce($4, '{}'))
    RETURNING id
$$;
