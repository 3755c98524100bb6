//! Packs the console, and tells the linker how to lay the program out.
//!
//! Every file below `console/` is compressed once, under one digest that stands
//! in the address of all of them.
//!
//! Its modules name each other by relative paths, so a browser may keep all of
//! them for ever, and never mixes those of two versions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Names of the functions that a server runs, those of its start first; `scripts/layout.sh` writes them.
const LAYOUT: &str = "layout.txt";
/// Where the files are.
const CONSOLE: &str = "console";
/// The pages that say what error codes mean; packed as one file.
const ERRORS: &str = "../../docs/errors";
/// The page that names the others; served on its own.
const PAGE: &str = "index.html";
/// Stands in the page for the address of the others.
const ROOT_MARK: &str = "{{root}}";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={CONSOLE}");
    println!("cargo::rerun-if-changed={ERRORS}");
    println!("cargo::rerun-if-changed={LAYOUT}");
    // The compiler's own linker for this target is LLD, which folds functions that came out the same; others know no such option.
    let is_lld = env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu")
        && env::var("CARGO_ENCODED_RUSTFLAGS")
            .is_ok_and(|flags| !flags.contains("linker") && !flags.contains("fuse-ld"));
    if is_lld {
        // With ends of strings shared, too.
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all,-O2");
        if let Err(error) = lay_out() {
            println!("cargo::error=the list of functions is not readable: {error}");
        }
        if loads_packed_relocations() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
    if let Err(error) = pack() {
        println!("cargo::error=the console cannot be packed: {error}");
    }
}

/// The kernel maps what is touched with its neighbours, 64 KiB at a time: functions that run lie beside each other, not
/// among those that never do. Names of another build are passed over.
fn lay_out() -> io::Result<()> {
    // A copy: what the linker is told is kept with what was built, which another clone may use after this one is gone.
    let list = out_dir()?.join(LAYOUT);
    fs::copy(LAYOUT, &list)?;
    println!("cargo::rustc-link-arg-bins=-Xlinker");
    println!("cargo::rustc-link-arg-bins=--symbol-ordering-file={}", list.display());
    println!("cargo::rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    // The names are those of one profile.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-env=ARE_LAYOUT={}", list.display());
    }
    Ok(())
}

fn out_dir() -> io::Result<PathBuf> {
    env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("OUT_DIR is not set"))
}

/// Relocations that are packed take 0.1 MB instead of 2.7, and a loader that has known them since glibc 2.36. What is
/// built on an older system runs there too.
fn loads_packed_relocations() -> bool {
    let is_own = env::var("HOST").ok() == env::var("TARGET").ok();
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let answer = String::from_utf8_lossy(&answer.stdout);
    let version = answer.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let number = |text: &str| text.split('.').next().and_then(|number| number.parse::<u32>().ok());
    is_own && version.and_then(|(major, minor)| Some((number(major)?, number(minor)?))).is_some_and(|is| is >= (2, 36))
}

fn pack() -> io::Result<()> {
    let out = out_dir()?;
    let mut files = Vec::new();
    collect(Path::new(CONSOLE), "", &mut files)?;
    files.push(("errors.json".to_owned(), errors()?));
    files.sort();
    let mut hasher = Sha256::new();
    for (name, bytes) in &files {
        hasher.update(name.len().to_le_bytes());
        hasher.update(name);
        hasher.update(bytes.len().to_le_bytes());
        hasher.update(bytes);
    }
    let digest: String = hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut table = format!("pub(super) const DIGEST: &str = \"{digest}\";\npub(super) const FILES: &[File] = &[\n");
    for (at, (name, bytes)) in files.iter().enumerate() {
        let text;
        let bytes = if name == PAGE {
            text = String::from_utf8_lossy(bytes).replace(ROOT_MARK, &format!("/console/{digest}"));
            text.as_bytes()
        } else {
            bytes
        };
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes)?;
        let place = out.join(format!("console-{at}.gz"));
        fs::write(&place, packed.finish()?)?;
        // Writing to a `String` does not fail.
        let written = writeln!(table, "    File {{ name: {name:?}, packed: include_bytes!({place:?}) }},");
        debug_assert!(written.is_ok());
    }
    table.push_str("];\n");
    fs::write(out.join("console.rs"), table)
}

/// Texts by code.
fn errors() -> io::Result<Vec<u8>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(ERRORS)? {
        let path = entry?.path();
        let code = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if code.starts_with("ARE-") {
            texts.insert(code, fs::read_to_string(&path)?);
        }
    }
    serde_json::to_vec(&texts).map_err(io::Error::other)
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else if ["html", "css", "js", "mjs", "svg"].iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
            files.push((name, fs::read(entry.path())?));
        }
    }
    Ok(())
}
