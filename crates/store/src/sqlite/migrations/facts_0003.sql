-- Reading the log by reason, by template and by time.
ALTER TABLE events ADD COLUMN kill_reason TEXT;
UPDATE events SET kill_reason = json_extract(data, '$.kill_reason') WHERE event_type = 2;
CREATE INDEX events_by_reason ON events (team_no, kill_reason, sequence) WHERE kill_reason IS NOT NULL;
CREATE INDEX events_by_template ON events (team_no, template_id, sequence);

-- Which times the events 4096 * block … 4096 * block + 4095 tell of. Times follow the numbers only roughly (what could
-- not be written at once is written later), so an index by time could not be read in order.
CREATE TABLE event_blocks (
    team_no INTEGER NOT NULL,
    block INTEGER NOT NULL,
    min_at INTEGER NOT NULL,
    max_at INTEGER NOT NULL,
    PRIMARY KEY (team_no, block)
) STRICT, WITHOUT ROWID;
INSERT INTO event_blocks (team_no, block, min_at, max_at)
    SELECT team_no, sequence / 4096, MIN(timestamp), MAX(timestamp) FROM events GROUP BY 1, 2;

-- The newest time retention has removed an event of; NULL: none was removed.
ALTER TABLE teams ADD COLUMN cut_at INTEGER;
UPDATE teams SET cut_at = COALESCE(
    (SELECT timestamp FROM events WHERE team_no = no ORDER BY sequence LIMIT 1), unixepoch() * 1000000)
    WHERE last_sequence > 0 AND NOT EXISTS (SELECT 1 FROM events WHERE team_no = no AND sequence = 1);
