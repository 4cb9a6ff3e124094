DROP TABLE engine_days, engines;
