//! `componentize SOURCE.c WORLD.wit OUT.wasm [FLAG…]`: a component of one C file that needs no library.
//!
//! What `clang`, `wasm-tools component embed` and `wasm-tools component new` do one after the other, for the example
//! in C and for the kernels of the comparison; the flags are the compiler's.

use std::path::Path;
use std::process::{Command, ExitCode};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every one of them is compiled with.
const FLAGS: [&str; 4] = ["--target=wasm32-unknown-unknown", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, wit, out, flags @ ..] = args.as_slice() else {
        eprintln!("use: componentize SOURCE.c WORLD.wit OUT.wasm [FLAG…]");
        return ExitCode::from(2);
    };
    match make(source, wit, out, flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("componentize: {why}");
            ExitCode::FAILURE
        }
    }
}

fn make(source: &str, wit: &str, out: &str, flags: &[String]) -> Result<(), String> {
    let done = Command::new("clang").args(FLAGS).args(flags).args(["-o", out, source]).status();
    if !done.map_err(|error| format!("clang: {error}"))?.success() {
        return Err(format!("`{source}` does not compile"));
    }
    let core = std::fs::read(out).map_err(|error| format!("{out}: {error}"))?;
    let wit = std::fs::read_to_string(wit).map_err(|error| format!("{wit}: {error}"))?;
    let component = wrapped(core, &wit)?;
    std::fs::write(Path::new(out), component).map_err(|error| format!("{out}: {error}"))
}

/// The core module as the only world of `wit`.
fn wrapped(mut module: Vec<u8>, wit: &str) -> Result<Vec<u8>, String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("world.wit", wit).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], None).map_err(|error| format!("{error:#}"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|error| format!("{error:#}"))?;
    let encoded = ComponentEncoder::default().validate(true).module(&module).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}
