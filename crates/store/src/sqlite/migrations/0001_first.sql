-- Facts about the store: store_id, epoch, boot, place, clean.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What can be erased is in tables that are only appended to, and is erased by
-- emptying the row in its place: a page that is split or merged would keep
-- stale copies of its neighbours' bytes. Hence `words`, the tombstones of
-- `variable`, and class 2 of `journal`.
CREATE TABLE words (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

-- workspace and title name rows of words.
CREATE TABLE sessions (
    key BLOB NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    agent TEXT NOT NULL,
    workspace INTEGER,
    fence INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    last_account_id TEXT NOT NULL,
    last_thread_id TEXT,
    title INTEGER,
    turns INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (updated_at_ms) WHERE is_deleted = 0;
CREATE INDEX sessions_by_owner ON sessions (owner, updated_at_ms) WHERE is_deleted = 0;

-- class: 0 record, 1 frame, 2 erased frame. entry rises in order of arrival.
CREATE TABLE journal (
    entry INTEGER PRIMARY KEY,
    session BLOB NOT NULL,
    seq INTEGER NOT NULL,
    class INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_by_session ON journal (session, seq);

-- Erased: nonce and bytes are empty.
CREATE TABLE payload (
    entry INTEGER PRIMARY KEY,
    nonce BLOB NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- leaf_index is NULL until the entry is a leaf of the tree.
CREATE TABLE tree (
    entry INTEGER PRIMARY KEY,
    leaf_index INTEGER,
    leaf_hash BLOB NOT NULL
) STRICT;

CREATE TABLE open_work (
    session BLOB NOT NULL,
    kind TEXT NOT NULL,
    due_at_ms INTEGER,
    PRIMARY KEY (session, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    account TEXT NOT NULL,
    request_id TEXT NOT NULL,
    session BLOB NOT NULL,
    turn INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (account, request_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE object (
    digest BLOB NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE token (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL,
    account TEXT NOT NULL,
    scopes TEXT NOT NULL,
    label TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    is_revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Of a session or of an account; of neither when replaced or erased.
CREATE TABLE variable (
    id INTEGER PRIMARY KEY,
    session BLOB,
    account TEXT,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    labels TEXT NOT NULL
) STRICT;
CREATE INDEX variable_by_session ON variable (session) WHERE session IS NOT NULL;
CREATE INDEX variable_by_account ON variable (account) WHERE account IS NOT NULL;
