//! The tables, how they came to be, and how connections are set up.
//!
//! `journal` is in order of arrival and found through (session, seq): appends of
//! many sessions then share the last page, and one commit of fifty sessions
//! writes a few pages instead of fifty. `payload` and `tree` have the journal's
//! `entry` as their key, because session and position are the journal's to say.
//!
//! Bytes are BLOBs and stored exactly as handed in. Times are milliseconds since 1970.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::error::OpenError;

/// Marks the file as one of ours in SQLite's header: `ARE1`.
const APPLICATION_ID: i64 = 0x4152_4531;
/// How long a connection waits for another one. Ours hold locks for
/// milliseconds; beyond it a foreign program sits in the database.
const BUSY_WAIT: Duration = Duration::from_secs(10);
/// How long the checkpointer waits for readers while the writer waits for it:
/// longer than any query of ours but the check of the whole file.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(500);
/// Prepared statements kept per connection: more than there are.
const STATEMENTS_MAX: usize = 96;

/// Migrations in order; the number of those applied is the schema's version.
/// One is never changed once released, only followed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_token_parent.sql"),
    include_str!("migrations/0003_memory.sql"),
    include_str!("migrations/0004_accounts.sql"),
    include_str!("migrations/0005_tree.sql"),
    include_str!("migrations/0006_sealed.sql"),
    include_str!("migrations/0007_spent.sql"),
    include_str!("migrations/0008_artifacts.sql"),
];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that appends.
    Write,
    /// One of those that read.
    Read,
    /// The one that moves the log into the database.
    Checkpoint,
}

/// Opens a database that exists.
pub(super) fn connect(path: &Path, role: Role, cache_kib: u32) -> rusqlite::Result<Connection> {
    let access = match role {
        Role::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Role::Write | Role::Checkpoint => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(if role == Role::Checkpoint { CHECKPOINT_WAIT } else { BUSY_WAIT })?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Only an orderly close may empty the log: after a failed sync, copying it
    // into the database would be the retry that must not happen.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // PERF: plans do not depend on bound values, so a cached statement is never parsed again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    // Roll-back data of savepoints stays in memory: no file outside the data directory.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    match role {
        Role::Read => connection.pragma_update(None, "query_only", true)?,
        Role::Write | Role::Checkpoint => {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            // Erased payloads are overwritten with zeros.
            connection.pragma_update(None, "secure_delete", true)?;
        }
    }
    Ok(connection)
}

/// Fills the empty file at `path` with a whole database named `id`. Nothing of it is synced: a file
/// that is cut off here never gets its name, and whoever names it syncs it first.
pub(super) fn create(path: &Path, id: Uuid) -> Result<(), OpenError> {
    let create = || {
        let mut connection = connect(path, Role::Write, 256)?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        migrate(&mut connection, 0)?;
        set_meta(&connection, "store_id", &id.to_string())?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // So that closing empties and removes the log, and one file is everything.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.close().map_err(|(_, error)| error)
    };
    create().map_err(OpenError::sql(path))
}

/// Checks that the database is ours and of a known version, and brings it up to this one.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sql = |error| OpenError::sql(path)(error);
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sql)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sql)?;
    if application != APPLICATION_ID || found < 1 {
        let what = "is not a database of this program".to_owned();
        return Err(OpenError::Mismatch { path: path.to_owned(), what });
    }
    let known = MIGRATIONS.len();
    match usize::try_from(found) {
        Ok(done) if done <= known => migrate(connection, done).map_err(sql),
        _ => Err(OpenError::TooNew { path: path.to_owned(), found, known: i64::try_from(known).unwrap_or(i64::MAX) }),
    }
}

/// Applies what follows the first `done` migrations, all of it or nothing.
fn migrate(connection: &mut Connection, done: usize) -> rusqlite::Result<()> {
    if done >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

/// A fact about the store.
pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

/// States a fact about the store.
pub(super) fn set_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute([key, value])
        .map(drop)
}
