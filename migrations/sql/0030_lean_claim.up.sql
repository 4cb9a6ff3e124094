-- Claims and submits, which every labeler makes by the thousand, write less.
--
-- Comparisons are what a ranking's ranks say of its task's answers, so they are read from there: six rows a ranking of four are
-- neither written nor indexed nor erased. The answer behind the last is the labeler's own text; it goes by the ranking's id.
DROP TABLE comparisons;
CREATE VIEW comparisons AS
    SELECT k.id AS ranking_id, coalesce(w.id, k.id) AS winner_id, coalesce(l.id, k.id) AS loser_id
    FROM rankings k
    CROSS JOIN LATERAL unnest(k.ranks) WITH ORDINALITY better(rank, n)
    JOIN LATERAL unnest(k.ranks) WITH ORDINALITY worse(rank, n) ON better.rank < worse.rank
    LEFT JOIN responses w ON w.task_id = k.task_id AND w.position = better.n - 1
    LEFT JOIN responses l ON l.task_id = k.task_id AND l.position = worse.n - 1;

-- A foreign key is checked by a statement of its own that locks the row referred to; on projects that is one row for all labelers,
-- and a list of who holds it is written for each claim.
--   project_id: an assignment is written with its task's project, which tasks refer to; projects are not deleted.
--   ranking_id: set by the statement that writes the ranking. Rankings are append-only; an erasure, which alone deletes them, takes
--   their assignments in the same transaction, and rankings.assignment_id, which stays, refuses to leave one without the other.
ALTER TABLE assignments DROP CONSTRAINT assignments_project_id_fkey, DROP CONSTRAINT assignments_ranking_id_fkey;
