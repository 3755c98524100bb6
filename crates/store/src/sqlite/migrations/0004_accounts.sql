-- groups is comma-separated. A deleted account keeps its row, so that its name is never given again.
CREATE TABLE account (
    name TEXT NOT NULL PRIMARY KEY,
    groups TEXT NOT NULL,
    is_disabled INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL,
    is_erased INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whoever had a token or a session before accounts had rows has one from here on.
INSERT INTO account
    SELECT name, '', 0, 0, 0, 0, min(at_ms) FROM (
        SELECT account AS name, created_at_ms AS at_ms FROM token
        UNION ALL SELECT owner, created_at_ms FROM sessions
    ) GROUP BY name;

-- For whom a token may speak beside its owner, comma-separated, and until when it is good.
ALTER TABLE token ADD COLUMN speaks_for TEXT NOT NULL DEFAULT '';
ALTER TABLE token ADD COLUMN expires_at_ms INTEGER;
