BEGIN TRANSACTION;
CREATE TABLE apps (
    id                    TEXT PRIMARY KEY,
    owner                 TEXT,             -- NULL: the system's
    integration           TEXT NOT NULL,
    integration_canonical TEXT AS (replace(integration, '_', '-')),
    client_id             TEXT NOT NULL,
    client_secret         BLOB,
    created_at_us         INTEGER NOT NULL
) STRICT;
INSERT INTO "apps" VALUES('app_06h1v9sc80e1avom3r0qjdgiomj6itvr1ta0',NULL,'mock','fixture',X'0100000001F333FA029B230B2C1DF45627AEDE4C5C985DE079F1FDF2A95A07F5B995520104E39200B7D00EFA7E3DC6194986BDDF26C1DF9774EF3A459156B15A43',1795827403840743);
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    owner   TEXT NOT NULL,
    event   TEXT NOT NULL,
    target  TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
INSERT INTO "audit" VALUES(1,1795827403849328,'operator','tenant_a','key.created','key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0','done');
INSERT INTO "audit" VALUES(2,1795827404069513,'operator','tenant_a','connection.connected','conn_06h1v9sd3gptppain9glc5fsik75sm3t6580','done');
INSERT INTO "audit" VALUES(3,1795827404266665,'operator','default','key.created','key_06h1v9sdrjn6tm7ibifhu2i2gcv8ubbh6nb0','done');
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
INSERT INTO "connections" VALUES('conn_06h1v9sd3gptppain9glc5fsik75sm3t6580','tenant_a',NULL,'mock',NULL,0,'app_06h1v9sc80e1avom3r0qjdgiomj6itvr1ta0','{}',NULL,'connected',NULL,'[]',1795827404060735,1795827404068774,1795827404287801,NULL);
CREATE TABLE execution_counts (
    owner     TEXT NOT NULL,
    namespace TEXT NOT NULL,                -- canonical
    state     TEXT NOT NULL,
    runs      INTEGER NOT NULL,
    PRIMARY KEY (owner, namespace, state)
) STRICT, WITHOUT ROWID;
INSERT INTO "execution_counts" VALUES('tenant_a','mock','running',1);
INSERT INTO "execution_counts" VALUES('tenant_a','mock','success',4);
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
INSERT INTO "executions" VALUES('tenant_a','exec_06h1v9sdu44itluouhb5mi7110f0bvinrl9g',NULL,'key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0',NULL,'conn_06h1v9sd3gptppain9glc5fsik75sm3t6580','app_06h1v9sc80e1avom3r0qjdgiomj6itvr1ta0','mock','create',NULL,'cbf329c6ea74eedc','write',NULL,NULL,NULL,NULL,'success',1,NULL,0,NULL,NULL,NULL,NULL,NULL,201,3289,1342,1795827404273843,1795827404273843,1795827404277127);
INSERT INTO "executions" VALUES('tenant_a','exec_06h1v9sdv3v5kl0e9r3vcusm3e14v7tkeg3g',NULL,'key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0',NULL,'conn_06h1v9sd3gptppain9glc5fsik75sm3t6580','app_06h1v9sc80e1avom3r0qjdgiomj6itvr1ta0','mock','create',NULL,'cbf329c6ea74eedc','write',NULL,NULL,NULL,NULL,'success',1,NULL,0,NULL,NULL,NULL,NULL,NULL,201,1792,588,1795827404280096,1795827404280096,1795827404281884);
INSERT INTO "executions" VALUES('tenant_a','exec_06h1v9sdvif7p9p18gos7rsp90tqetolpel0',NULL,'key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0',NULL,'conn_06h1v9sd3gptppain9glc5fsik75sm3t6580','app_06h1v9sc80e1avom3r0qjdgiomj6itvr1ta0','mock','create',NULL,'cbf329c6ea74eedc','write',NULL,NULL,NULL,NULL,'success',1,NULL,0,NULL,NULL,NULL,NULL,NULL,201,1677,588,1795827404284169,1795827404284169,1795827404285842);
INSERT INTO "executions" VALUES('tenant_a','exec_06h1v9sdvs3acls224jns81h9r26sodkkod0',NULL,'key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0',NULL,'conn_06h1v9sd3gptppain9glc5fsik75sm3t6580','app_06h1v9sc80e1avom3r0qjdgiomj6itvr1ta0','mock','create',NULL,'cbf329c6ea74eedc','write',NULL,NULL,NULL,NULL,'success',1,NULL,0,NULL,NULL,NULL,NULL,NULL,201,1998,648,1795827404287801,1795827404287801,1795827404289795);
INSERT INTO "executions" VALUES('tenant_a','exec_06h1v9se0ig5ihkhrn8ht051cnqndo5549jg',NULL,'key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0',NULL,NULL,NULL,'mock','behave_post',NULL,'380a858b7d8dc1f3','write',NULL,NULL,NULL,NULL,'running',0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0,0,1795827404292621,1795827404292621,NULL);
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
CREATE TABLE grants (
    connection_id TEXT PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    sealed        BLOB,
    revision      INTEGER NOT NULL
) STRICT;
INSERT INTO "grants" VALUES('conn_06h1v9sd3gptppain9glc5fsik75sm3t6580',X'0100000001D154DE19D73B104078BD227DA6EF5B43A04026543887C88D4204CD63398496E15CBA155827F881B4FCC0B2D62E79629AEAD6B28E99C358421FAC3E0C1A2ECBB0AB0C2AB51072D9182298CFD3B67699D99ECA60B4693F03DCA86FC83225749DDBF118B6C6983485F85BFD8775E477ECEF7920DFDBE1BD88B4B62E74C499B044',1);
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
INSERT INTO "idempotency" VALUES('tenant_a','mock','create','kept',X'5FC164968DE9E13EE031EF0998324DB67EC1C7D0A66A413CAA63A8F00F61AB8F','exec_06h1v9sdu44itluouhb5mi7110f0bvinrl9g',X'0100000001DBFCFCD49444311D6A8A8AC6ACDE02F2B9FC0ED7FFC126C2421CBFA961D53F6E2BA26B7AB6E25F2E3600D07EFE0C6AEDF92B8F5824C743E44A00B2C82189746B03FBB03FD0DC20399E30D774CA31950E632816B0DD0D0C53631D0CF27929538F035CD64BCD8C7D36F657967865C018519E42F413A93AB69BB66C02F9B326B4D9',1795913804273843);
INSERT INTO "idempotency" VALUES('tenant_a','mock','create','other-0',X'855D5C4BBD968D1B98D639461E8FBCE414A89B124CE51DE2A054DE0FCA334818','exec_06h1v9sdv3v5kl0e9r3vcusm3e14v7tkeg3g',X'010000000159A7BDE7BC5CDE2418BC01A875F9E3D4CCCCF5AE8145C8EDDE196517083FCF6F223F360FE5CEB3F904B6EF581E11AFBE0A95BFFCB5821992BF96DF019960ACB1BF7A424AA695EC992C3E30D8999A111F7A1A3C2EDF1098328F680C290E614CB0FAA7D9BF02DFD21FAE29A008DD9657B2552426D7F479F94BA4C3204BAC23379B',1795913804280096);
INSERT INTO "idempotency" VALUES('tenant_a','mock','create','other-1',X'2B1DED750A2C94A8B149C026C9C2AD3502CD371008863CF395807FFE957FAC81','exec_06h1v9sdvif7p9p18gos7rsp90tqetolpel0',X'0100000001B7CBC3224D46CD1B6C52E8A308A117A9C2FC1365019BEBD5FB52FAA1CE66B3DC772CEF33561B97B8D1B0BE0D2982983D3CC67BCBA1956D15F76F920993CAB6DF291F0D5F5B6026C1CBAFEEF7D419C72D9364D234BB1A4E32ECD56192E141CF5BEE809789440CD041220EC68C9972F90EF0F7BE04E42379810A821823F10C3E21',1795913804284169);
INSERT INTO "idempotency" VALUES('tenant_a','mock','create','other-2',X'4FD57CB8237029D76CF0C6C31534C64440277FAD94EEDC66D25FB39223A0193A','exec_06h1v9sdvs3acls224jns81h9r26sodkkod0',X'0100000001AB13565CE475A70570F4CD532B4139743590E3D84E2C5BDF36BFD17467980E201C21565AB9C7A4C7F4D951D9A53F502060F1A08EC1C631FD7E83EFF841C4B85A0889493B02693CE7ADEAD1A8F7CF75321A2ABE420DB907E01E495A631D1D9EB672BB6BB22241CDBFE25A2B7D7FB069BE569DDFC9A4D75DB9FB600F2772082AB7',1795913804287801);
INSERT INTO "idempotency" VALUES('tenant_a','mock','behave-post','cut',X'BA78C423912DCD4E6660B448E8362E204AD3BFA53072CA609E395B6EB4ABEFA3','exec_06h1v9se0ig5ihkhrn8ht051cnqndo5549jg',NULL,1795913804292621);
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
INSERT INTO "keys" VALUES('key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0','tenant_a',NULL,'first','api','sk_n3pF...zxOe',X'0AF05FBB25790F1758B483B870B99CACAD01845F30CB6F224A86DD15C474A33B','["*"]','unbounded',1795827403847620,NULL,NULL,1795827404287801);
INSERT INTO "keys" VALUES('key_06h1v9sdrjn6tm7ibifhu2i2gcv8ubbh6nb0','default',NULL,'first key','api','sk_qM4y...lwsI',X'51F1C7309FB0DD636C9C17FD99DCFAB93E7537BFBC5C3D674225D94BAB7F0253','["*"]',NULL,1795827404252987,NULL,NULL,NULL);
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('epoch',X'3764633531306230306636643130313431313233323261656537646534386433');
INSERT INTO "meta" VALUES('seal_check_1',X'0100000001C3A520DA5285BD15ABD95FA0686133ABCD46DEEF8F8EC401783E099A050A1E44A2FD770CB8F4718DBDFD90A139');
CREATE TABLE owners (
    id            TEXT PRIMARY KEY,
    plan          TEXT,
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "owners" VALUES('default',NULL,1795827404252987);
INSERT INTO "owners" VALUES('tenant_a',NULL,1795827403847620);
CREATE TABLE renewals (
    connection_id TEXT NOT NULL,
    owner         TEXT NOT NULL,
    user_id       TEXT NOT NULL,            -- empty: none
    token         TEXT NOT NULL,
    until_us      INTEGER NOT NULL,
    PRIMARY KEY (connection_id, owner, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage (
    owner       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    time_window TEXT NOT NULL,
    node        TEXT NOT NULL,
    bucket      INTEGER NOT NULL,
    calls       INTEGER NOT NULL,
    PRIMARY KEY (owner, subject, time_window, node, bucket)
) STRICT, WITHOUT ROWID;
INSERT INTO "usage" VALUES('tenant_a','key_06h1v9sc8sbact5bh95vnnkaervo490cfrt0','minute','8b1d042d20745612-0',1795827409,125000);
CREATE INDEX keys_by_owner ON keys (owner, id);
CREATE INDEX apps_by_integration ON apps (owner, integration_canonical, id);
CREATE INDEX connections_by_owner ON connections (owner, id);
CREATE INDEX connections_by_integration ON connections (owner, integration_canonical, id);
CREATE UNIQUE INDEX connections_one_default
    ON connections (owner, coalesce(user_id, ''), integration_canonical) WHERE is_default = 1;
CREATE INDEX flows_by_connection ON flows (connection_id);
CREATE INDEX flows_by_end ON flows (coalesce(state_expires_at_us, expires_at_us));
CREATE INDEX executions_by_state ON executions (owner, state, id);
CREATE INDEX executions_by_namespace ON executions (owner, namespace_canonical, id, state);
CREATE INDEX executions_by_end ON executions (ended_at_us) WHERE ended_at_us IS NOT NULL;
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
CREATE INDEX idempotency_by_execution ON idempotency (owner, execution_id);
CREATE INDEX idempotency_by_end ON idempotency (expires_at_us);
CREATE INDEX audit_by_owner ON audit (owner, id);
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is append-only');
END;
CREATE TRIGGER audit_never_shrinks BEFORE DELETE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is append-only');
END;
COMMIT;
