-- What sessions used, by account, hour (since 1970) and subject: sums over the journals, for limits and for people.
CREATE TABLE spent (
    account TEXT NOT NULL,
    hour INTEGER NOT NULL,
    subject TEXT NOT NULL,
    session BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    cpu_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (account, hour, subject, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_by_session ON spent (session);
