//! What the host says about its processors and its memory.

use std::fs;
use std::path::Path;

/// Most processors asked; more than any machine this runs on.
const PROCESSORS_MAX: usize = 1024;

/// For each processor the list of those that share its core, as the kernel
/// writes it; empty where the kernel does not say.
#[must_use]
pub fn thread_siblings() -> Vec<String> {
    (0..PROCESSORS_MAX)
        .map_while(|processor| {
            let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
            // silent-ok: a kernel that does not say is an answer, and the caller has a default.
            fs::read_to_string(path).ok()
        })
        .map(|list| list.trim().to_owned())
        .collect()
}

/// Bytes of memory that new processes could have without swapping: what the kernel estimates, or what this process's group
/// of processes is limited to where that is less. `None` where the kernel does not say.
#[must_use]
pub fn available_memory() -> Option<u64> {
    // silent-ok: a kernel that does not say is an answer, here and below.
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let free = kib.saturating_mul(1024);
    let number = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    // `max`, which is no number, stands for no limit.
    let limited = number("memory.max").map(|max| max.saturating_sub(number("memory.current").unwrap_or(0)));
    Some(limited.map_or(free, |limited| limited.min(free)))
}

/// Bytes of a file; 0 for one that cannot be looked at, which loading it will tell.
#[must_use]
pub fn file_size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
