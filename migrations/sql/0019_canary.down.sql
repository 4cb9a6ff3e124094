DROP INDEX kept_completions_version;
DROP INDEX conversation_turns_version;
DROP TABLE planned_promotions;
DROP TABLE canary_answers;
DROP TABLE canary_events;
DROP TABLE canaries;
DROP INDEX serving_version;
ALTER TABLE serving DROP COLUMN reason;
