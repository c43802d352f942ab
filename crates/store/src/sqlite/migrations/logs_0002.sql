-- Up to where an export has come: one row for the logs (`logs`), one for each team's events (`events/<team>`), and one
-- that says that events are exported at all (`events`). Beside the logs, so that a power cut takes both back together.
CREATE TABLE exports (
    what TEXT PRIMARY KEY,
    upto INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
