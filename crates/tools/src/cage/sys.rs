//! Calls of the kernel that no safe wrapper offers: all `unsafe` of the cage.
//!
//! Every function here is safe to call from a process with one thread, which the
//! supervisor is: it is started for one command and makes no thread.
#![expect(unsafe_code, reason = "fork, exec, mount attributes and resource usage of children have no safe wrapper")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fork {
    Child,
    Parent(i32),
}

/// How a process ended and what it and its waited-for children used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended {
    pub(super) pid: i32,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) cpu_ms: u64,
    pub(super) max_rss_bytes: u64,
}

/// Attributes of a mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) is_read_only: bool,
    pub(super) has_devices: bool,
    /// With all mounts below it.
    pub(super) is_recursive: bool,
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;

/// Splits the process in two.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: the process has one thread, so no lock is held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Reaps a child that has ended; `None` when none has yet. ECHILD when there is none at all.
pub(super) fn reap() -> io::Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the types that the call writes.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        return Ok(None);
    }
    let ms = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(time.tv_usec).unwrap_or(0) / 1_000
    };
    Ok(Some(Ended {
        pid,
        exit_code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1_024,
    }))
}

/// Enters new namespaces.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: descriptors are not unshared, which is what the wrapper warns of; there is one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Adds attributes to the mount that the descriptor's path is the root of. Always without the rights of set-uid files.
pub(super) fn set_mount(fd: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    let mut attr_set = MOUNT_ATTR_NOSUID;
    if attributes.is_read_only {
        attr_set |= MOUNT_ATTR_RDONLY;
    }
    if !attributes.has_devices {
        attr_set |= MOUNT_ATTR_NODEV;
    }
    let attr = MountAttr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if attributes.is_recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a constant with its end, and `attr` lives as long as the call and is as long as it says.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has every descriptor from `first` on closed by the next exec.
pub(super) fn close_at_exec(first: RawFd) -> io::Result<()> {
    // SAFETY: no pointers, and nothing is closed yet.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `fd` the descriptor of that number, kept over an exec.
pub(super) fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: `fd` is open; what stood at `number` is a standard stream, which nothing here owns.
    let done = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    if done == number { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the standard input for one's own.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: descriptor 0 is open or the call fails.
    let fd = unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made it, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made it, so nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: `ifreq` is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is the one that this command takes, and lives as long as the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives every signal its usual effect, and blocks none: what this program ignores would be ignored by the command.
pub(super) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is installed; a signal that cannot be changed is refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is a live local, emptied before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Has children that end leave nothing behind.
pub(super) fn forget_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Has children that end wait until they are asked after, as usual.
pub(super) fn remember_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Becomes another program; comes back only when it cannot.
pub(super) fn exec(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null, and their strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once, without what an exit of Rust would do in a forked copy.
pub(super) fn end(code: i32) -> ! {
    // SAFETY: it does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Makes a call by its number, with numbers as arguments; the error's number when it fails.
pub(super) fn call(number: i64, args: [u64; 5]) -> Result<i64, i32> {
    let [a, b, c, d, e] = args;
    // SAFETY: only probes use it, with arguments that are numbers or null, so that no memory of ours is named.
    let done = unsafe { libc::syscall(number, a, b, c, d, e) };
    if done < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(done) }
}

/// The version of Landlock that the kernel offers; 0 for none.
pub(super) fn landlock_abi() -> i32 {
    // SAFETY: with this flag the kernel reads no attributes.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, LANDLOCK_CREATE_RULESET_VERSION)
    };
    i32::try_from(version).unwrap_or(0).max(0)
}
