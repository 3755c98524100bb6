//! Compiles the JavaScript engine to WebAssembly.
//!
//! QuickJS-ng's C source comes out of the crate `rquickjs-sys`, which is in the
//! lock file with its checksum and is not built itself. Clang, its linker, the
//! WASI C library and Clang's runtime for wasm32 come from the system, as
//! `scripts/deps.list` says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crate that holds the source.
const SOURCE: &str = "rquickjs-sys";
/// The target under which that crate is a dependency.
const TARGET: &str = "wasm32-wasip1";
/// Ours; includes `quickjs.c`.
const SHIM: &str = "src/js/guest/shim.c";
/// What QuickJS consists of beside that file.
const PARTS: [&str; 3] = ["libregexp.c", "libunicode.c", "dtoa.c"];
/// Bytes of the C stack. It lies below everything else, so that an overflow traps.
const STACK_BYTES: u32 = 1 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SHIM}");
    if let Err(why) = build() {
        println!("cargo::error=the JavaScript engine cannot be built: {why}");
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let source = source()?;
    println!("cargo::rerun-if-changed={}", source.display());
    let mut objects = vec![compile(Path::new(SHIM), &source, &out)?];
    for part in PARTS {
        objects.push(compile(&source.join(part), &source, &out)?);
    }
    let mut link = clang();
    // Only what the shim exports; no start-up files, which would bring in command line and environment.
    link.args(["-mexec-model=reactor", "-nostartfiles", "-Wl,--no-entry", "-Wl,--stack-first", "-Wl,--strip-all"]);
    link.arg(format!("-Wl,-z,stack-size={STACK_BYTES}"));
    link.args(&objects).arg("-o").arg(out.join("quickjs.wasm"));
    run(&mut link, "see `scripts/deps.list`: it takes clang, lld, wasi-libc and libclang-rt-dev-wasm32")
}

/// Where cargo keeps QuickJS's files.
fn source() -> Result<PathBuf, String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]);
    // Flags for the machine that all else is built for mean nothing to that target.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let package = packages.iter().find(|package| package["name"] == SOURCE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.ok_or_else(|| format!("`{SOURCE}` is not among the dependencies"))?;
    Ok(Path::new(manifest).with_file_name("quickjs"))
}

fn compile(file: &Path, source: &Path, out: &Path) -> Result<PathBuf, String> {
    let object = out.join(file.with_extension("o").file_name().unwrap_or_default());
    let mut compile = clang();
    // The warnings are about files that are not ours.
    compile.args(["-O2", "-std=gnu11", "-D_GNU_SOURCE", "-DNDEBUG", "-w", "-c"]);
    compile.arg("-I").arg(source).arg(file).arg("-o").arg(&object);
    run(&mut compile, "see `scripts/deps.list`: it takes clang and wasi-libc")?;
    Ok(object)
}

fn clang() -> Command {
    let mut clang = Command::new("clang");
    clang.arg("--target=wasm32-wasi");
    clang
}

fn run(command: &mut Command, help: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("`{name}` does not start: {error}; {help}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{name}` failed; {help}\n{}", String::from_utf8_lossy(&output.stderr)))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("cargo sets no `{name}`"))
}
