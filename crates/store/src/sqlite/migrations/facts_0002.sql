-- Who asked for what is under way, as JSON; NULL where nothing is.
ALTER TABLE sandboxes ADD COLUMN intent_origin TEXT;
