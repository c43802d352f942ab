-- How each webhook is delivered to, how that has been going, and what is sent again on request.

ALTER TABLE webhooks ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE webhooks ADD COLUMN health TEXT NOT NULL DEFAULT '{}';
-- Secrets, as one JSON object: plain behind a zero byte, else sealed. NULL: `signature_secret` is the only one.
ALTER TABLE webhooks ADD COLUMN secrets BLOB;
-- The only sandbox whose events are meant.
ALTER TABLE webhooks ADD COLUMN sandbox_id TEXT;
CREATE INDEX webhooks_by_sandbox ON webhooks (sandbox_id) WHERE sandbox_id IS NOT NULL;

ALTER TABLE exceptions ADD COLUMN replay_no INTEGER;
ALTER TABLE exceptions ADD COLUMN was_exhausted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX exceptions_exhausted ON exceptions (webhook_id, sequence) WHERE next_due_at IS NULL;

-- Events passed while a webhook was disabled.
CREATE TABLE skipped (
    webhook_id BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE replays (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    webhook_id BLOB NOT NULL,
    selection TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    -- Everything before this one has been selected or passed over.
    next INTEGER NOT NULL,
    rate_per_second INTEGER,
    state TEXT NOT NULL,
    n_selected INTEGER NOT NULL DEFAULT 0,
    n_delivered INTEGER NOT NULL DEFAULT 0,
    n_failed INTEGER NOT NULL DEFAULT 0,
    n_dropped INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX replays_by_webhook ON replays (webhook_id, no);
CREATE INDEX replays_running ON replays (webhook_id, no) WHERE state = 'running';
