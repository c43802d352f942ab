-- Stretches of the log, summed up: what the events 32^level * block … 32^level * (block + 1) - 1 did to the number of
-- running sandboxes. NULL: nothing. Derived from the log, and made in the background: whatever is missing is read there.
CREATE TABLE activity_blocks (
    team_no INTEGER NOT NULL,
    level INTEGER NOT NULL,
    block INTEGER NOT NULL,
    first_ms INTEGER,
    last_ms INTEGER,
    change INTEGER,
    n_created INTEGER,
    peak INTEGER,
    peak_ms INTEGER,
    PRIMARY KEY (team_no, level, block)
) STRICT, WITHOUT ROWID;
