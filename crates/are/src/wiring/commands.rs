//! The cage of native commands: its settings, and what of it holds here.

use are_core::error::Fault;
use are_tools::cage::Report;
use are_tools::{CageOptions, CheckpointOptions, Registry};

use super::builtin;
use crate::config::Config;

/// What was found of the cage, in the data directory.
const REMEMBERED: &str = "cage";

/// How commands are started.
pub fn options(config: &Config) -> CageOptions {
    CageOptions {
        home: config.guard.home.clone(),
        path: config.program_path.clone(),
        required: config.cage_require.value.clone(),
        egress: config.egress.value.clone(),
        remembered: Some(config.data_dir.value.join(REMEMBERED)),
        ..CageOptions::new(config.commands_dir.clone())
    }
}

/// The tools, commands among them where a cage holds.
pub(super) fn registry(config: &Config, report: &Report) -> Result<Registry, Fault> {
    let checkpoints = CheckpointOptions::within(config.data_dir.value.join("checkpoints"));
    builtin(config)?.keeping(checkpoints).caged(options(config), report)
}

/// The protections that are off: the settings', and commands where they are not served.
pub(super) fn off(config: &Config, report: &Report) -> Vec<String> {
    let refused = report.refusal().map(|why| format!("commands (not served, no cage holds here: {why})"));
    config.off().into_iter().chain(refused).chain(no_egress(config, report)).collect()
}

/// Why commands reach nothing although something was granted.
pub fn no_egress(config: &Config, report: &Report) -> Option<String> {
    let is_wanted = !config.egress.value.is_empty() && report.is_served() && !report.has_namespaces();
    is_wanted.then(|| {
        "network of commands (`egress` has no effect: this machine allows no network namespaces, and without one a \
         command could pass by the proxy)"
            .to_owned()
    })
}
