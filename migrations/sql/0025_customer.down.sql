DROP INDEX conversation_turns_completion;
ALTER TABLE stored_completions DROP COLUMN end_user;
