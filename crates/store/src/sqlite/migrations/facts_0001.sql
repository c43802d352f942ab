-- Ids that are UUIDs are 16-byte blobs; times are microseconds since 1970 UTC; `no` is a team's small internal key.

CREATE TABLE teams (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    max_concurrent_sandboxes INTEGER NOT NULL,
    max_timeout_s INTEGER NOT NULL,
    event_retention_days INTEGER NOT NULL,
    max_webhooks INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- The number of the team's newest event; raised in the transaction that appends it, hence no gaps.
    last_sequence INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE api_keys (
    hash BLOB PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    team_no INTEGER NOT NULL REFERENCES teams (no),
    name TEXT NOT NULL,
    mask TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_team ON api_keys (team_no, created_at);

CREATE TABLE templates (
    id TEXT PRIMARY KEY,
    -- NULL: shipped with the server, everybody may use it.
    team_no INTEGER REFERENCES teams (no),
    name TEXT,
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX templates_of_team ON templates (team_no, name) WHERE team_no IS NOT NULL AND name IS NOT NULL;
CREATE UNIQUE INDEX templates_shipped ON templates (name) WHERE team_no IS NULL AND name IS NOT NULL;
CREATE INDEX templates_by_team ON templates (team_no, kind);
CREATE INDEX templates_by_name ON templates (name) WHERE name IS NOT NULL;

CREATE TABLE builds (
    id BLOB PRIMARY KEY,
    template_id TEXT NOT NULL REFERENCES templates (id),
    rootfs TEXT NOT NULL,
    vcpu_count INTEGER NOT NULL,
    memory_mb INTEGER NOT NULL,
    disk_mb INTEGER NOT NULL,
    source_sandbox_id TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX builds_by_template ON builds (template_id, created_at);

CREATE TABLE tags (
    template_id TEXT NOT NULL REFERENCES templates (id),
    tag TEXT NOT NULL,
    build_id BLOB NOT NULL REFERENCES builds (id),
    PRIMARY KEY (template_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_build ON tags (build_id);

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    team_no INTEGER NOT NULL REFERENCES teams (no),
    generation INTEGER NOT NULL,
    -- The state's name, for filters; `state_data` is the whole of it.
    state TEXT NOT NULL,
    state_data TEXT NOT NULL,
    spec TEXT NOT NULL,
    template_id TEXT NOT NULL,
    build_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    end_at INTEGER NOT NULL,
    killed_at INTEGER
) STRICT;
CREATE INDEX sandboxes_listed ON sandboxes (team_no, started_at, id) WHERE state <> 'killed';
CREATE INDEX sandboxes_live ON sandboxes (team_no, state) WHERE state <> 'killed';
CREATE INDEX sandboxes_by_build ON sandboxes (build_id) WHERE state <> 'killed';
CREATE INDEX sandboxes_killed ON sandboxes (team_no, killed_at) WHERE state = 'killed';

CREATE TABLE idempotency_keys (
    team_no INTEGER NOT NULL,
    key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    sandbox_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (team_no, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_sandbox ON idempotency_keys (sandbox_id);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- The log. `event_type`: 1 created, 2 killed, 3 updated, 4 paused, 5 resumed, 6 checkpointed.
CREATE TABLE events (
    team_no INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    id BLOB NOT NULL,
    event_type INTEGER NOT NULL,
    sandbox_id TEXT NOT NULL,
    execution_id BLOB NOT NULL,
    template_id TEXT NOT NULL,
    build_id BLOB NOT NULL,
    timestamp INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (team_no, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_sandbox ON events (team_no, sandbox_id, sequence);
CREATE INDEX events_by_type ON events (team_no, event_type, sequence);

CREATE TABLE webhooks (
    id BLOB PRIMARY KEY,
    team_no INTEGER NOT NULL REFERENCES teams (no),
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    signature_secret TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Every event up to here is delivered, not wanted, or stands in `exceptions`.
    cursor INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_team ON webhooks (team_no, created_at);

CREATE TABLE exceptions (
    webhook_id BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    n_attempts INTEGER NOT NULL,
    -- NULL: out of attempts.
    next_due_at INTEGER,
    PRIMARY KEY (webhook_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX exceptions_pending ON exceptions (webhook_id, sequence) WHERE next_due_at IS NOT NULL;
