DROP TABLE model_comparison_pairs;
DROP TABLE model_comparisons;
UPDATE projects SET closed = true WHERE comparison <> '';
ALTER TABLE projects DROP COLUMN comparison;
