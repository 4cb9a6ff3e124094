-- ppo/loop: what a stage took of the memory at its peak, beyond what the process held before it. NULL: not measured.
ALTER TABLE round_stages ADD COLUMN memory_bytes bigint;
