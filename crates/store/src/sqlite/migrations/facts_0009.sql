-- The labels of a sandbox as a JSON object, and whether an execution is under way that clients know of. Sandboxes that are
-- gone are in no list and no sum.
ALTER TABLE sandboxes ADD COLUMN labels TEXT;
ALTER TABLE sandboxes ADD COLUMN runs INTEGER;
UPDATE sandboxes SET labels = json_extract(spec, '$.metadata'),
    runs = state IN ('running', 'pausing')
        OR (state = 'killing' AND json_extract(state_data, '$.execution') IS NOT NULL)
    WHERE state <> 'killed';
