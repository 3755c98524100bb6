//! The filter decides as the list says, whichever way it is put.

use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();

/// What a program says of a call, as the kernel runs it.
fn decided(program: &[seccompiler::sock_filter], number: u32, arch: u32, args: [u64; 6]) -> u32 {
    let halves = args.iter().flat_map(|arg| [(arg & u64::from(u32::MAX)) as u32, (arg >> 32) as u32]);
    let data: Vec<u32> = [number, arch, 0, 0].into_iter().chain(halves).collect();
    let (mut at, mut value) = (0, 0);
    loop {
        let one = &program[at];
        at += 1;
        let is = match u32::from(one.code) {
            0x20 => {
                value = data[one.k as usize / 4];
                continue;
            }
            0x54 => {
                value &= one.k;
                continue;
            }
            0x05 => {
                at += one.k as usize;
                continue;
            }
            0x06 => return one.k,
            0x15 => value == one.k,
            0x25 => value > one.k,
            0x35 => value >= one.k,
            0x45 => value & one.k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if is { one.jt } else { one.jf });
    }
}

/// The same list as one rule for each call, which is what the compiler of filters is made for.
fn by_rules(place: Place) -> Filter {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FREE.iter().map(|call| (*call, Vec::new())).collect();
    rules.extend(conditions(place).expect("rules"));
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, absent, SeccompAction::Allow, ARCH).and_then(TryInto::try_into).expect("a filter")
}

#[test]
fn ranges_decide_as_a_rule_for_each_call_does() {
    let mut count = 0;
    for place in [Place::Namespace, Place::Host] {
        let (short, long) = (compile(place).expect("a filter"), by_rules(place));
        assert!(short.len() * 3 < long.len(), "{} of {}", short.len(), long.len());
        let namespace = libc::CLONE_NEWUSER as u64;
        let args = [0, 1, 2, 10, 16, namespace, libc::TCGETS, libc::TIOCSTI, 0xffff_ffff, 1 << 32, u64::MAX];
        let numbers = (0..700).chain([u32::MAX]).flat_map(|number| [number, number | 0x4000_0000]);
        for number in numbers {
            for arg in args {
                let args = [arg; 6];
                let expected = decided(&long, number, ARCH_VALUE, args);
                assert_eq!(decided(&short, number, ARCH_VALUE, args), expected, "{place:?} {number} {arg:#x}");
                count += 1;
            }
            let other = decided(&short, number, ARCH_VALUE ^ 1, [0; 6]);
            assert_eq!(other, libc::SECCOMP_RET_KILL_PROCESS, "{number} of another architecture");
        }
    }
    println!("{count} calls");
}

#[test]
fn what_is_not_on_the_list_does_not_exist() {
    let filter = compile(Place::Namespace).expect("a filter");
    let decided = |call: i64, arg: u64| decided(&filter, u32::try_from(call).expect("a number"), ARCH_VALUE, [arg; 6]);
    for call in [libc::SYS_ptrace, libc::SYS_mount, libc::SYS_bpf, libc::SYS_io_uring_setup, libc::SYS_clone3] {
        assert_eq!(decided(call, 0), ABSENT, "{call}");
    }
    for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_openat, libc::SYS_exit_group] {
        assert_eq!(decided(call, u64::MAX), ALLOW, "{call}");
    }
    assert_eq!(decided(libc::SYS_clone, libc::SIGCHLD.unsigned_abs().into()), ALLOW);
    assert_eq!(decided(libc::SYS_clone, libc::CLONE_NEWNS.unsigned_abs().into()), ABSENT);
    assert_eq!(decided(libc::SYS_ioctl, libc::TIOCSTI), ABSENT);
}
