-- Which machine a sandbox lives on, and on which the layer of a build lies. Rows that are there already are this
-- machine's, whose number is 1. Its id is drawn here, once, and stays with the data directory.
CREATE TABLE nodes (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE
) STRICT;
INSERT INTO nodes (no, id) VALUES (1, randomblob(16));

-- No reference to `nodes`: a column that is added with one could have no default but NULL.
ALTER TABLE sandboxes ADD COLUMN node_no INTEGER NOT NULL DEFAULT 1;
ALTER TABLE builds ADD COLUMN node_no INTEGER NOT NULL DEFAULT 1;
