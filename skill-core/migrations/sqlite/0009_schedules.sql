-- Runs that the clock asks for.
CREATE TABLE schedules (
    id             TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    user_id        TEXT,
    key_id         TEXT,
    agent_id       TEXT NOT NULL,
    namespace      TEXT NOT NULL,
    name           TEXT NOT NULL,
    version        TEXT NOT NULL,
    cron           TEXT NOT NULL,
    input          BLOB NOT NULL,           -- sealed
    scopes         TEXT NOT NULL,           -- JSON: texts
    tier           TEXT,
    next_run_at_us INTEGER,                 -- NULL: disabled
    stopped        TEXT,
    last_due_at_us INTEGER,
    last_run       TEXT,
    last_error     TEXT,
    missed         INTEGER NOT NULL,
    created_at_us  INTEGER NOT NULL,
    updated_at_us  INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_by_owner ON schedules (owner, id);
CREATE INDEX schedules_by_time ON schedules (next_run_at_us, id) WHERE next_run_at_us IS NOT NULL;

-- Addresses whose requests make runs.
CREATE TABLE triggers (
    id            TEXT PRIMARY KEY,
    owner         TEXT NOT NULL,
    user_id       TEXT,
    key_id        TEXT,
    agent_id      TEXT NOT NULL,
    name          TEXT,
    targets       TEXT NOT NULL,            -- JSON: texts
    token         BLOB NOT NULL UNIQUE,     -- its hash
    shown         TEXT NOT NULL,
    secret        BLOB NOT NULL,            -- sealed
    is_signed     INTEGER NOT NULL,
    dedup_header  TEXT,
    scopes        TEXT NOT NULL,            -- JSON: texts
    tier          TEXT,
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX triggers_by_owner ON triggers (owner, id);

-- What began a run besides a key, and where its end is told. A row goes with its run.
CREATE TABLE execution_sources (
    run               INTEGER PRIMARY KEY,
    schedule_id       TEXT,
    trigger_id        TEXT,
    callback_url      TEXT,
    callback_endpoint TEXT,
    callback_secret   BLOB                  -- sealed
) STRICT;

-- Subscriptions to what one agent does.
ALTER TABLE webhooks ADD COLUMN agent_id TEXT;
