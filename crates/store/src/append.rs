//! What every implementation of the port checks before it writes.
//!
//! Pure. A store compares places and hashes, and reads nothing of what records
//! say; with these checks a bug in a caller ends as a refused append and never
//! as a journal with a hole in it.

use are_core::digest::Digest;
use are_core::journal::{Class, Head};
use are_core::store::{Append, Change, SessionRow, StoreError};

/// What was found out about a sound append.
#[derive(Debug)]
pub struct Sound<'a> {
    /// The session that the append creates, if it creates one.
    pub creates: Option<&'a SessionRow>,
}

/// Checks that the rows follow `expect` without a gap and end in `head`, that
/// frames carry no payload, and that a session is created only by its first
/// change and only at the start of its journal.
///
/// # Errors
/// [`StoreError::HeadMoved`] with the expected head: what is to be appended does not follow it.
pub fn inspect(append: &Append) -> Result<Sound<'_>, StoreError> {
    let refused = || StoreError::HeadMoved { found: append.expect };
    let mut end = append.expect;
    for row in &append.rows {
        if Some(row.seq) != end.seq.checked_add(1) || (row.class == Class::Frame && row.payload.is_some()) {
            return Err(refused());
        }
        let leaf = (row.class == Class::Record).then(|| Digest::of_record(&row.bytes));
        end = Head { seq: row.seq, hash: leaf.unwrap_or(end.hash) };
    }
    let (first, later) = match append.changes.split_first() {
        Some((first, later)) => (Some(first), later),
        None => (None, &[][..]),
    };
    let creates = match first {
        Some(Change::CreateSession(row)) => Some(row.as_ref()),
        _ => None,
    };
    let misplaced = creates.is_some_and(|row| row.key != append.session || append.expect != Head::EMPTY)
        || later.iter().any(|change| matches!(change, Change::CreateSession(_)));
    if end != append.head || misplaced {
        return Err(refused());
    }
    Ok(Sound { creates })
}

#[cfg(test)]
mod tests;
