-- Whether a run was asked for with an idempotency key; of those of before nobody knows.
ALTER TABLE executions ADD COLUMN has_key INTEGER NOT NULL DEFAULT 1;
-- Bytes that a run which waits keeps free for what its claim writes: so it stays on its page.
ALTER TABLE executions ADD COLUMN room BLOB;
