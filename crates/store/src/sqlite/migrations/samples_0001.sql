-- A sandbox's short internal key: a sample is a few dozen bytes and there are many.
CREATE TABLE series (
    no INTEGER PRIMARY KEY,
    sandbox_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE samples (
    series INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- Hundredths of a percent.
    cpu_used_centi_pct INTEGER NOT NULL,
    cpu_count INTEGER NOT NULL,
    mem_used_bytes INTEGER NOT NULL,
    mem_total_bytes INTEGER NOT NULL,
    mem_cache_bytes INTEGER NOT NULL,
    disk_used_bytes INTEGER NOT NULL,
    disk_total_bytes INTEGER NOT NULL,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;
