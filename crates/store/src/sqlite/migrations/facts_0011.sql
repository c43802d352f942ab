-- Keys that no longer open anything, without their hashes: events name keys, also after a key was deleted.
CREATE TABLE deleted_api_keys (
    id BLOB PRIMARY KEY,
    team_no INTEGER NOT NULL REFERENCES teams (no),
    name TEXT NOT NULL,
    mask TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    deleted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_api_keys_by_team ON deleted_api_keys (team_no, deleted_at);
