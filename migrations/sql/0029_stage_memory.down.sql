ALTER TABLE round_stages DROP COLUMN memory_bytes;
