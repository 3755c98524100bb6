//! The statements of the tree: growing it inside the writer's transaction, and reading it.

use are_core::digest::Digest;
use are_core::ids::{Seq, SessionKey};
use are_core::store::StoreError;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::apply::{FRAME, RECORD, integer};
use super::error::Trouble;
use super::read::{bytes_32, unsigned};
use crate::tree::{Checkpoint, Leaf, Page, Stretch, completed, level_of};

/// Leaves of one transaction: appends wait for some milliseconds at most.
pub(super) const LEAVES_MAX: u32 = 256;
/// Records of one page, whatever is asked for.
const PAGE_MAX: u32 = 4_096;
/// Hashes read at once, whatever is asked for: a proof needs some dozens, a check goes on in pages.
const NODES_MAX: usize = 4_096;
/// Checkpoints of one page.
const CHECKPOINTS_PAGE_MAX: u32 = 1_000;

/// What growing came to; true once the transaction is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// Leaves.
    pub(super) size: u64,
    /// The last entry that was looked at.
    pub(super) seen: u64,
    /// No record is left without a number.
    pub(super) is_whole: bool,
}

/// Numbers the records behind the entry `seen`, at most `leaves_max` of them.
pub(super) fn grow(connection: &Connection, seen: u64, leaves_max: u32) -> Result<Growth, Trouble> {
    let limit = leaves_max.clamp(1, LEAVES_MAX);
    let (size, last) = standing(connection)?;
    let after = seen.max(last);
    let mut found = connection
        .prepare_cached("SELECT entry, bytes FROM journal WHERE entry > ?1 AND class = ?2 ORDER BY entry LIMIT ?3")?;
    let mut rows = found.query(params![integer(after)?, RECORD, limit])?;
    let (mut entries, mut hashes) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        entries.push(unsigned(row, 0)?);
        hashes.push(Digest::of_record(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?));
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO tree (entry, leaf_index, leaf_hash) VALUES (?1, ?2, ?3)")?;
    for ((index, entry), hash) in (size..).zip(&entries).zip(&hashes) {
        insert.execute(params![integer(*entry)?, integer(index)?, hash.0])?;
    }
    let inner = completed(size, &hashes, |position| node(connection, position))?;
    let mut insert = connection.prepare_cached("INSERT INTO tree_node (position, hash) VALUES (?1, ?2)")?;
    for (position, hash) in inner {
        insert.execute(params![integer(position)?, hash.0])?;
    }
    let is_whole = entries.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    let seen = match entries.last() {
        Some(last) if !is_whole => *last,
        _ => connection
            .prepare_cached("SELECT coalesce(max(entry), 0) FROM journal")?
            .query_row([], |row| unsigned(row, 0))?,
    };
    Ok(Growth { size: size + entries.len() as u64, seen, is_whole })
}

/// Leaves, and the entry of the last one.
pub(super) fn standing(connection: &Connection) -> Result<(u64, u64), Trouble> {
    let last = connection
        .prepare_cached("SELECT leaf_index, entry FROM tree ORDER BY leaf_index DESC LIMIT 1")?
        .query_row([], |row| Ok((unsigned(row, 0)? + 1, unsigned(row, 1)?)))
        .optional()?;
    Ok(last.unwrap_or((0, 0)))
}

fn node(connection: &Connection, position: u64) -> Result<Digest, Trouble> {
    let (level, number) = level_of(position);
    let (sql, key) = match level {
        0 => ("SELECT leaf_hash FROM tree WHERE leaf_index = ?1", number),
        _ => ("SELECT hash FROM tree_node WHERE position = ?1", position),
    };
    let found = connection.prepare_cached(sql)?.query_row([integer(key)?], |row| bytes_32(row, 0)).optional()?;
    found.map(Digest).ok_or(StoreError::NotFound.into())
}

/// Hashes of subtrees.
pub(super) fn nodes(connection: &Connection, positions: &[u64]) -> Result<Vec<Digest>, Trouble> {
    positions.iter().take(NODES_MAX).map(|position| node(connection, *position)).collect()
}

/// The entry of a leaf.
pub(super) fn place(connection: &Connection, index: u64) -> Result<Option<u64>, Trouble> {
    let found = connection
        .prepare_cached("SELECT entry FROM tree WHERE leaf_index = ?1")?
        .query_row([integer(index)?], |row| unsigned(row, 0))
        .optional()?;
    Ok(found)
}

