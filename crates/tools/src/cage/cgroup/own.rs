//! In which control groups this process is, and at which directories they are seen.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Directories of this process's own groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// In the one tree of version 2, and where that is mounted: nothing above is ours to see.
    pub(super) second: Option<(PathBuf, PathBuf)>,
    /// In the trees of version 1, with the controllers of each.
    pub(super) first: Vec<(Vec<String>, PathBuf)>,
}

impl Own {
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::of(&fs::read_to_string("/proc/self/cgroup")?, &fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// From what the kernel says of a process and of its mounts.
    ///
    /// SOURCE: cgroups(7), `/proc/pid/cgroup`; `proc_pid_mountinfo(5)`.
    fn of(groups: &str, mounts: &str) -> Self {
        let mut own = Self::default();
        for mount in mounts.lines().filter_map(Mount::of) {
            for line in groups.lines() {
                // `4:memory:/a/b`, or `0::/a/b` for the tree of version 2.
                let mut fields = line.splitn(3, ':').skip(1);
                let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
                let Some(dir) = mount.dir(path) else { continue };
                match (mount.is_second, controllers.is_empty()) {
                    (true, true) if own.second.is_none() => own.second = Some((dir, mount.at.to_owned())),
                    (false, false) => {
                        let names: Vec<String> = controllers.split(',').map(ToOwned::to_owned).collect();
                        let is_same = names.iter().all(|name| mount.options.split(',').any(|option| option == name));
                        if is_same && own.first.iter().all(|(known, _)| *known != names) {
                            own.first.push((names, dir));
                        }
                    }
                    _ => {}
                }
            }
        }
        own
    }

    /// The directory of version 1 for a controller.
    pub(super) fn first(&self, controller: &str) -> Option<&Path> {
        let found = self.first.iter().find(|(names, _)| names.iter().any(|name| name == controller))?;
        Some(&found.1)
    }
}

/// A mounted tree of control groups.
struct Mount<'a> {
    /// Which of its directories is mounted.
    root: &'a Path,
    at: &'a Path,
    is_second: bool,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// `36 35 98:0 /root /at rw shared:1 - cgroup cgroup rw,memory`
    fn of(line: &'a str) -> Option<Self> {
        let (about, kind) = line.split_once(" - ")?;
        let mut about = about.split(' ').skip(3);
        let (root, at) = (about.next()?, about.next()?);
        let mut kind = kind.split(' ');
        let is_second = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        // One at a path with a space or the like is written differently there; nobody mounts one so.
        let is_plain = !root.contains('\\') && !at.contains('\\');
        let options = kind.nth(1)?;
        is_plain.then(|| Self { root: Path::new(root), at: Path::new(at), is_second, options })
    }

    /// Where a group is seen; `None` when it lies outside of what is mounted.
    fn dir(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        let is_below = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_below.then(|| self.at.join(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
39 31 0:36 /docker/7 /sys/fs/cgroup/pids ro master:3 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_process_finds_its_own_groups_in_either_version() {
        let groups = "4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/docker/7/x\n1:name=systemd:/\n0::/user.slice\n";
        let own = Own::of(groups, FIRST);
        assert_eq!(own.first("memory"), Some(Path::new("/sys/fs/cgroup/memory/a/b")));
        assert_eq!(own.first("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(own.first("pids"), Some(Path::new("/sys/fs/cgroup/pids/x")), "below what is mounted");
        assert_eq!(own.first("freezer"), None);
        let second = ("/sys/fs/cgroup/unified/user.slice".into(), "/sys/fs/cgroup/unified".into());
        assert_eq!(own.second, Some(second));
    }

    #[test]
    fn a_group_that_is_not_seen_or_not_plain_is_not_there() {
        let outside = Own::of("4:memory:/../up\n2:pids:/elsewhere\n0::/../..\n", FIRST);
        assert_eq!(outside, Own::default());
        assert_eq!(Own::of("0::/\n", "41 31 0:38 / /sys/fs/my\\040groups rw - cgroup2 cgroup2 rw"), Own::default());
        for torn in ["", "41", "41 31 0:38 / /sys/fs/cgroup rw - cgroup2", "41 31 - cgroup2 cgroup2 rw"] {
            assert_eq!(Own::of("0::/\n4:memory\n", torn), Own::default(), "{torn}");
        }
    }
}
