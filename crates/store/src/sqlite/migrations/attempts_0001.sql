-- A rowid table because bodies are large; rows arrive roughly in order of time, which retention relies on.
CREATE TABLE attempts (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    team_id BLOB NOT NULL,
    webhook_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    sandbox_id TEXT NOT NULL,
    event_type INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    success INTEGER NOT NULL,
    error_class TEXT,
    error_message TEXT,
    request_url TEXT NOT NULL,
    request_headers TEXT NOT NULL,
    request_body TEXT NOT NULL,
    response_status INTEGER,
    response_headers TEXT,
    response_body TEXT
) STRICT;
-- Carries what the statistics need, so that they never touch the rows.
CREATE INDEX attempts_by_webhook
    ON attempts (webhook_id, started_at, id, team_id, success, duration_ms, event_type);
