//! The queries, each on whichever connection it is given.

use std::str::FromStr;

use are_core::body::Scope;
use are_core::digest::Digest;
use are_core::ids::{AccountId, Epoch, RequestId, Seq, SessionKey, TurnNo};
use are_core::journal::{Class, Head, Row};
use are_core::store::{
    AccountRow, Memories, MemoryRow, SealedRow, SessionFilter, SessionRow, StoreError, TokenRow, VariableRow,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, ToSql, params};

use super::Report;
use super::apply::{FRAME, RECORD, TURN, integer};
use super::error::Trouble;

/// Sessions of one page, whatever is asked for: about half a megabyte.
const SESSIONS_PAGE_MAX: u32 = 1_000;
/// Rows made room for before any is read; a page may hold more.
const ROWS_CAPACITY: usize = 64;

/// Findings of a check that are listed; one is enough to act.
const DAMAGE_MAX: u32 = 20;

/// Sessions with their words; the columns of [`session_row`].
const SELECT_SESSIONS: &str = "SELECT s.key, s.owner, s.agent, coalesce(w.text, ''), s.fence, s.head_seq, s.head_hash,
    s.last_account_id, s.last_thread_id, coalesce(t.text, ''), s.turns, s.created_at_ms, s.updated_at_ms, s.is_deleted
    FROM sessions s LEFT JOIN words w ON w.id = s.workspace LEFT JOIN words t ON t.id = s.title";

/// A session's row.
pub(super) fn find_session(connection: &Connection, session: SessionKey, epoch: Epoch) -> Result<SessionRow, Trouble> {
    let sql = format!("{SELECT_SESSIONS} WHERE s.key = ?1");
    let found =
        connection.prepare_cached(&sql)?.query_row([session.as_bytes()], |row| session_row(row, epoch)).optional()?;
    found.ok_or(StoreError::NotFound.into())
}

/// A page of sessions.
pub(super) fn list_sessions(
    connection: &Connection,
    filter: &SessionFilter,
    epoch: Epoch,
) -> Result<Vec<SessionRow>, Trouble> {
    let before = filter.before_ms.map_or(Ok(i64::MAX), integer)?;
    let limit = filter.limit.min(SESSIONS_PAGE_MAX);
    let (owner, condition) = match &filter.owner {
        Some(owner) => (owner.as_str(), "s.owner = ?1"),
        // Keeps the parameters the same for both statements.
        None => ("", "?1 = ''"),
    };
    let sql = format!(
        "{SELECT_SESSIONS} WHERE {condition} AND s.updated_at_ms < ?2 AND s.is_deleted = 0 AND s.key <> ?3
         ORDER BY s.updated_at_ms DESC, s.key DESC LIMIT ?4"
    );
    let values: [&dyn ToSql; 4] = [&owner, &before, SessionKey::SYSTEM.as_bytes(), &limit];
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(&values[..], |row| session_row(row, epoch))?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Rows of a journal.
pub(super) fn read_rows(
    connection: &Connection,
    session: SessionKey,
    after: Seq,
    limit: u32,
    bytes_max: usize,
) -> Result<Vec<Row>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT j.seq, j.class, j.bytes, p.nonce, p.bytes FROM journal j
         LEFT JOIN payload p ON p.entry = j.entry AND p.nonce <> x''
         WHERE j.session = ?1 AND j.seq > ?2 AND j.class <> 2 ORDER BY j.seq LIMIT ?3",
    )?;
    let mut found = statement.query(params![session.as_bytes(), integer(after)?, limit])?;
    let mut rows = Vec::with_capacity(ROWS_CAPACITY.min(usize::try_from(limit).unwrap_or(ROWS_CAPACITY)));
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let class = match row.get(1)? {
            RECORD => Class::Record,
            FRAME => Class::Frame,
            other => return Err(rusqlite::Error::IntegralValueOutOfRange(1, other).into()),
        };
        let payload: Option<Vec<u8>> = row.get(4)?;
        let payload = payload.map(|bytes| Ok::<_, Trouble>((bytes_32(row, 3)?, bytes))).transpose()?;
        let row = Row { seq: unsigned(row, 0)?, class, bytes: row.get(2)?, payload };
        bytes += row.bytes.len() + row.payload.as_ref().map_or(0, |(nonce, bytes)| nonce.len() + bytes.len());
        if bytes > bytes_max && !rows.is_empty() {
            break;
        }
        rows.push(row);
    }
    if rows.is_empty() {
        let mut exists = connection.prepare_cached("SELECT 1 FROM sessions WHERE key = ?1")?;
        if !exists.exists([session.as_bytes()])? {
            return Err(StoreError::NotFound.into());
        }
    }
    Ok(rows)
}

