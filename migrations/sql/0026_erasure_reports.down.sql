ALTER TABLE erasures DROP COLUMN signature, DROP COLUMN signed_by;
