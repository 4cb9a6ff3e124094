-- web/stored: for which of the customer's own users a chat was kept, so that an erasure finds it.
ALTER TABLE stored_completions ADD COLUMN end_user text NOT NULL DEFAULT '';
UPDATE stored_completions SET end_user = coalesce(convert_from(body, 'UTF8')::json ->> 'input_user', '')
WHERE position('\u0000' IN convert_from(body, 'UTF8')) = 0; -- which no JSON operator reads
CREATE INDEX conversation_turns_completion ON conversation_turns (completion_id) WHERE completion_id <> '';
