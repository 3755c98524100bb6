//! The supervisor of the cage and nothing else, for the tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    are_tools::cage::supervise().unwrap_or(ExitCode::FAILURE)
}
