-- Where this data directory is at home, so that a copy of it is known for one. `instance` begins the names of what its
-- server makes on the host. `place` is what the server itself recognises, in a form of its own. No row: no server has
-- settled here yet.
CREATE TABLE home (
    no INTEGER PRIMARY KEY CHECK (no = 1),
    instance TEXT NOT NULL,
    place TEXT NOT NULL,
    is_adopting INTEGER NOT NULL DEFAULT 0,
    holds_deliveries INTEGER NOT NULL DEFAULT 0
) STRICT;
