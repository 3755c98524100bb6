-- What only who has the key can read: secrets of accounts, and the keys that seal these, which have no account.
-- Of no name, and empty, when dropped.
CREATE TABLE sealed (
    id INTEGER PRIMARY KEY,
    account TEXT,
    name TEXT,
    key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    bound_to TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX sealed_by_name ON sealed (coalesce(account, ''), name) WHERE name IS NOT NULL;
