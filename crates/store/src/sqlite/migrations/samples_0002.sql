-- Samples of whole hours, sealed: `level` 0 holds the samples themselves, 30 and 300 the largest and the sum of each
-- span of that many seconds. See `sealed`.
CREATE TABLE blocks (
    no INTEGER PRIMARY KEY,
    series INTEGER NOT NULL,
    level INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    n INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX blocks_by_series ON blocks (series, level, first_at);
CREATE INDEX blocks_by_age ON blocks (level, last_at);
