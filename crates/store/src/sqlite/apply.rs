//! The statements of one append and of one claim, inside the writer's transaction.

use are_core::body::Scope;
use are_core::digest::Digest;
use are_core::ids::{AccountId, Epoch, Fence, MemoryId, Seq, SessionKey, VariableName};
use are_core::journal::{Class, Head};
use are_core::store::{AccountRow, Append, Change, MemoryRow, SealedRow, SessionRow, StoreError, TokenRow};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, params};

use super::error::Trouble;
use super::read::{bytes_32, find_request, find_session, unsigned};
use crate::append::inspect;

/// The kind of open work that an unfinished turn is.
pub(super) const TURN: &str = "turn";
/// How a row's class is stored.
pub(super) const RECORD: i64 = 0;
/// See [`RECORD`].
pub(super) const FRAME: i64 = 1;

/// Appends. What it returns is true once the transaction is committed.
pub(super) fn append(connection: &Connection, append: &Append) -> Result<(Fence, Seq), Trouble> {
    let sound = inspect(append)?;
    let fence = match sound.creates {
        Some(row) => create_session(connection, row, append.head)?,
        None => advance(connection, append)?,
    };
    insert_rows(connection, append)?;
    for change in &append.changes {
        apply(connection, append.session, change)?;
    }
    Ok((fence, append.head.seq))
}

/// Raises the fence of a session and returns its row.
pub(super) fn claim(connection: &Connection, session: SessionKey, epoch: Epoch) -> Result<SessionRow, Trouble> {
    let changed = connection
        .prepare_cached("UPDATE sessions SET fence = fence + 1 WHERE key = ?1 AND is_deleted = 0")?
        .execute([session.as_bytes()])?;
    if changed == 0 {
        return Err(StoreError::NotFound.into());
    }
    find_session(connection, session, epoch)
}

fn create_session(connection: &Connection, row: &SessionRow, head: Head) -> Result<Fence, Trouble> {
    let fence = 1;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO sessions (key, owner, agent, workspace, fence, head_seq, head_hash, last_account_id,
                 last_thread_id, title, turns, created_at_ms, updated_at_ms, is_deleted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            row.key.as_bytes(),
            row.owner.as_str(),
            row.agent.as_str(),
            keep_words(connection, &row.workspace)?,
            fence,
            integer(head.seq)?,
            head.hash.0,
            row.last_account_id.as_str(),
            row.last_thread_id.as_ref().map(|thread| thread.as_str().to_owned()),
            keep_words(connection, &row.title)?,
            row.turns,
            integer(row.created_at_ms)?,
            integer(row.updated_at_ms)?,
            row.is_deleted,
        ])?;
    match inserted {
        0 => {
            Err(StoreError::HeadMoved { found: standing(connection, row.key)?.ok_or(StoreError::NotFound)?.head }
                .into())
        }
        _ => Ok(1),
    }
}

/// Moves the head if fence and head are what the appender thinks they are.
fn advance(connection: &Connection, append: &Append) -> Result<Fence, Trouble> {
    let changed = connection
        .prepare_cached(
            "UPDATE sessions SET head_seq = ?1, head_hash = ?2
             WHERE key = ?3 AND fence = ?4 AND head_seq = ?5 AND head_hash = ?6 AND is_deleted = 0",
        )?
        .execute(params![
            integer(append.head.seq)?,
            append.head.hash.0,
            append.session.as_bytes(),
            integer(append.fence)?,
            integer(append.expect.seq)?,
            append.expect.hash.0,
        ])?;
    if changed == 1 {
        return Ok(append.fence);
    }
    let refused = match standing(connection, append.session)? {
        None => StoreError::NotFound,
        Some(standing) if standing.is_deleted => StoreError::NotFound,
        Some(standing) if standing.fence != append.fence => StoreError::Fenced,
        Some(standing) => StoreError::HeadMoved { found: standing.head },
    };
    Err(refused.into())
}

