//! Who the command is: nobody with a privilege.
//!
//! A command of an ordinary user stays that user, in a user namespace of its
//! own. A command of the superuser becomes, inside, an ordinary user that owns
//! the workspace: programs that find themselves superuser change owners and
//! fail. Its number outside is the workspace's owner. Where that is the superuser
//! itself, the command could still write what the superuser owns, and Landlock
//! and the root directory are what keeps it from that; it has no capability, in
//! no namespace, and no file can give it one.

use std::fs;
use std::io;
use std::io::{Read, Write};

use rustix::process::{DumpableBehavior, Gid, Uid, getegid, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, UnshareFlags, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::spec::Limits;
use super::supervisor::{Failure, Step};
use super::sys::{self, Fork};

/// The number of the superuser's commands inside.
const INSIDE: u32 = 1_000;
/// Capabilities that a kernel may have; those it lacks are refused.
const CAPABILITIES: u32 = 64;

/// Nobody may look into this process or trace it.
pub(super) fn hide() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Enters namespaces, with the numbers of users mapped.
pub(super) fn enter_namespaces(flags: UnshareFlags, owner: (u32, u32)) -> Result<(), Failure> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid != 0 {
        sys::unshare(flags).step("namespaces")?;
        return map("self", &format!("{uid} {uid} 1"), &format!("{gid} {gid} 1")).step("users");
    }
    // The groups of the superuser are no use to a command.
    set_thread_groups(&[]).step("groups")?;
    let extents = |outside: u32| {
        if outside == 0 { format!("{INSIDE} 0 1") } else { format!("0 0 1\n{INSIDE} {outside} 1") }
    };
    // Only a process outside may map the number of somebody else.
    let parent = rustix::process::getpid().as_raw_nonzero();
    let (mut ready, mut go) = std::os::unix::net::UnixStream::pair().step("users")?;
    match sys::fork().step("users")? {
        Fork::Child => {
            drop(ready);
            let is_mapped = go.read_exact(&mut [0]).is_ok()
                && map(&parent.to_string(), &extents(owner.0), &extents(owner.1)).is_ok();
            // silent-ok: without the answer nothing goes on.
            go.write_all(&[u8::from(is_mapped)]).ok();
            sys::end(0);
        }
        Fork::Parent(_) => {}
    }
    drop(go);
    let entered = sys::unshare(flags);
    if entered.is_ok() {
        ready.write_all(&[1]).step("users")?;
    }
    let mut answer = [0];
    // When nothing is written, the helper ends by itself.
    if entered.is_err() {
        drop(ready);
    } else {
        ready.read_exact(&mut answer).step("users")?;
    }
    entered.step("namespaces")?;
    while let Ok(None) = sys::reap() {
        std::thread::yield_now();
    }
    if answer == [1] { Ok(()) } else { Err("the numbers were not mapped").step("users") }
}

fn map(process: &str, users: &str, groups: &str) -> io::Result<()> {
    fs::write(format!("/proc/{process}/setgroups"), "deny")?;
    fs::write(format!("/proc/{process}/uid_map"), users)?;
    fs::write(format!("/proc/{process}/gid_map"), groups)
}

/// The last steps of the first process of the namespaces: who it is, and what it could still do.
pub(super) fn settle(owner: (u32, u32), limits: &Limits) -> Result<(), Failure> {
    // A limit that the superuser's processes are under too, on kernels that have one for each namespace.
    // silent-ok: it is one of three limits of the number of processes.
    fs::write("/proc/sys/kernel/pid_max", (limits.processes.saturating_add(RESERVED_PIDS)).to_string()).ok();
    if geteuid().as_raw() == 0 && owner.0 != 0 {
        let (uid, gid) = (Uid::from_raw(INSIDE), Gid::from_raw(INSIDE));
        set_thread_res_gid(gid, gid, gid).step("users")?;
        set_thread_res_uid(uid, uid, uid).step("users")?;
    }
    drop_all().step("privileges")?;
    hide().step("hiding")
}

/// Without namespaces the superuser's command becomes the workspace's owner for real.
pub(super) fn become_owner(owner: (u32, u32)) -> Result<(), Failure> {
    if geteuid().as_raw() != 0 {
        return Ok(());
    }
    set_thread_groups(&[]).step("privileges")?;
    let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    set_thread_res_gid(gid, gid, gid).step("privileges")?;
    // The bounding set is emptied first: afterwards there is no right to.
    empty_bounding_set();
    if owner.0 == 0 { Ok(()) } else { set_thread_res_uid(uid, uid, uid).step("privileges") }
}

/// Numbers that the kernel does not give again.
const RESERVED_PIDS: u64 = 300;

/// Gives every capability up, for good, and every way to get one.
pub(super) fn drop_all() -> io::Result<()> {
    // Both need a capability; an ordinary user without namespaces has none, and with no new privileges no file that
    // it runs gives it one out of that set.
    empty_bounding_set();
    // silent-ok: without the right to set them, no program of the superuser gives capabilities either.
    set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )
    .ok();
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_no_new_privs(true)?)
}

fn empty_bounding_set() {
    for number in 0..CAPABILITIES {
        // silent-ok: what is not in the set, or not known, cannot be removed.
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).ok();
    }
}
