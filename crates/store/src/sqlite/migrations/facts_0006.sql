-- Rules of alerts that teams made.
CREATE TABLE alert_rules (
    id BLOB PRIMARY KEY,
    team_no INTEGER NOT NULL REFERENCES teams (no),
    name TEXT NOT NULL,
    rule TEXT NOT NULL,
    -- Raised by every change: what was decided by an older one no longer counts.
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (team_no, name)
) STRICT, WITHOUT ROWID;

-- Alerts that fire. Each keeps what the event said that told it, so that what resolves it can be told whatever has been
-- removed meanwhile. `rule_id` is empty for the operator's rules.
CREATE TABLE firing_alerts (
    team_no INTEGER NOT NULL REFERENCES teams (no),
    rule_id BLOB NOT NULL,
    rule_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The rule as it was; NULL: from a version before.
    rule TEXT,
    since INTEGER NOT NULL,
    sandbox_id TEXT NOT NULL,
    execution_id BLOB NOT NULL,
    template_id TEXT NOT NULL,
    build_id BLOB NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (team_no, rule_id, rule_name, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX firing_alerts_by_age ON firing_alerts (team_no, since);

INSERT OR IGNORE INTO firing_alerts
    SELECT a.team_no, x'', a.rule, 'sandbox:' || a.sandbox_id, NULL, a.since,
           e.sandbox_id, e.execution_id, e.template_id, e.build_id, e.data
    FROM alerts a JOIN events e ON e.team_no = a.team_no AND e.sequence = (
        SELECT MAX(sequence) FROM events
        WHERE team_no = a.team_no AND sandbox_id = a.sandbox_id AND event_type = 121
            AND json_extract(data, '$.alert.rule') = a.rule);
DROP TABLE alerts;

-- Up to which event of the log rules on events have been decided; NULL: there are none, and nothing is followed.
ALTER TABLE teams ADD COLUMN alert_cursor INTEGER;
