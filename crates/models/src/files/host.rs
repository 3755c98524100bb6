//! What the host says about its processors and its memory.

use std::fs;
use std::path::Path;

/// Most processors asked; more than any machine this runs on.
const PROCESSORS_MAX: usize = 1024;
/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// For each processor the list of those that share its core, as the kernel
/// writes it; empty where the kernel does not say.
#[must_use]
pub fn thread_siblings() -> Vec<String> {
    (0..PROCESSORS_MAX)
        .map_while(|processor| said(&format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")))
        .map(|list| list.trim().to_owned())
        .collect()
}

/// What the first processor is called, where the kernel says it.
pub(super) fn processor() -> Option<String> {
    let text = said("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

/// Bytes of memory that this process may still take: what the machine has free, or what the limit of its control group
/// leaves, if that is less. Absent where the kernel does not say.
#[must_use]
pub fn memory_available() -> Option<u64> {
    let machine = said("/proc/meminfo").and_then(|text| free(&text))?;
    let group = said("/proc/self/cgroup").and_then(|text| group(&text)).unwrap_or_default();
    // In a container the process's own group is the root of what it sees.
    let limit = [group.as_str(), ""].into_iter().find_map(|group| {
        let number = |file: &str| said(&format!("{GROUPS}{group}/{file}"))?.trim().parse::<u64>().ok();
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    });
    Some(limit.map_or(machine, |limit| machine.min(limit)))
}

fn free(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The path of the process's group of the second version.
fn group(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.trim_end_matches('/').to_owned())
}

fn said(path: &str) -> Option<String> {
    // silent-ok: a kernel that does not say is an answer, and the callers have a default.
    fs::read_to_string(path).ok()
}

/// Bytes of a file; 0 for one that cannot be looked at, which loading it will tell.
#[must_use]
pub fn file_size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests;
