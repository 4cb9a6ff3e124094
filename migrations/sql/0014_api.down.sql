DROP TABLE stored_completions;
DROP TABLE key_days;
ALTER TABLE usage DROP COLUMN cached_tokens;
ALTER TABLE api_keys DROP COLUMN replaced_by, DROP COLUMN daily_tokens, DROP COLUMN tpm;
