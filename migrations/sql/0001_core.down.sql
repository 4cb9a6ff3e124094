DROP FUNCTION audit_verify();
DROP FUNCTION audit_seal();
DROP FUNCTION audit_append(text, text, text, jsonb);
DROP TABLE audit;
DROP FUNCTION audit_guard();
DROP FUNCTION audit_hash(bytea, bigint, bigint, timestamptz, text, text, text, jsonb);
DROP SCHEMA river;
