//! `are session …`

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

/// `are session …`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// List sessions, the latest first
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Only those in whose prompts or answers all these words stand, in any case
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Show one session
    Show {
        /// Its key
        key: String,
        /// How long each model call, tool and question of each turn took
        #[arg(long)]
        timeline: bool,
    },
    /// Print a session's events
    Events {
        /// Its key
        key: String,
        /// Only events after this one
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        /// Go on printing events as they come
        #[arg(long)]
        follow: bool,
    },
    /// Regenerate the derived records from the recorded inputs and name the first that differs
    Replay {
        /// Its key
        key: String,
        /// Decide under the rules of this directory, or this profile
        #[arg(long, value_name = "DIR")]
        policy: Option<String>,
        /// Re-execute also what another version of the engine wrote
        #[arg(long)]
        reexecute: bool,
    },
    /// Begin a new session from a copy of this one
    Fork {
        /// Its key, or `KEY/N` to copy up to the end of turn N
        key: String,
    },
    /// Have the model sum up a session's turns; the summary stands for them in requests, and nothing is erased
    Compact {
        /// Its key
        key: String,
        /// Take the latest summary back instead, and show results whole again
        #[arg(long)]
        undo: bool,
    },
    /// Write a session's journal, byte for byte, as JSON lines
    Export {
        /// Its key
        key: String,
        /// File to write, which must not exist; stdout when absent
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// List a session's artifacts, or write one
    Artifact {
        /// Its key
        key: String,
        /// Which, as the list shows it; its beginning is enough
        digest: Option<String>,
        /// File to write, which must not exist; stdout when absent
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "digest")]
        output: Option<PathBuf>,
    },
    /// Erase what was said in a session
    Delete {
        /// Its key
        key: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Only say what would be erased
        #[arg(long)]
        dry_run: bool,
    },
}
