-- Append-only: a file that was released never changes; what comes next is the next file.
--
-- Times end in `_us`: microseconds since 1970-01-01T00:00:00Z.
-- Identifiers are kept as their text, which sorts by age.
-- Slugs are kept as they were written; look-ups go by the `_canonical` column beside them.
-- BLOBs are hashes or sealed values: nothing secret is readable here.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    id            TEXT PRIMARY KEY,
    plan          TEXT,
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id              TEXT PRIMARY KEY,
    owner           TEXT NOT NULL,
    user_id         TEXT,
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    shown           TEXT NOT NULL,
    hash            BLOB NOT NULL UNIQUE,
    scopes          TEXT NOT NULL,          -- JSON: texts
    tier            TEXT,
    created_at_us   INTEGER NOT NULL,
    expires_at_us   INTEGER,
    revoked_at_us   INTEGER,
    last_used_at_us INTEGER
) STRICT;
CREATE INDEX keys_by_owner ON keys (owner, id);

CREATE TABLE apps (
    id                    TEXT PRIMARY KEY,
    owner                 TEXT,             -- NULL: the system's
    integration           TEXT NOT NULL,
    integration_canonical TEXT AS (replace(integration, '_', '-')),
    client_id             TEXT NOT NULL,
    client_secret         BLOB,
    created_at_us         INTEGER NOT NULL
) STRICT;
CREATE INDEX apps_by_integration ON apps (owner, integration_canonical, id);

CREATE TABLE connections (
    id                    TEXT PRIMARY KEY,
    owner                 TEXT NOT NULL,
    user_id               TEXT,
    integration           TEXT NOT NULL,
    integration_canonical TEXT AS (replace(integration, '_', '-')),
    label                 TEXT,
    is_default            INTEGER NOT NULL,
    app_id                TEXT,
    fields                TEXT NOT NULL,    -- JSON: texts by name
    account               TEXT,
    status                TEXT NOT NULL,
    last_error            TEXT,
    scopes                TEXT NOT NULL,    -- JSON: texts
    created_at_us         INTEGER NOT NULL,
    updated_at_us         INTEGER NOT NULL,
    last_used_at_us       INTEGER,
    expires_at_us         INTEGER
) STRICT;
CREATE INDEX connections_by_owner ON connections (owner, id);
CREATE INDEX connections_by_integration ON connections (owner, integration_canonical, id);
CREATE UNIQUE INDEX connections_one_default
    ON connections (owner, coalesce(user_id, ''), integration_canonical) WHERE is_default = 1;

-- A destroyed grant leaves its revision behind, so that none is ever used twice.
CREATE TABLE grants (
    connection_id TEXT PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    sealed        BLOB,
    revision      INTEGER NOT NULL
) STRICT;

-- Not part of a grant: the grants of an embedder may be kept elsewhere.
CREATE TABLE renewals (
    connection_id TEXT NOT NULL,
    owner         TEXT NOT NULL,
    user_id       TEXT NOT NULL,            -- empty: none
    token         TEXT NOT NULL,
    until_us      INTEGER NOT NULL,
    PRIMARY KEY (connection_id, owner, user_id)
) STRICT, WITHOUT ROWID;

-- A flow with a state has left; one that arrived is gone.
CREATE TABLE flows (
    id                  TEXT PRIMARY KEY,
    -- No reference: the link of a call that was not connected comes before its connection.
    connection_id       TEXT NOT NULL,
    owner               TEXT NOT NULL,
    user_id             TEXT,
    integration         TEXT NOT NULL,
    scopes              TEXT NOT NULL,      -- JSON: texts
    link                BLOB NOT NULL UNIQUE,
    expires_at_us       INTEGER NOT NULL,
    return_url          TEXT,
    state               BLOB UNIQUE,
    browser             BLOB,
    verifier            BLOB,
    issuer              TEXT,
    state_expires_at_us INTEGER
) STRICT;
CREATE INDEX flows_by_connection ON flows (connection_id);
CREATE INDEX flows_by_end ON flows (coalesce(state_expires_at_us, expires_at_us));

