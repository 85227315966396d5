-- Since when a grant has rested: what providers take back when nobody uses it is renewed in time.
ALTER TABLE connections ADD COLUMN rests_since_us INTEGER;
UPDATE connections SET rests_since_us = created_at_us;
CREATE INDEX connections_by_rest ON connections (integration_canonical, rests_since_us)
    WHERE status = 'connected';

-- Where an owner's people may be sent after connecting; without a row the configuration says it.
CREATE TABLE return_urls (
    owner TEXT NOT NULL,
    url   TEXT NOT NULL,
    PRIMARY KEY (owner, url)
) STRICT, WITHOUT ROWID;

-- Programs that wait for a person to log them in, and what the person said.
CREATE TABLE logins (
    device        BLOB PRIMARY KEY,
    code          BLOB NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    scopes        TEXT,                     -- JSON: texts; NULL: it wants no key
    expires_at_us INTEGER NOT NULL,
    said          TEXT,                     -- yes or no; NULL: nobody has said anything
    owner         TEXT,
    user_id       TEXT,
    key_id        TEXT,
    key_scopes    TEXT,                     -- JSON: texts
    tier          TEXT,
    until_us      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX logins_by_end ON logins (expires_at_us);
