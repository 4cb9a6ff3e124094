DROP INDEX rounds_probed;
ALTER TABLE rounds DROP COLUMN relabel_id, DROP COLUMN probe_id, DROP COLUMN probe;
