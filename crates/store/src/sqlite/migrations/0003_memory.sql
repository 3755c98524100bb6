-- What accounts remember; of no account, and empty, when forgotten.
CREATE TABLE memory (
    id INTEGER PRIMARY KEY,
    account TEXT,
    name TEXT NOT NULL,
    session BLOB,
    text TEXT NOT NULL,
    label TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX memory_by_account ON memory (account, id) WHERE account IS NOT NULL;
CREATE INDEX memory_by_name ON memory (account, name) WHERE account IS NOT NULL;
