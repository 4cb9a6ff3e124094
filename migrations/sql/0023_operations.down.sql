DROP INDEX webhook_deliveries_failed;
DROP TABLE setting_changes;
DROP TABLE settings;
DROP TABLE health_marks;
