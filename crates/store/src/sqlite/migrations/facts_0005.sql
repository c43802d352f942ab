-- Alerts that fire, each with the event that told it.
CREATE TABLE alerts (
    sandbox_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    team_no INTEGER NOT NULL REFERENCES teams (no),
    since INTEGER NOT NULL,
    PRIMARY KEY (sandbox_id, rule)
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_by_team ON alerts (team_no, since);
