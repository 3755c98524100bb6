//! Calls of the kernel that a command must not be able to make, tried from inside the cage.
//!
//! The forked process tries them itself, right where a program would start, so
//! that nothing on the machine is needed for it.

use super::sys;

/// One call, with arguments that would make it succeed or at least be understood.
struct Attempt {
    name: &'static str,
    number: i64,
    args: [u64; 5],
}

const fn attempt(name: &'static str, number: i64, args: [u64; 5]) -> Attempt {
    Attempt { name, number, args }
}

const RAW: u64 = libc::SOCK_RAW as u64;

/// All of them. Those that would do harm if they succeeded are given arguments that the kernel refuses later.
const ATTEMPTS: [Attempt; 22] = [
    attempt("ptrace of the parent", libc::SYS_ptrace, [16, 1, 0, 0, 0]),
    attempt("reading another process's memory", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0]),
    attempt("io_uring", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
    attempt("BPF", libc::SYS_bpf, [0, 0, 0, 0, 0]),
    attempt("keys of the kernel", libc::SYS_keyctl, [0, 0, 0, 0, 0]),
    attempt("performance events", libc::SYS_perf_event_open, [0, 0, 0, 0, 0]),
    attempt("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0, 0, 0]),
    attempt("a mount", libc::SYS_mount, [0, 0, 0, 0, 0]),
    attempt("a new mount tree", libc::SYS_open_tree, [0, 0, 1, 0, 0]),
    attempt("a user namespace", libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0]),
    attempt("a namespace by clone", libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::SIGCHLD) as u64, 0, 0, 0, 0]),
    attempt("another namespace", libc::SYS_setns, [0, 0, 0, 0, 0]),
    attempt("another root", libc::SYS_chroot, [0, 0, 0, 0, 0]),
    attempt("a file by its handle", libc::SYS_open_by_handle_at, [0, 0, 0, 0, 0]),
    attempt("a kernel module", libc::SYS_finit_module, [0, 0, 0, 0, 0]),
    attempt("another kernel", libc::SYS_kexec_load, [0, 0, 0, 0, 0]),
    attempt("typing into the terminal", libc::SYS_ioctl, [0, libc::TIOCSTI, 0, 0, 0]),
    attempt("another personality", libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0]),
    attempt("a raw socket", libc::SYS_socket, [libc::AF_INET as u64, RAW, 1, 0, 0]),
    attempt("a packet socket", libc::SYS_socket, [libc::AF_PACKET as u64, RAW, 0, 0, 0]),
    attempt("netlink", libc::SYS_socket, [libc::AF_NETLINK as u64, RAW, 0, 0, 0]),
    attempt("a virtual machine's socket", libc::SYS_socket, [libc::AF_VSOCK as u64, 1, 0, 0, 0]),
];

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ATTEMPTS.iter().map(|attempt| attempt.name)
}

/// Whether the call is refused for what it is, not for its arguments.
pub(super) fn is_held(name: &str) -> bool {
    ATTEMPTS.iter().find(|attempt| attempt.name == name).is_some_and(|attempt| {
        let refused = [libc::ENOSYS, libc::EPERM, libc::EACCES];
        sys::call(attempt.number, attempt.args).is_err_and(|error| refused.contains(&error))
    })
}
