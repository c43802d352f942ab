-- A sandbox's log. Outlives the sandbox; goes with its last entry.
CREATE TABLE streams (
    no INTEGER PRIMARY KEY,
    sandbox_id TEXT NOT NULL UNIQUE,
    -- The newest entry's time.
    last_at INTEGER NOT NULL,
    -- The last of the agent's lines that was taken.
    taken_upto INTEGER NOT NULL,
    n_entries INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL
) STRICT;

-- Numbers grow over all sandboxes: the lowest is the oldest of all.
CREATE TABLE entries (
    no INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    at INTEGER NOT NULL,
    level INTEGER NOT NULL,
    source INTEGER NOT NULL,
    pid INTEGER,
    event_type INTEGER,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX entries_by_stream ON entries (stream, at, no);

-- What all entries take together: one row.
CREATE TABLE total (
    n_bytes INTEGER NOT NULL
) STRICT;
INSERT INTO total (n_bytes) VALUES (0);
