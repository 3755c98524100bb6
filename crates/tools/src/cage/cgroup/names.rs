//! Names of control groups: whose they are, and whether their maker is still there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use are_core::digest::Digest;

/// Tells the groups of this process apart, whatever part of it makes them.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// Hexadecimal digits of an installation.
const DIGITS: usize = 16;

/// `are-INSTALLATION-PROCESS-BEGUN-NUMBER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// Of every server of this installation.
    installation: String,
    /// Of this process.
    process: String,
}

impl Names {
    /// Of the installation that has this directory, which is made if it is new.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let found = fs::metadata(dir)?;
        // Numbers of processes say who is alive only where they mean the same processes.
        let numbers = fs::read_link("/proc/self/ns/pid")?;
        let known = format!("{} {} {}", found.dev(), found.ino(), numbers.display());
        let digest = Digest::of(&[known.as_bytes()]).to_string();
        let installation = format!("are-{}-", digest.get(..DIGITS).unwrap_or(&digest));
        let process = std::process::id();
        let begun = begun(process).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { process: format!("{installation}{process}-{begun}-"), installation })
    }

    /// A name that no other group has.
    pub(super) fn next(&self) -> String {
        format!("{}{}", self.process, NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this process made the group of that name.
    pub(super) fn is_ours(&self, name: &str) -> bool {
        name.starts_with(&self.process)
    }

    /// Whether a process of this installation made it that is gone.
    pub(super) fn is_left_behind(&self, name: &str) -> bool {
        let maker = || -> Option<(u32, u64)> {
            let mut parts = name.strip_prefix(&self.installation)?.split('-');
            let maker = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let _number: u64 = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(maker)
        };
        maker().is_some_and(|(process, at)| begun(process) != Some(at))
    }
}

/// When a process began, in ticks since the machine did; `None` when it is gone, or dead and only not yet asked after.
fn begun(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold anything, so the fields are counted from behind it.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let begun = fields.nth(18)?.parse().ok()?;
    (!is_dead).then_some(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_gone_process_of_this_installation_made_is_left_behind() {
        let dir = tempfile::tempdir().expect("directory");
        let other = tempfile::tempdir().expect("another");
        let (names, others) = (Names::of(dir.path()).expect("names"), Names::of(other.path()).expect("names"));
        assert_eq!(names, Names::of(dir.path()).expect("names again"));
        assert_ne!(names.installation, others.installation);
        assert_ne!(names.next(), names.next());
        assert!(names.is_ours(&names.next()) && !names.is_left_behind(&names.next()), "its maker is this process");
        let (pid, began) = (std::process::id(), begun(std::process::id()).expect("this process"));
        let gone = format!("{}{pid}-{}-0", names.installation, began + 1);
        assert!(names.is_left_behind(&gone), "the number was given again");
        assert!(!others.is_left_behind(&gone) && !names.is_left_behind(&others.next()), "of another installation");
        for torn in ["", "memory", "are-", "1", "1-2", "1-2-3-4", "x-2-3", "1-2-", "1-2-3/.."] {
            assert!(!names.is_left_behind(torn), "{torn}");
            let whole = format!("{}{torn}", names.installation);
            assert!(!names.is_left_behind(&whole), "{whole}");
        }
    }
}
