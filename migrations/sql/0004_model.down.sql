DROP TABLE run_metrics;
DROP TABLE runs;
DROP TABLE serving;
DROP TABLE model_parents;
DROP TABLE model_versions;
