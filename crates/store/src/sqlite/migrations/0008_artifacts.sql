-- Bytes that calls kept for people, by session and digest; of no session, and empty, when erased.
CREATE TABLE artifact (
    id INTEGER PRIMARY KEY,
    session BLOB,
    digest BLOB NOT NULL,
    media_type TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX artifact_by_session ON artifact (session, digest) WHERE session IS NOT NULL;
