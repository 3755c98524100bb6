//! How fast this disk is, for benchmarks and `doctor`: appends are judged beside it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one write: a page of the journal.
const PAGE: usize = 4096;

/// Times of `count` writes of one page, each followed by `fdatasync`, in a file that is removed again.
///
/// # Errors
/// The directory cannot be written to.
pub fn sync_times(dir: &Path, count: usize) -> io::Result<Vec<Duration>> {
    let path = dir.join("sync-probe.tmp");
    let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
    let times = (0..count).map(|_| {
        let begun = Instant::now();
        file.write_all(&[7; PAGE])?;
        file.sync_data()?;
        Ok(begun.elapsed())
    });
    let times: io::Result<Vec<_>> = times.collect();
    std::fs::remove_file(&path)?;
    times
}