struct Standing {
    fence: Fence,
    head: Head,
    is_deleted: bool,
}

fn standing(connection: &Connection, session: SessionKey) -> Result<Option<Standing>, Trouble> {
    let found = connection
        .prepare_cached("SELECT fence, head_seq, head_hash, is_deleted FROM sessions WHERE key = ?1")?
        .query_row([session.as_bytes()], |row| {
            let head = Head { seq: unsigned(row, 1)?, hash: Digest(bytes_32(row, 2)?) };
            Ok(Standing { fence: unsigned(row, 0)?, head, is_deleted: row.get(3)? })
        })
        .optional()?;
    Ok(found)
}

fn insert_rows(connection: &Connection, append: &Append) -> Result<(), Trouble> {
    // PERF: looked up once for all rows; 2,000 rows are 2,000 executions of one statement.
    let mut journal =
        connection.prepare_cached("INSERT INTO journal (session, seq, class, bytes) VALUES (?1, ?2, ?3, ?4)")?;
    let mut payload: Option<CachedStatement<'_>> = None;
    for row in &append.rows {
        let class = match row.class {
            Class::Record => RECORD,
            Class::Frame => FRAME,
        };
        journal.execute(params![append.session.as_bytes(), integer(row.seq)?, class, row.bytes])?;
        let entry = connection.last_insert_rowid();
        if let Some((nonce, bytes)) = &row.payload {
            lazily(&mut payload, || connection.prepare_cached("INSERT INTO payload VALUES (?1, ?2, ?3)"))?
                .execute(params![entry, nonce, bytes])?;
        }
    }
    Ok(())
}

