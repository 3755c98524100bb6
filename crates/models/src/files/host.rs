//! What the host says about its processors.

use std::fs;

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
