//! The root directory of a command: what it may see, under the names that it has outside.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::spec::{Access, Base, Bound, Spec};
use super::supervisor::{Failure, Step};
use super::sys::{self, Attributes};

/// Where the new root is built; any directory that is there on every system.
const BASE: &str = "/tmp";
/// The new root, until it is entered, and the old one, once the base is the root.
const NEW: &str = "/new";
const OLD: &str = "/old";
/// Bytes of the file system that holds the mount points.
const ROOT_OPTIONS: &std::ffi::CStr = c"mode=755,size=4m";

/// Builds it and enters it.
///
/// PERF: letting go of the old root waits for all processors (1 ms on a busy machine), so that it is done before there
/// is a command.
pub(super) fn prepare(base: &Base) -> Result<(), Failure> {
    // Until there is a command, what the machine mounts and unmounts meanwhile holds here too.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).step("root")?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", BASE, "tmpfs", plain, ROOT_OPTIONS).step("root")?;
    for name in [NEW, OLD] {
        fs::create_dir(below(BASE, name)).step("root")?;
    }
    pivot_root(BASE, below(BASE, OLD)).step("root")?;
    chdir("/").step("root")?;
    mount("tmpfs", NEW, "tmpfs", plain, ROOT_OPTIONS).step("root")?;
    temporary(base.limits.temporary_bytes).step("temporary directory")?;
    mount_proc().step("/proc")?;
    show(&base.bounds)?;
    known_names(base.owner).step("names")?;
    rustix::system::sethostname(b"cage").step("host name")?;
    // Without it the command only lacks its own loopback.
    // silent-ok: nothing is weaker for it.
    sys::loopback_up().ok();
    enter().step("root")
}

fn enter() -> io::Result<()> {
    chdir(NEW)?;
    let here = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    sys::set_mount(here.as_fd(), Attributes { is_read_only: true, has_devices: false, is_recursive: false })?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// Makes what has to stay as it is a mount of its own, and takes part in no change of the machine's mounts any more.
pub(super) fn finish(spec: &Spec) -> Result<(), Failure> {
    for (paths, is_read_only) in [(&spec.pinned, false), (&spec.sealed, true)] {
        for path in paths {
            seal(path, is_read_only).map_err(|error| failed("sealed paths", path, &error))?;
        }
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("root")
}

fn show(bounds: &[Bound]) -> Result<(), Failure> {
    for bound in bounds {
        bind(&bound.path, bound.access).map_err(|error| failed("paths", &bound.path, &error))?;
    }
    Ok(())
}

fn failed(step: &'static str, path: &Path, error: &io::Error) -> Failure {
    Failure { step, why: format!("{}: {error}", path.display()), is_command: false }
}

/// A path under another root.
fn below(base: &str, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    Path::new(base).join(path.strip_prefix("/").unwrap_or(path))
}

/// Directories that are the command's alone and gone with it.
fn temporary(bytes: u64) -> io::Result<()> {
    let size = std::ffi::CString::new(format!("mode=1777,size={bytes}"))?;
    for path in ["/tmp", "/dev/shm"] {
        let to = below(NEW, path);
        directories(&to)?;
        mount("tmpfs", &to, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, size.as_c_str())?;
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(target, below(NEW, "/dev").join(name))?;
    }
    Ok(())
}

fn mount_proc() -> io::Result<()> {
    let to = below(NEW, "/proc");
    directories(&to)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", &to, "proc", flags, None)?)
}

fn directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Shows one path; what is a link outside is the same link inside.
fn bind(path: &Path, access: Access) -> io::Result<()> {
    let (from, to) = (below(OLD, path), below(NEW, path));
    let Ok(found) = fs::symlink_metadata(&from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        directories(parent)?;
    }
    if found.is_symlink() {
        return if to.symlink_metadata().is_ok() { Ok(()) } else { symlink(fs::read_link(&from)?, &to) };
    }
    if found.is_dir() {
        directories(&to)?;
    } else if to.symlink_metadata().is_err() {
        File::create_new(&to)?;
    }
    mount_bind_recursive(&from, &to)?;
    let bound = open(&to, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let attributes =
        Attributes { is_read_only: access == Access::Read, has_devices: access == Access::Device, is_recursive: true };
    sys::set_mount(bound.as_fd(), attributes)
}

/// Makes a path inside a writable one a mount of its own, which cannot be moved or removed.
fn seal(path: &Path, is_read_only: bool) -> io::Result<()> {
    // Another command may be changing the workspace meanwhile: no link is followed, and what was opened is what is mounted.
    let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let inside = path.strip_prefix("/").unwrap_or(path);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let look = || openat2(&root, inside, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve);
    let opened = match look() {
        Ok(opened) => opened,
        // It has gone, or is a link now, which cannot be mounted upon; afterwards it is compared with what it was.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
    mount_bind_recursive(&name, &name)?;
    let sealed = look()?;
    sys::set_mount(sealed.as_fd(), Attributes { is_read_only, has_devices: false, is_recursive: true })
}

/// Names for the numbers of the command's user, and of no other.
fn known_names(owner: (u32, u32)) -> io::Result<()> {
    let etc = below(NEW, "/etc");
    directories(&etc)?;
    let uid = rustix::process::geteuid().as_raw();
    let (uid, gid) = match (uid, owner.0) {
        (0, owner) if owner != 0 => (1_000, 1_000),
        _ => (uid, rustix::process::getegid().as_raw()),
    };
    fs::write(etc.join("passwd"), format!("are:x:{uid}:{gid}:are:/tmp:/bin/sh\n"))?;
    fs::write(etc.join("group"), format!("are:x:{gid}:\n"))?;
    fs::write(etc.join("hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    fs::write(etc.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n")
}
