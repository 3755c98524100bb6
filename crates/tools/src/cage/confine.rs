//! Landlock: what the command may open, signal and connect to.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::init::Place;
use super::spec::{Access, Bound};
use super::supervisor::{Failure, Step};
use super::sys;

/// A set of rules that is not in force.
pub(super) struct Rules(RulesetCreated);

/// What the command sees in its own root beside what it was given.
const OWN: [(&str, Access); 5] = [
    ("/proc", Access::Read),
    ("/etc", Access::Read),
    ("/tmp", Access::Write),
    ("/dev/shm", Access::Write),
    ("/dev", Access::Read),
];

/// Makes the rules for what the command sees in the root that this process is in.
pub(super) fn rules(place: Place, bounds: &[Bound]) -> Result<Rules, Failure> {
    let version = sys::landlock_abi();
    if version < 1 {
        return Err("this kernel has none").step("landlock");
    }
    let abi = ABI::from(version);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .step("landlock")?;
    // In a network of its own the command may use it; on the host's it has none.
    if place == Place::Host && version >= 4 {
        rules = rules.handle_access(AccessNet::from_all(abi)).step("landlock")?;
    }
    if version >= 6 {
        rules = rules.scope(Scope::from_all(abi)).step("landlock")?;
    }
    let mut created = rules.create().step("landlock")?.set_compatibility(CompatLevel::HardRequirement);
    if place == Place::Namespace {
        // The names of the own root, all of which are there to be seen.
        let root = PathFd::new("/").step("landlock")?;
        created = created.add_rule(PathBeneath::new(root, AccessFs::ReadDir)).step("landlock")?;
    }
    let own = OWN.iter().filter(|_| place == Place::Namespace).map(|(path, access)| (Path::new(*path), *access));
    // Outside of a namespace only what a program reads about itself; other processes' secrets are kept by Landlock's
    // rule that nobody outside is traced.
    let proc = [(Path::new("/proc"), Access::Read)].into_iter().filter(|_| place == Place::Host);
    let given = bounds.iter().map(|bound| (bound.path.as_path(), bound.access));
    for (path, access) in own.chain(proc).chain(given) {
        created = allow(created, path, access, abi)?;
    }
    Ok(Rules(created))
}

fn allow(rules: RulesetCreated, path: &Path, access: Access, abi: ABI) -> Result<RulesetCreated, Failure> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let everything = AccessFs::from_all(abi);
    let mut wanted: BitFlags<AccessFs> = match access {
        Access::Read => AccessFs::from_read(abi),
        // Devices are made by nobody, and commands to them are for what was bound as one.
        Access::Write => everything & !(AccessFs::MakeChar | AccessFs::MakeBlock),
        Access::Device => (AccessFs::ReadFile | AccessFs::WriteFile) & everything,
    };
    if !path.is_dir() {
        wanted &= AccessFs::from_file(abi);
    }
    rules.add_rule(PathBeneath::new(opened, wanted)).step("landlock")
}

/// Puts them in force for this process and all that it starts.
pub(super) fn enter(rules: Rules) -> Result<(), Failure> {
    let status = rules.0.restrict_self().step("landlock")?;
    if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
        Ok(())
    } else {
        Err("it was enforced in part only").step("landlock")
    }
}
