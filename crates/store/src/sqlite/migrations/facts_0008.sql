-- What lists and sums need of an event without looking into its data, written when it is appended.

-- The version of what stands in `data`; NULL: from a version before this column, with a sandbox in every row.
ALTER TABLE events ADD COLUMN form INTEGER;
-- What it is about, where that is no sandbox. Columns of its sandbox are empty where it has none.
ALTER TABLE events ADD COLUMN subject TEXT;
-- By how much it changed the number of running sandboxes; NULL: from a version before, to be found in `data`. A log may
-- have millions of rows, and what they did is summed up in `activity_blocks` already: they stay as they are.
ALTER TABLE events ADD COLUMN change INTEGER;

ALTER TABLE firing_alerts ADD COLUMN form INTEGER;
