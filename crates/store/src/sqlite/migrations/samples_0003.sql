-- Fields beyond those that have a column: pairs of a field's id and its value plus one, each of variable length.
ALTER TABLE samples ADD COLUMN more BLOB;