/// The value, made at its first use.
fn lazily<T, E>(slot: &mut Option<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&mut T, E> {
    match slot {
        Some(value) => Ok(value),
        None => Ok(slot.insert(make()?)),
    }
}

fn apply(connection: &Connection, session: SessionKey, change: &Change) -> Result<(), Trouble> {
    match change {
        // The first thing that `append` does.
        Change::CreateSession(_) => Ok(()),
        Change::StartTurn { turn, account, thread, title, at_ms } => {
            let has_title = connection
                .prepare_cached("SELECT 1 FROM sessions WHERE key = ?1 AND title IS NOT NULL")?
                .exists([session.as_bytes()])?;
            let title = if has_title { None } else { keep_words(connection, title)? };
            connection
                .prepare_cached(
                    "UPDATE sessions SET turns = ?1, last_account_id = ?2, last_thread_id = ?3, updated_at_ms = ?4,
                         title = coalesce(title, ?5) WHERE key = ?6",
                )?
                .execute(params![
                    turn,
                    account.as_str(),
                    thread.as_str(),
                    integer(*at_ms)?,
                    title,
                    session.as_bytes()
                ])?;
            Ok(())
        }
        Change::Request { account, request_id, turn, content } => {
            if let Some((session, turn, content)) = find_request(connection, account, request_id)? {
                return Err(StoreError::RequestTaken { session, turn, content }.into());
            }
            connection.prepare_cached("INSERT INTO request VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                account.as_str(),
                request_id.as_str(),
                session.as_bytes(),
                turn,
                content.0
            ])?;
            Ok(())
        }
        Change::OpenWork(is_open) => set_open_work(connection, session, *is_open),
        Change::Variable { scope, account, name, value } => {
            let value = value.as_ref().map(|(value, labels)| (value.as_str(), labels.as_str()));
            set_variable(connection, session, *scope, account, name, value)
        }
        Change::PutMemory { account, row } => put_memory(connection, account, row),
        Change::DeleteMemory { account, id } => delete_memory(connection, account, id),
        Change::EraseMemories(account) => {
            connection
                .prepare_cached(
                    "UPDATE memory SET account = NULL, name = '', session = NULL, text = '', label = '' WHERE account = ?1",
                )?
                .execute([account.as_str()])?;
            Ok(())
        }
        Change::PutSealed(row) => put_sealed(connection, row),
        Change::DropSealed(account, name) => drop_sealed(connection, account.as_ref(), name),
        Change::Spend(row) => super::spent::add(connection, session, row),
        Change::PutToken(token) => put_token(connection, token),
        Change::RevokeToken(id) => {
            let changed =
                connection.prepare_cached("UPDATE token SET is_revoked = 1 WHERE id = ?1")?.execute([id.as_str()])?;
            if changed == 0 { Err(StoreError::NotFound.into()) } else { Ok(()) }
        }
        Change::PutAccount(account) => put_account(connection, account),
        Change::ErasePayloads(entries) => erase_payloads(connection, session, entries),
        Change::PutObject(digest, bytes) => {
            connection
                .prepare_cached("INSERT INTO object VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![digest.0, bytes])?;
            Ok(())
        }
        Change::PutArtifact(digest, media_type, bytes) => {
            connection
                .prepare_cached(
                    "INSERT INTO artifact (session, digest, media_type, bytes) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![session.as_bytes(), digest.0, media_type, bytes])?;
            Ok(())
        }
        Change::Erase => erase(connection, session),
    }
}

fn set_open_work(connection: &Connection, session: SessionKey, is_open: bool) -> Result<(), Trouble> {
    let statement = if is_open {
        "INSERT INTO open_work (session, kind) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM open_work WHERE session = ?1 AND kind = ?2"
    };
    connection.prepare_cached(statement)?.execute(params![session.as_bytes(), TURN])?;
    Ok(())
}

fn set_variable(
    connection: &Connection,
    session: SessionKey,
    scope: Scope,
    account: &AccountId,
    name: &VariableName,
    value: Option<(&str, &str)>,
) -> Result<(), Trouble> {
    let (clear, insert, owner): (_, _, &dyn ToSql) = match scope {
        Scope::Session => (
            "UPDATE variable SET session = NULL, name = '', value = '', labels = '' WHERE session = ?1 AND name = ?2",
            "INSERT INTO variable (session, name, value, labels) VALUES (?1, ?2, ?3, ?4)",
            session.as_bytes(),
        ),
        Scope::Account => (
            "UPDATE variable SET account = NULL, name = '', value = '', labels = '' WHERE account = ?1 AND name = ?2",
            "INSERT INTO variable (account, name, value, labels) VALUES (?1, ?2, ?3, ?4)",
            &account.as_str(),
        ),
    };
    connection.prepare_cached(clear)?.execute(params![owner, name.as_str()])?;
    if let Some((value, labels)) = value {
        connection.prepare_cached(insert)?.execute(params![owner, name.as_str(), value, labels])?;
    }
    Ok(())
}

fn put_memory(connection: &Connection, account: &AccountId, row: &MemoryRow) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT INTO memory (account, name, session, text, label, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            account.as_str(),
            row.id.as_str(),
            row.session.as_ref().map(|key| key.as_bytes().to_vec()),
            row.text,
            row.label,
            integer(row.created_at_ms)?,
        ])?;
    Ok(())
}

fn delete_memory(connection: &Connection, account: &AccountId, id: &MemoryId) -> Result<(), Trouble> {
    let changed = connection
        .prepare_cached(
            "UPDATE memory SET account = NULL, name = '', session = NULL, text = '', label = ''
             WHERE account = ?1 AND name = ?2",
        )?
        .execute([account.as_str(), id.as_str()])?;
    if changed == 0 { Err(StoreError::NotFound.into()) } else { Ok(()) }
}

fn put_sealed(connection: &Connection, row: &SealedRow) -> Result<(), Trouble> {
    drop_sealed(connection, row.account.as_ref(), &row.name)?;
    connection
        .prepare_cached(
            "INSERT INTO sealed (account, name, key, sealed, bound_to, created_at_ms, updated_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.account.as_ref().map(AccountId::as_str),
            row.name,
            row.key,
            row.sealed,
            row.bound_to,
            integer(row.created_at_ms)?,
            integer(row.updated_at_ms)?,
        ])?;
    Ok(())
}

