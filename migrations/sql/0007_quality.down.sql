DROP TABLE cords;
DROP TABLE adjudications;
DROP TABLE reports;
DROP TABLE qualifications;
DROP TABLE qualification_answers;
ALTER TABLE labelers
    DROP COLUMN quarantined_at, DROP COLUMN quarantine_why, DROP COLUMN qualified_at, DROP COLUMN judged_at,
    DROP COLUMN sense, DROP COLUMN evidence, DROP COLUMN fault;
DROP INDEX assignments_done;
ALTER TABLE assignments DROP COLUMN aside;
DROP TABLE gold;
-- Nothing but this release knows what these tasks are for: they stay out of the queue, held.
UPDATE tasks SET held = purpose, need = greatest(need, 1) WHERE purpose <> 'work';
ALTER TABLE tasks
    DROP COLUMN purpose, DROP COLUMN control_of, DROP COLUMN score,
    ADD CONSTRAINT tasks_need_check CHECK (need >= 1);
ALTER TABLE projects
    DROP COLUMN gold_rate, DROP COLUMN control_after, DROP COLUMN quarantine, DROP COLUMN qualify, DROP COLUMN pass_pairs,
    DROP COLUMN pass_flags, DROP COLUMN retry_hours, DROP COLUMN attempts, DROP COLUMN test_items, DROP COLUMN random_share,
    DROP COLUMN policy_share;
