CREATE OR REPLACE FUNCTION labeling_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TABLE model_taints;
DROP TABLE snapshot_taints;
DROP TABLE erasures;
DROP FUNCTION webhook_emit(text, jsonb);
DROP TABLE webhook_deliveries;
DROP TABLE webhooks;
DROP TABLE exports;
DROP TABLE redactions;
DROP TABLE import_errors;
DROP TABLE import_rows;
DROP TABLE imports;
ALTER TABLE assignments ALTER CONSTRAINT assignments_ranking_id_fkey NOT DEFERRABLE;
DROP INDEX prompts_prefix;
ALTER TABLE prompts DROP COLUMN prefix;
