DROP TABLE alarms;
DROP TABLE schedules;
DROP TABLE rounds;
