//! seccomp: which system calls exist for the command.
//!
//! A list of what toolchains need; everything else fails as it does on a kernel
//! that lacks it, so that programs fall back. Where a call does several things, its
//! argument is looked at.

mod free;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::init::Place;
use super::supervisor::{Failure, Step};
use super::syscalls::{CONTROLS, FREE, PERSONALITIES, PROCESS_CONTROLS};

pub(super) type Filter = BpfProgram;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// The same as calls say it. SOURCE: `linux/audit.h`, `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64`.
#[cfg(target_arch = "x86_64")]
const ARCH_VALUE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH_VALUE: u32 = 0xc000_00b7;

/// New namespaces of any kind.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// The filters, made once: that takes as long as the calls that put one in force.
static NAMESPACE: LazyLock<Result<Filter, String>> = LazyLock::new(|| compile(Place::Namespace));
static HOST: LazyLock<Result<Filter, String>> = LazyLock::new(|| compile(Place::Host));

/// Makes them, before they are needed.
pub(super) fn prepare() {
    LazyLock::force(&NAMESPACE);
    LazyLock::force(&HOST);
}

/// The filter.
pub(super) fn of(place: Place) -> Result<&'static Filter, Failure> {
    let made = match place {
        Place::Namespace => &*NAMESPACE,
        Place::Host => &*HOST,
    };
    made.as_ref().step("seccomp")
}

/// What is allowed by its number alone, and behind it what is allowed by an argument; the rest is absent.
fn compile(place: Place) -> Result<Filter, String> {
    let told = |error: seccompiler::BackendError| error.to_string();
    let conditions = conditions(place).map_err(told)?;
    let free = FREE.iter().filter(|call| !conditions.contains_key(*call)).map(|call| u32::try_from(*call));
    let free = free.collect::<Result<BTreeSet<u32>, _>>().map_err(|error| error.to_string())?;
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(conditions, absent, SeccompAction::Allow, ARCH).map_err(told)?;
    let conditional = Filter::try_from(filter).map_err(told)?;
    Ok([free::allowing(&free)?, conditional].concat())
}

/// Calls of which an argument is looked at.
fn conditions(place: Place) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules = BTreeMap::new();
    let one_of = |arg: u8, values: &[u64]| -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        values.iter().map(|value| rule(arg, SeccompCmpOp::Eq, *value)).collect()
    };
    rules.insert(libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(NAMESPACES), 0)?]);
    rules.insert(libc::SYS_ioctl, one_of(1, &CONTROLS)?);
    rules.insert(libc::SYS_prctl, one_of(0, &PROCESS_CONTROLS)?);
    rules.insert(libc::SYS_personality, one_of(0, &PERSONALITIES)?);
    // Only in a network of its own: a socket file of the host answers whoever may open its directory, which Landlock
    // does not see.
    if place == Place::Namespace {
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(|family| family.unsigned_abs().into());
        rules.insert(libc::SYS_socket, one_of(0, &families)?);
    }
    rules.insert(libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX.unsigned_abs().into()])?);
    Ok(rules)
}

/// What the kernel itself looks at of such an argument is 32 bits.
fn rule(arg: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(arg, SeccompCmpArgLen::Dword, operator, value)?])
}

/// Puts it in force for this process and all that it starts.
pub(super) fn enter(filter: &Filter) -> Result<(), Failure> {
    seccompiler::apply_filter(filter).step("seccomp")
}

#[cfg(test)]
mod tests;
