-- Projects of other questions than ranking, and what was labeled in them, have no place in the older schema: the checks
-- refuse to go back while there are any. Texts are kept until then.

DROP TRIGGER start ON labelers;
DROP FUNCTION labelers_start();
DROP TABLE guideline_acks;
DROP TABLE use_cases;

DROP INDEX demonstrations_prompt;
DROP INDEX demonstrations_once;
DELETE FROM demonstrations d WHERE EXISTS (SELECT FROM demonstrations e WHERE e.project_id = d.project_id AND e.hash = d.hash AND e.id < d.id);
ALTER TABLE demonstrations
    DROP COLUMN assignment_id,
    DROP COLUMN prompt_id,
    ADD CONSTRAINT demonstrations_project_id_hash_key UNIQUE (project_id, hash);

ALTER TABLE prompts DROP COLUMN kind, DROP COLUMN language;

DROP INDEX rankings_own;
ALTER TABLE rankings
    DROP COLUMN text,
    DROP COLUMN strength,
    DROP CONSTRAINT rankings_ranks_check,
    ADD CONSTRAINT rankings_ranks_check CHECK (cardinality(ranks) BETWEEN 2 AND 9);

DROP TRIGGER close_slots ON tasks;
DROP FUNCTION tasks_close_slots();
ALTER TABLE tasks
    DROP COLUMN lowered_to,
    DROP CONSTRAINT tasks_k_check,
    ADD CONSTRAINT tasks_k_check CHECK (k BETWEEN 2 AND 9);

ALTER TABLE projects
    DROP COLUMN languages,
    DROP COLUMN closed,
    DROP CONSTRAINT projects_k_check,
    ADD CONSTRAINT projects_k_check CHECK (k BETWEEN 2 AND 9);
