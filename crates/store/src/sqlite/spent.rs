//! What sessions used: sums by account, hour and subject.

use are_core::ids::SessionKey;
use are_core::spent::Spent;
use are_core::store::{SpentFilter, SpentRow};
use rusqlite::{Connection, params};

use super::apply::integer;
use super::error::Trouble;
use super::read::{parsed, unsigned};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Adds to the sums of the session's hour.
pub(super) fn add(connection: &Connection, session: SessionKey, row: &SpentRow) -> Result<(), Trouble> {
    let [requests, input, cached, output, tokens, cost, unpriced, calls, cpu_ms, bytes] = row.spent.sums();
    connection
        .prepare_cached(
            "INSERT INTO spent VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT DO UPDATE SET
                 at_ms = max(at_ms, excluded.at_ms),
                 requests = requests + excluded.requests,
                 input_tokens = input_tokens + excluded.input_tokens,
                 cached_tokens = cached_tokens + excluded.cached_tokens,
                 output_tokens = output_tokens + excluded.output_tokens,
                 tokens = tokens + excluded.tokens,
                 cost = cost + excluded.cost,
                 unpriced = unpriced + excluded.unpriced,
                 calls = calls + excluded.calls,
                 cpu_ms = cpu_ms + excluded.cpu_ms,
                 bytes = bytes + excluded.bytes",
        )?
        .execute(params![
            row.account.as_str(),
            integer(row.at_ms / HOUR_MS)?,
            row.subject,
            session.as_bytes(),
            integer(row.at_ms)?,
            requests,
            input,
            cached,
            output,
            tokens,
            cost,
            unpriced,
            calls,
            cpu_ms,
            bytes,
        ])?;
    Ok(())
}

/// The sums that were asked for.
pub(super) fn list(connection: &Connection, filter: &SpentFilter) -> Result<Vec<SpentRow>, Trouble> {
    let by = if filter.is_by_hour { "account, hour, subject" } else { "account, subject" };
    // Each choice of filters is a statement of its own, so that the right index serves it.
    let account = if filter.account.is_some() { "account = ?1" } else { "?1 IS NULL" };
    let session = if filter.session.is_some() { "session = ?3" } else { "?3 IS NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT account, subject, max(at_ms), sum(requests), sum(input_tokens), sum(cached_tokens), sum(output_tokens),
             sum(tokens), sum(cost), sum(unpriced), sum(calls), sum(cpu_ms), sum(bytes)
         FROM spent WHERE {account} AND hour >= ?2 AND {session} GROUP BY {by} ORDER BY {by} LIMIT ?4"
    ))?;
    let account = filter.account.as_ref().map(|account| account.as_str().to_owned());
    let session = filter.session.map(|session| session.as_bytes().to_vec());
    let rows = statement
        .query_map(params![account, integer(filter.since_ms / HOUR_MS)?, session, filter.limit], |row| {
            let mut sums = [0; 10];
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum = row.get(index + 3)?;
            }
            Ok(SpentRow {
                account: parsed(row, 0)?,
                subject: row.get(1)?,
                at_ms: unsigned(row, 2)?,
                spent: Spent::of(sums),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}