/// Sessions with an unfinished turn.
pub(super) fn list_open_work(connection: &Connection) -> Result<Vec<SessionKey>, Trouble> {
    let mut statement = connection.prepare_cached("SELECT session FROM open_work WHERE kind = ?1 ORDER BY session")?;
    let keys = statement.query_map([TURN], |row| row.get(0).map(SessionKey::from_bytes))?.collect::<Result<_, _>>()?;
    Ok(keys)
}

/// What an account's request id became.
pub(super) fn find_request(
    connection: &Connection,
    account: &AccountId,
    request_id: &RequestId,
) -> Result<Option<(SessionKey, TurnNo, Digest)>, Trouble> {
    let found = connection
        .prepare_cached("SELECT session, turn, content FROM request WHERE account = ?1 AND request_id = ?2")?
        .query_row([account.as_str(), request_id.as_str()], |row| {
            Ok((SessionKey::from_bytes(row.get(0)?), row.get(1)?, Digest(bytes_32(row, 2)?)))
        })
        .optional()?;
    Ok(found)
}

/// The variables of a session, then those of an account.
pub(super) fn list_variables(
    connection: &Connection,
    session: Option<SessionKey>,
    account: &AccountId,
) -> Result<Vec<VariableRow>, Trouble> {
    let row = |scope| {
        move |row: &rusqlite::Row<'_>| {
            Ok(VariableRow { scope, name: parsed(row, 0)?, value: row.get(1)?, labels: row.get(2)? })
        }
    };
    let mut rows: Vec<VariableRow> = Vec::new();
    if let Some(session) = session {
        let mut statement =
            connection.prepare_cached("SELECT name, value, labels FROM variable WHERE session = ?1 ORDER BY name")?;
        for found in statement.query_map([session.as_bytes()], row(Scope::Session))? {
            rows.push(found?);
        }
    }
    let mut statement =
        connection.prepare_cached("SELECT name, value, labels FROM variable WHERE account = ?1 ORDER BY name")?;
    for found in statement.query_map([account.as_str()], row(Scope::Account))? {
        rows.push(found?);
    }
    Ok(rows)
}

/// Some of an account's memories.
pub(super) fn list_memories(
    connection: &Connection,
    account: &AccountId,
    which: &Memories,
    limit: u32,
) -> Result<Vec<MemoryRow>, Trouble> {
    const COLUMNS: &str = "SELECT id, name, session, text, label, created_at_ms FROM memory WHERE account = ?1";
    let row = |row: &rusqlite::Row<'_>| {
        let session: Option<[u8; 16]> = row.get(2)?;
        Ok(MemoryRow {
            order: unsigned(row, 0)?,
            id: parsed(row, 1)?,
            session: session.map(SessionKey::from_bytes),
            text: row.get(3)?,
            label: row.get(4)?,
            created_at_ms: unsigned(row, 5)?,
        })
    };
    let (from, sql) = match which {
        Memories::After(order) => (*order, format!("{COLUMNS} AND id > ?2 ORDER BY id LIMIT ?3")),
        Memories::Before(order) => (*order, format!("{COLUMNS} AND id < ?2 ORDER BY id DESC LIMIT ?3")),
        Memories::Named(ids) => {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} AND name = ?2"))?;
            let mut rows = Vec::new();
            for id in ids.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
                rows.extend(statement.query_row([account.as_str(), id.as_str()], row).optional()?);
            }
            rows.sort_by_key(|row: &MemoryRow| row.order);
            return Ok(rows);
        }
    };
    let from = integer(from).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![account.as_str(), from, limit], row)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// All that is sealed, keys first.