CREATE TABLE executions (
    owner               TEXT NOT NULL,
    id                  TEXT NOT NULL,
    user_id             TEXT,
    key_id              TEXT,
    scopes              TEXT,               -- JSON: the key's when the run was submitted
    connection_id       TEXT,
    app_id              TEXT,
    namespace           TEXT NOT NULL,
    namespace_canonical TEXT AS (replace(namespace, '_', '-')),
    name                TEXT NOT NULL,
    version             TEXT,
    revision            TEXT NOT NULL,
    class               TEXT NOT NULL,
    parent_id           TEXT,
    root_id             TEXT,
    conversation_id     TEXT,
    trigger_id          TEXT,
    state               TEXT NOT NULL,
    attempt             INTEGER NOT NULL DEFAULT 0,
    lease_until_us      INTEGER,
    fencing             INTEGER NOT NULL DEFAULT 0,
    run_at_us           INTEGER,
    progress            INTEGER,
    input               BLOB,
    result              BLOB,
    error_kind          TEXT,
    upstream_status     INTEGER,
    total_us            INTEGER NOT NULL DEFAULT 0,
    upstream_us         INTEGER NOT NULL DEFAULT 0,
    created_at_us       INTEGER NOT NULL,
    started_at_us       INTEGER,
    ended_at_us         INTEGER,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE INDEX executions_by_state ON executions (owner, state, id);
-- The state stands behind the id: both filters together are decided inside the index.
CREATE INDEX executions_by_namespace ON executions (owner, namespace_canonical, id, state);
CREATE INDEX executions_by_end ON executions (ended_at_us) WHERE ended_at_us IS NOT NULL;

-- How many runs there are, so that a listing of a million of them does not count them.
CREATE TABLE execution_counts (
    owner     TEXT NOT NULL,
    namespace TEXT NOT NULL,                -- canonical
    state     TEXT NOT NULL,
    runs      INTEGER NOT NULL,
    PRIMARY KEY (owner, namespace, state)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER executions_count_added AFTER INSERT ON executions BEGIN
    INSERT INTO execution_counts VALUES (new.owner, replace(new.namespace, '_', '-'), new.state, 1)
        ON CONFLICT DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER executions_count_removed AFTER DELETE ON executions BEGIN
    UPDATE execution_counts SET runs = runs - 1
        WHERE owner = old.owner AND namespace = replace(old.namespace, '_', '-')
        AND state = old.state;
END;
CREATE TRIGGER executions_count_moved AFTER UPDATE OF namespace, state ON executions
    WHEN old.state <> new.state OR old.namespace <> new.namespace BEGIN
    UPDATE execution_counts SET runs = runs - 1
        WHERE owner = old.owner AND namespace = replace(old.namespace, '_', '-')
        AND state = old.state;
    INSERT INTO execution_counts VALUES (new.owner, replace(new.namespace, '_', '-'), new.state, 1)
        ON CONFLICT DO UPDATE SET runs = runs + 1;
END;

-- Names the run without referring to it: the outcome outlives a run that was pruned.
CREATE TABLE idempotency (
    owner         TEXT NOT NULL,
    namespace     TEXT NOT NULL,            -- canonical
    name          TEXT NOT NULL,            -- canonical
    key           TEXT NOT NULL,
    inputs        BLOB NOT NULL,
    execution_id  TEXT NOT NULL,
    outcome       BLOB,
    expires_at_us INTEGER NOT NULL,
    PRIMARY KEY (owner, namespace, name, key)
) STRICT;
CREATE INDEX idempotency_by_execution ON idempotency (owner, execution_id);
CREATE INDEX idempotency_by_end ON idempotency (expires_at_us);

CREATE TABLE usage (
    owner       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    time_window TEXT NOT NULL,
    node        TEXT NOT NULL,
    bucket      INTEGER NOT NULL,
    calls       INTEGER NOT NULL,
    PRIMARY KEY (owner, subject, time_window, node, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    owner   TEXT NOT NULL,
    event   TEXT NOT NULL,
    target  TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_owner ON audit (owner, id);
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is append-only');
END;
CREATE TRIGGER audit_never_shrinks BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is append-only');
END;
