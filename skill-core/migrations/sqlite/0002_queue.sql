-- The queue. Its runs are rows of `executions`, which is made anew: with a key that the tables of
-- bodies and steps refer to, and with indexes that a run enters and leaves as seldom as possible.

DROP TRIGGER executions_count_added;
DROP TRIGGER executions_count_removed;
DROP TRIGGER executions_count_moved;
DROP TABLE execution_counts;
ALTER TABLE executions RENAME TO executions_before;

CREATE TABLE executions (
    row                 INTEGER PRIMARY KEY,
    owner               TEXT NOT NULL,
    id                  TEXT NOT NULL,
    state               TEXT NOT NULL,
    attempt             INTEGER NOT NULL DEFAULT 0,
    progress            INTEGER NOT NULL DEFAULT 0,
    -- The lease of a run of the queue; of a run that was begun, when it counts as lost.
    lease_until_us      INTEGER,
    worker              TEXT,               -- NULL unless a worker holds it
    fencing             INTEGER NOT NULL DEFAULT 0,
    crashes             INTEGER NOT NULL DEFAULT 0,
    is_sent             INTEGER NOT NULL DEFAULT 0,
    is_delayed          INTEGER NOT NULL DEFAULT 0,     -- 0 from the first claim after run_at_us on
    run_at_us           INTEGER,            -- NULL: not of the queue
    deadline_us         INTEGER,
    priority            INTEGER NOT NULL DEFAULT 0,
    group_name          TEXT NOT NULL DEFAULT '',       -- empty: none
    group_most          INTEGER,
    scopes              TEXT,               -- JSON: the key's when the run was submitted
    tier                TEXT,
    user_id             TEXT,
    key_id              TEXT,
    connection_id       TEXT,
    app_id              TEXT,
    namespace           TEXT NOT NULL,
    namespace_canonical TEXT AS (replace(namespace, '_', '-')),
    name                TEXT NOT NULL,
    name_canonical      TEXT AS (replace(name, '_', '-')),
    version             TEXT,
    revision            TEXT NOT NULL,
    class               TEXT NOT NULL,
    parent_id           TEXT,
    error_kind          TEXT,
    upstream_status     INTEGER,
    total_us            INTEGER NOT NULL DEFAULT 0,
    upstream_us         INTEGER NOT NULL DEFAULT 0,
    created_at_us       INTEGER NOT NULL,
    started_at_us       INTEGER,
    ended_at_us         INTEGER,
    UNIQUE (owner, id)
) STRICT;

INSERT INTO executions (owner, id, state, attempt, progress, lease_until_us, user_id, key_id,
        connection_id, app_id, namespace, name, version, revision, class, parent_id, error_kind,
        upstream_status, total_us, upstream_us, created_at_us, started_at_us, ended_at_us)
    SELECT owner, id, state, attempt, coalesce(progress, 0),
        iif(state = 'running', created_at_us, NULL), user_id, key_id,
        connection_id, app_id, namespace, name, version, revision, class, parent_id, error_kind,
        upstream_status, total_us, upstream_us, created_at_us, started_at_us, ended_at_us
    FROM executions_before ORDER BY created_at_us;
DROP TABLE executions_before;

-- What waits for nothing but its turn, by lane and group; what waits for its time; what runs.
CREATE INDEX executions_ready ON executions
    (owner, namespace_canonical, group_name, priority DESC, run_at_us, id, group_most)
    WHERE state = 'queued' AND is_delayed = 0;
CREATE INDEX executions_delayed ON executions (run_at_us, owner, id)
    WHERE state = 'queued' AND is_delayed = 1;
CREATE INDEX executions_running ON executions (lease_until_us, owner, group_name)
    WHERE state = 'running';
-- Listings. Those but the first show what no other run asked for.
CREATE INDEX executions_by_parent ON executions (owner, parent_id, id);
CREATE INDEX executions_by_action ON executions (owner, namespace_canonical, name_canonical, id)
    WHERE parent_id IS NULL;
CREATE INDEX executions_by_user ON executions (owner, user_id, id)
    WHERE parent_id IS NULL AND user_id IS NOT NULL;
CREATE INDEX executions_by_state ON executions (owner, state, id)
    WHERE parent_id IS NULL AND state <> 'queued' AND state <> 'running';
CREATE INDEX executions_by_end ON executions (ended_at_us) WHERE ended_at_us IS NOT NULL;

-- Apart from the row, which is written again with every change of its state.
CREATE TABLE execution_inputs (
    run    INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;
CREATE TABLE execution_outcomes (
    run    INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;
CREATE TABLE execution_steps (
    run      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name     TEXT NOT NULL,
    sealed   BLOB,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;

-- How many runs there are that no other run asked for, so that a listing of a million of them does
-- not count them. Kept by the program, once for all of a commit.
CREATE TABLE execution_counts (
    owner     TEXT NOT NULL,
    user_id   TEXT NOT NULL,                -- empty: of everybody
    namespace TEXT NOT NULL,                -- canonical
    name      TEXT NOT NULL,                -- canonical
    state     TEXT NOT NULL,
    runs      INTEGER NOT NULL,
    PRIMARY KEY (owner, user_id, namespace, name, state)
) STRICT, WITHOUT ROWID;
INSERT INTO execution_counts
    SELECT owner, '', namespace_canonical, name_canonical, state, count(*) FROM executions
    WHERE parent_id IS NULL GROUP BY owner, namespace_canonical, name_canonical, state;
INSERT INTO execution_counts
    SELECT owner, user_id, namespace_canonical, name_canonical, state, count(*) FROM executions
    WHERE parent_id IS NULL AND user_id IS NOT NULL
    GROUP BY owner, user_id, namespace_canonical, name_canonical, state;
