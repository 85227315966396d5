-- Messages to subscribers, written with the change that they tell of.

ALTER TABLE webhooks ADD COLUMN actions TEXT NOT NULL DEFAULT '[]';     -- JSON: texts
ALTER TABLE webhooks ADD COLUMN scopes TEXT NOT NULL DEFAULT '["*"]';   -- JSON: texts
ALTER TABLE webhooks ADD COLUMN previous_secret BLOB;                   -- sealed
ALTER TABLE webhooks ADD COLUMN previous_until_us INTEGER;
ALTER TABLE webhooks ADD COLUMN disabled_at_us INTEGER;
ALTER TABLE webhooks ADD COLUMN disabled_reason TEXT;
-- Of what was kept before anything was sent nobody knows what its maker may see.
UPDATE webhooks SET disabled_at_us = created_at_us,
    disabled_reason = 'it was made before messages were delivered: enable it';

CREATE TABLE deliveries (
    row             INTEGER PRIMARY KEY,
    owner           TEXT NOT NULL,
    id              TEXT NOT NULL,
    webhook_id      TEXT,               -- NULL: to an address of its own
    endpoint        TEXT NOT NULL,
    event           TEXT NOT NULL,
    subject_id      TEXT NOT NULL,
    facts           TEXT,               -- JSON: of a subject that may be gone
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- The next attempt; of a message that somebody holds, when it counts as lost.
    due_at_us       INTEGER NOT NULL,
    is_due          INTEGER NOT NULL DEFAULT 1,     -- 0: nobody has looked since its time came
    worker          TEXT,               -- NULL unless somebody holds it
    fencing         INTEGER NOT NULL DEFAULT 0,
    status          INTEGER,
    error           TEXT,
    created_at_us   INTEGER NOT NULL,
    attempted_at_us INTEGER,
    ended_at_us     INTEGER,
    UNIQUE (owner, id)
) STRICT;
CREATE INDEX deliveries_ready ON deliveries (endpoint, due_at_us, row)
    WHERE state = 'waiting' AND is_due = 1;
CREATE INDEX deliveries_delayed ON deliveries (due_at_us)
    WHERE state = 'waiting' AND is_due = 0;
CREATE INDEX deliveries_by_webhook ON deliveries (owner, webhook_id, id);
CREATE INDEX deliveries_by_end ON deliveries (ended_at_us) WHERE ended_at_us IS NOT NULL;
