DROP TABLE chat_presets;
DROP TABLE conversation_turns;
DROP TABLE conversations;
UPDATE demonstrations SET origin = 'import' WHERE origin = 'customer';
ALTER TABLE demonstrations DROP CONSTRAINT demonstrations_origin_check,
    ADD CONSTRAINT demonstrations_origin_check CHECK (origin IN ('import', 'labeler'));
DROP TABLE feedback;
DROP TABLE kept_completions;
DROP INDEX prompt_sources_customer;
DELETE FROM prompt_sources s WHERE completion_id <> '' AND EXISTS (SELECT FROM prompt_sources o WHERE (o.prompt_id, o.origin, o.customer_id, o.api_key_id, o.consent)
    = (s.prompt_id, s.origin, s.customer_id, s.api_key_id, s.consent) AND o.completion_id < s.completion_id);
ALTER TABLE prompt_sources DROP CONSTRAINT prompt_sources_pkey,
    ADD PRIMARY KEY (prompt_id, origin, customer_id, api_key_id, consent),
    DROP COLUMN completion_id, DROP COLUMN end_user, DROP COLUMN model_version;