fn drop_sealed(connection: &Connection, account: Option<&AccountId>, name: &str) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "UPDATE sealed SET account = NULL, name = NULL, key = '', sealed = x'', bound_to = ''
             WHERE coalesce(account, '') = ?1 AND name = ?2",
        )?
        .execute([account.map_or("", AccountId::as_str), name])?;
    Ok(())
}

fn put_token(connection: &Connection, token: &TokenRow) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO token
                 (id, hash, account, scopes, label, created_at_ms, is_revoked, parent, speaks_for, expires_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            token.id,
            token.hash.0,
            token.account.as_str(),
            token.scopes,
            token.label,
            integer(token.created_at_ms)?,
            token.is_revoked,
            token.parent,
            token.speaks_for,
            token.expires_at_ms.map(integer).transpose()?,
        ])?;
    Ok(())
}

fn put_account(connection: &Connection, account: &AccountRow) -> Result<(), Trouble> {
    let groups = account.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>().join(",");
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO account (name, groups, is_disabled, is_deleted, is_erased, revision, created_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            account.name.as_str(),
            groups,
            account.is_disabled,
            account.is_deleted,
            account.is_erased,
            integer(account.revision)?,
            integer(account.created_at_ms)?,
        ])?;
    Ok(())
}

/// As a whole session's are erased: in their place.
fn erase_payloads(connection: &Connection, session: SessionKey, entries: &[Seq]) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(
        "UPDATE payload SET nonce = x'', bytes = x''
         WHERE entry = (SELECT entry FROM journal WHERE session = ?1 AND seq = ?2)",
    )?;
    for &entry in entries {
        statement.execute(params![session.as_bytes(), integer(entry)?])?;
    }
    Ok(())
}

/// Removes what people and tools said in the session.
///
/// Title and workspace go too: both repeat what a payload says. Rows that held
/// words stay, emptied in their place; the schema says why.
fn erase(connection: &Connection, session: SessionKey) -> Result<(), Trouble> {
    for statement in [
        "UPDATE payload SET nonce = x'', bytes = x'' WHERE entry IN (SELECT entry FROM journal WHERE session = ?1)",
        "UPDATE journal SET class = 2, bytes = x'' WHERE session = ?1 AND class = 1",
        "UPDATE variable SET session = NULL, name = '', value = '', labels = '' WHERE session = ?1",
        "UPDATE artifact SET session = NULL, digest = x'', media_type = '', bytes = x'' WHERE session = ?1",
        "UPDATE words SET text = '' WHERE id IN (SELECT workspace FROM sessions WHERE key = ?1
             UNION ALL SELECT title FROM sessions WHERE key = ?1)",
        // The digest's salt is the request id beside it: who has both could try out what was asked.
        "UPDATE request SET content = zeroblob(32) WHERE session = ?1",
        "DELETE FROM open_work WHERE session = ?1",
        "UPDATE sessions SET is_deleted = 1, workspace = NULL, title = NULL WHERE key = ?1",
    ] {
        connection.prepare_cached(statement)?.execute([session.as_bytes()])?;
    }
    Ok(())
}

/// Keeps words that can be erased and returns their place; nothing for none.
fn keep_words(connection: &Connection, text: &str) -> Result<Option<i64>, Trouble> {
    if text.is_empty() {
        return Ok(None);
    }
    connection.prepare_cached("INSERT INTO words (text) VALUES (?1)")?.execute([text])?;
    Ok(Some(connection.last_insert_rowid()))
}

/// SQLite's integers are signed; nothing counts beyond 2^63.
pub(super) fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Corrupt("a number is beyond 2^63".to_owned()))
}
