-- Whether a run was asked for with an idempotency key; of those of before nobody knows.
ALTER TABLE executions ADD COLUMN has_key INTEGER NOT NULL DEFAULT 1;
