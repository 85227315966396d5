-- Agents, what they keep in mind, and what began a run. The agent `default` is none of these rows:
-- every owner has it.
CREATE TABLE agents (
    owner         TEXT NOT NULL,
    id            TEXT NOT NULL,
    name          TEXT NOT NULL,
    description   TEXT,
    scopes        TEXT NOT NULL,            -- JSON: texts
    connections   TEXT,                     -- JSON: texts; NULL: all
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE memories (
    id            TEXT PRIMARY KEY,
    owner         TEXT NOT NULL,
    agent_id      TEXT NOT NULL,
    user_id       TEXT,
    tag           TEXT,
    content       BLOB NOT NULL,            -- sealed
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX memories_by_agent ON memories (owner, agent_id, id);

-- All three are NULL unless the run is part of a conversation, which is named by the run that began
-- it: runs of other doors enter no index for it.
ALTER TABLE executions ADD COLUMN agent_id TEXT;
ALTER TABLE executions ADD COLUMN trigger_type TEXT;
ALTER TABLE executions ADD COLUMN conversation_id TEXT;
CREATE INDEX executions_by_conversation ON executions (owner, conversation_id, id)
    WHERE conversation_id IS NOT NULL;

-- What skills said while they ran.
CREATE TABLE execution_messages (
    run      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
