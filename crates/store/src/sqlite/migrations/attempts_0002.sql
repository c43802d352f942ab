-- One attempt is looked up by its id alone.
CREATE INDEX attempts_by_id ON attempts (id);