/// The leaf of an entry.
pub(super) fn leaf(connection: &Connection, session: SessionKey, seq: Seq) -> Result<Option<u64>, Trouble> {
    let found = connection
        .prepare_cached(
            "SELECT t.leaf_index FROM journal j JOIN tree t ON t.entry = j.entry WHERE j.session = ?1 AND j.seq = ?2",
        )?
        .query_row(params![session.as_bytes(), integer(seq)?], |row| unsigned(row, 0))
        .optional()?;
    Ok(found)
}

/// Records in order of arrival.
pub(super) fn records(connection: &Connection, page: &Page) -> Result<Vec<Leaf>, Trouble> {
    let sql = if page.has_payloads {
        "SELECT j.entry, j.session, j.seq, j.bytes, t.leaf_index, t.leaf_hash, p.nonce, p.bytes FROM journal j
         LEFT JOIN tree t ON t.entry = j.entry LEFT JOIN payload p ON p.entry = j.entry AND p.nonce <> x''
         WHERE j.entry > ?1 AND j.class = ?2 ORDER BY j.entry LIMIT ?3"
    } else {
        "SELECT j.entry, j.session, j.seq, j.bytes, t.leaf_index, t.leaf_hash, NULL, NULL FROM journal j
         LEFT JOIN tree t ON t.entry = j.entry
         WHERE j.entry > ?1 AND j.class = ?2 ORDER BY j.entry LIMIT ?3"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params![integer(page.after)?, RECORD, page.limit.min(PAGE_MAX)])?;
    let (mut leaves, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let index: Option<i64> = row.get(4)?;
        let hash: Option<[u8; 32]> = row.get(5)?;
        let payload: Option<Vec<u8>> = row.get(7)?;
        let leaf = Leaf {
            place: unsigned(row, 0)?,
            index: index.map(|_| unsigned(row, 4)).transpose()?,
            hash: hash.map(Digest),
            session: SessionKey::from_bytes(row.get(1)?),
            seq: unsigned(row, 2)?,
            bytes: row.get(3)?,
            payload: payload.map(|bytes| Ok::<_, Trouble>((bytes_32(row, 6)?, bytes))).transpose()?,
        };
        bytes += leaf.bytes.len() + leaf.payload.as_ref().map_or(0, |(_, bytes)| bytes.len());
        if bytes > page.bytes_max && !leaves.is_empty() {
            break;
        }
        leaves.push(leaf);
    }
    Ok(leaves)
}

/// Frames by where they stand.
pub(super) fn frames(
    connection: &Connection,
    stretches: &[Stretch],
    bytes_max: usize,
) -> Result<Vec<Vec<Vec<u8>>>, Trouble> {
    let mut statement = connection.prepare_cached(
        "SELECT bytes FROM journal WHERE session = ?1 AND seq BETWEEN ?2 AND ?3 AND class = ?4 ORDER BY seq",
    )?;
    let (mut all, mut bytes) = (Vec::new(), 0);
    for Stretch { session, first, last } in stretches {
        let key = params![session.as_bytes(), integer(*first)?, integer(*last)?, FRAME];
        let frames: Vec<Vec<u8>> = statement.query_map(key, |row| row.get(0))?.collect::<Result<_, _>>()?;
        bytes += frames.iter().map(Vec::len).sum::<usize>();
        all.push(frames);
        if bytes > bytes_max {
            break;
        }
    }
    Ok(all)
}

/// Keeps a checkpoint, and forgets the oldest of too many.
pub(super) fn keep_checkpoint(connection: &Connection, checkpoint: &Checkpoint, kept_max: u32) -> Result<(), Trouble> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO checkpoint (size, note, made_at_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![integer(checkpoint.size)?, checkpoint.note, integer(checkpoint.made_at_ms)?])?;
    connection
        .prepare_cached(
            "DELETE FROM checkpoint WHERE size <= (SELECT size FROM checkpoint ORDER BY size DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([kept_max])?;
    Ok(())
}

/// Kept checkpoints, largest first.
pub(super) fn checkpoints(connection: &Connection, size: u64, limit: u32) -> Result<Vec<Checkpoint>, Trouble> {
    let mut statement = connection
        .prepare_cached("SELECT size, note, made_at_ms FROM checkpoint WHERE size < ?1 ORDER BY size DESC LIMIT ?2")?;
    let size = integer(size).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![size, limit.min(CHECKPOINTS_PAGE_MAX)], |row| {
            Ok(Checkpoint { size: unsigned(row, 0)?, note: row.get(1)?, made_at_ms: unsigned(row, 2)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
