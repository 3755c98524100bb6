-- The token that made a token, so that it is revoked with it.
ALTER TABLE token ADD COLUMN parent TEXT;
