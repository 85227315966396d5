-- Who wants to be told about which events.
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    owner         TEXT NOT NULL,
    user_id       TEXT,
    url           TEXT NOT NULL,
    events        TEXT NOT NULL,            -- JSON: texts
    tool_ids      TEXT NOT NULL,            -- JSON: texts; none: all
    secret        BLOB NOT NULL,            -- sealed
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_owner ON webhooks (owner, id);
