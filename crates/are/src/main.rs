//! The program `are`.

use std::process::ExitCode;

use are::cli;
use are::cpu;
use are_core::error::{Code, Fault};

fn main() -> ExitCode {
    // Before anything else: the supervisor of a command is this program too, and has one thread and no settings.
    if let Some(code) = are_tools::cage::supervise() {
        return code;
    }
    let missing = cpu::missing();
    if !missing.is_empty() {
        let out = cli::output::Output::of_process(false);
        out.fault(&Fault::new(
            Code::CPU_TOO_OLD,
            format!("this processor lacks {}", missing.join(", ")),
            "use a newer processor, or build for this one: `RUSTFLAGS= cargo build --release -p are`",
        ));
        return cli::exit::Exit::of(Code::CPU_TOO_OLD).into();
    }
    cli::main().into()
}