pub(super) fn list_sealed(connection: &Connection) -> Result<Vec<SealedRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT account, name, key, sealed, bound_to, created_at_ms, updated_at_ms FROM sealed
         WHERE name IS NOT NULL ORDER BY coalesce(account, ''), name",
    )?;
    let rows = statement
        .query_map([], |row| {
            Ok(SealedRow {
                account: row.get::<_, Option<String>>(0)?.map(|_| parsed(row, 0)).transpose()?,
                name: row.get(1)?,
                key: row.get(2)?,
                sealed: row.get(3)?,
                bound_to: row.get(4)?,
                created_at_ms: unsigned(row, 5)?,
                updated_at_ms: unsigned(row, 6)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// All tokens.
pub(super) fn list_tokens(connection: &Connection) -> Result<Vec<TokenRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT id, hash, account, scopes, label, created_at_ms, is_revoked, parent, speaks_for, expires_at_ms
         FROM token ORDER BY id",
    )?;
    let rows = statement
        .query_map([], |row| {
            Ok(TokenRow {
                id: row.get(0)?,
                hash: Digest(bytes_32(row, 1)?),
                account: parsed(row, 2)?,
                scopes: row.get(3)?,
                label: row.get(4)?,
                created_at_ms: unsigned(row, 5)?,
                is_revoked: row.get(6)?,
                parent: row.get(7)?,
                speaks_for: row.get(8)?,
                expires_at_ms: row.get::<_, Option<i64>>(9)?.map(|_| unsigned(row, 9)).transpose()?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// All accounts.
pub(super) fn list_accounts(connection: &Connection) -> Result<Vec<AccountRow>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT name, groups, is_disabled, is_deleted, is_erased, revision, created_at_ms FROM account ORDER BY name",
    )?;
    let rows = statement
        .query_map([], |row| {
            Ok(AccountRow {
                name: parsed(row, 0)?,
                groups: listed(row, 1)?,
                is_disabled: row.get(2)?,
                is_deleted: row.get(3)?,
                is_erased: row.get(4)?,
                revision: unsigned(row, 5)?,
                created_at_ms: unsigned(row, 6)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// An object by its digest.
pub(super) fn find_object(connection: &Connection, digest: Digest) -> Result<Vec<u8>, Trouble> {
    let found = connection
        .prepare_cached("SELECT bytes FROM object WHERE digest = ?1")?
        .query_row([&digest.0], |row| row.get(0))
        .optional()?;
    found.ok_or(StoreError::NotFound.into())
}

/// Media type and bytes of an artifact of the session.
pub(super) fn find_artifact(
    connection: &Connection,
    session: SessionKey,
    digest: Digest,
) -> Result<(String, Vec<u8>), Trouble> {
    let found = connection
        .prepare_cached("SELECT media_type, bytes FROM artifact WHERE session = ?1 AND digest = ?2")?
        .query_row(params![session.as_bytes(), digest.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.ok_or(StoreError::NotFound.into())
}

/// Checks the file and counts what is in it; what cannot be read is damage and counts as nothing.
pub(super) fn check(connection: &Connection) -> Result<Report, Trouble> {
    let mut damage = Vec::new();
    let found = quick_check(connection);
    let found = noted(&mut damage, "the file", found)?;
    damage.extend(found.into_iter().filter(|line| line != "ok"));
    let mut count = |what: &str| {
        let counted = connection.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| unsigned(row, 0));
        noted(&mut damage, what, counted)
    };
    let (sessions, entries) = (count("sessions")?, count("journal WHERE class <> 2")?);
    let (payloads, leaves) = (count("payload WHERE nonce <> x''")?, count("tree")?);
    let pages = connection.pragma_query_value(None, "page_count", |row| unsigned(row, 0))?;
    let page_bytes = connection.pragma_query_value(None, "page_size", |row| unsigned(row, 0))?;
    Ok(Report { damage, sessions, entries, payloads, leaves, database_bytes: pages * page_bytes })
}

fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({DAMAGE_MAX})"))?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The value; one that damage keeps from being read is noted and nothing.
fn noted<T: Default>(damage: &mut Vec<String>, what: &str, value: rusqlite::Result<T>) -> Result<T, Trouble> {
    match value.map_err(Trouble::from) {
        Err(Trouble::Corrupt(reason)) => {
            damage.push(format!("{what}: {reason}"));
            Ok(T::default())
        }
        other => other,
    }
}

fn session_row(row: &rusqlite::Row<'_>, epoch: Epoch) -> rusqlite::Result<SessionRow> {
    let thread: Option<String> = row.get(8)?;
    Ok(SessionRow {
        key: SessionKey::from_bytes(row.get(0)?),
        owner: parsed(row, 1)?,
        agent: parsed(row, 2)?,
        workspace: row.get(3)?,
        fence: unsigned(row, 4)?,
        epoch,
        head: Head { seq: unsigned(row, 5)?, hash: Digest(bytes_32(row, 6)?) },
        last_account_id: parsed(row, 7)?,
        last_thread_id: thread.map(|_| parsed(row, 8)).transpose()?,
        title: row.get(9)?,
        turns: row.get(10)?,
        created_at_ms: unsigned(row, 11)?,
        updated_at_ms: unsigned(row, 12)?,
        is_deleted: row.get(13)?,
    })
}

/// A number that is never negative.
pub(super) fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// 32 bytes of a BLOB.
pub(super) fn bytes_32(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<[u8; 32]> {
    row.get(column)
}

/// An identifier; one that the types refuse was put there by somebody else.
pub(super) fn parsed<T>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Identifiers, comma-separated.
fn listed<T>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    let parse = |part: &str| {
        part.parse().map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
    };
    text.split(',').filter(|part| !part.is_empty()).map(parse).collect()
}
