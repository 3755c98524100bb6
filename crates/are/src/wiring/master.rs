//! The master key: from the environment, the desktop's keyring, a command of the operator's, or a file of the data directory.
//!
//! It is looked for once, at start, and never asked for again. What cannot be
//! had is no reason not to start: whatever needs no secret works. Only keyring
//! and file are ever written by this program, and only where there are no
//! secrets yet, or when a new key is asked for.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_engine::secrets::{Master, MasterKeeper, MasterKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::watch::blocking;
use crate::config::{Config, files};

/// How long the command may take: it may have to unlock something, but nobody waits for a person here.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of its output.
const OUTPUT_BYTES_MAX: u64 = 16 << 10;
/// Keys that are given at once: the one in use, and those before it.
const KEYS_MAX: usize = 16;

/// The value of `master_key` that means the keyring.
const KEYRING: &str = "keyring";
/// The program that speaks with keyrings, over D-Bus (Secret Service).
const SECRET_TOOL: &str = "secret-tool";
/// Its exit code where nothing is found, and for most else that goes wrong.
const NOT_FOUND: i32 = 1;

/// Finds the keys of a store.
pub(super) async fn find(config: &Config, store: Uuid) -> Master {
    if let Some(key) = &config.master_key {
        if key.value.expose().trim() == KEYRING {
            return keyring(store).await;
        }
        return read(key.origin.to_string(), key.value.expose());
    }
    if let Some(command) = &config.master_key_command {
        let source = format!("the command of `master_key_command` ({})", command.origin);
        return match run(&command.value).await {
            Ok(output) => read(source, &output),
            Err(why) => refused(source, &why),
        };
    }
    let path = config.data_dir.value.join(files::MASTER_KEY);
    let source = format!("the file `{}`", path.display());
    match files::read_master(&path) {
        Ok(text) => Master { keeper: Some(keeper(path)), ..read(source, text.as_ref().map_or("", |text| text)) },
        Err(error) => refused(source, &format!("it cannot be read: {error}")),
    }
}

/// The keys in a text, the one in use first.
fn read(source: String, text: &str) -> Master {
    let words = text.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty());
    let keys: Option<Vec<MasterKey>> = words.take(KEYS_MAX).map(MasterKey::read).collect();
    match keys {
        Some(keys) => Master { source, keys, fault: None, keeper: None },
        None => refused(source, "it gives something that is no key of 32 bytes, as 64 hexadecimal digits or base64"),
    }
}

fn refused(source: String, why: &str) -> Master {
    let fault = Fault::new(
        Code::SECRETS_LOCKED,
        format!("the secrets cannot be opened: the master key comes from {source}, and {why}"),
        "mend that and start the server again; nothing was changed",
    );
    Master { source, keys: Vec::new(), fault: Some(fault), keeper: None }
}

fn to_text(keys: &[MasterKey]) -> Zeroizing<String> {
    let lines: Vec<Zeroizing<String>> = keys.iter().map(MasterKey::to_text).collect();
    Zeroizing::new(lines.iter().map(|line| format!("{}\n", line.as_str())).collect::<String>())
}

fn keeper(path: PathBuf) -> MasterKeeper {
    Arc::new(move |keys: Vec<MasterKey>| {
        let path = path.clone();
        Box::pin(async move {
            let text = to_text(&keys);
            blocking(move || files::write_master(&path, &text)).await?
        })
    })
}

/// The keys that the desktop's keyring has for a store. They stand there under the store's own id, so that several
/// stores of one user have a key each, wherever their directories are.
async fn keyring(store: Uuid) -> Master {
    let source = format!("the keyring (`{SECRET_TOOL} lookup service are store {store}`)");
    let mut lookup = tokio::process::Command::new(SECRET_TOOL);
    let keeper: MasterKeeper = Arc::new(move |keys| Box::pin(put_into_keyring(store, keys)));
    match output(lookup.args(["lookup", "service", "are", "store", &store.to_string()]), None).await {
        Ok(Output { is_done: true, text, .. }) => Master { keeper: Some(keeper), ..read(source, &text) },
        // It says nothing where the keyring was asked and has none; a keyring that could not be asked it complains of.
        Ok(Output { text, complaint, code: Some(NOT_FOUND), .. }) if text.is_empty() && complaint.trim().is_empty() => {
            Master { keeper: Some(keeper), ..read(source, "") }
        }
        Ok(Output { complaint, .. }) => refused(source, &complained(&complaint)),
        Err(why) => refused(source, &why),
    }
}

async fn put_into_keyring(store: Uuid, keys: Vec<MasterKey>) -> Result<(), Fault> {
    let mut put = tokio::process::Command::new(SECRET_TOOL);
    put.args(["store", "--label=ARE master key", "service", "are", "store", &store.to_string()]);
    let why = match output(&mut put, Some(to_text(&keys))).await {
        Ok(Output { is_done: true, .. }) => return Ok(()),
        Ok(Output { complaint, .. }) => complained(&complaint),
        Err(why) => why,
    };
    let help = "unlock the keyring, or leave `master_key` out so that the key is kept in the data directory";
    Err(Fault::new(Code::SECRETS_LOCKED, format!("the keyring did not take the master key: {why}"), help))
}

fn complained(complaint: &str) -> String {
    let line = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    format!("`{SECRET_TOOL}` failed: {}", line.trim())
}

/// What the command prints. What it says on stderr is its own affair, and may hold anything.
async fn run(command: &str) -> Result<Zeroizing<String>, String> {
    let mut shell = tokio::process::Command::new("/bin/sh");
    let Output { is_done, text, .. } = output(shell.args(["-c", command]), None).await?;
    if !is_done {
        return Err("it failed".to_owned());
    }
    if text.trim().is_empty() { Err("it prints nothing".to_owned()) } else { Ok(text) }
}

/// What a program came to.
struct Output {
    is_done: bool,
    /// Its exit code, where it was not killed.
    code: Option<i32>,
    text: Zeroizing<String>,
    complaint: Zeroizing<String>,
}

/// Starts a program, says `input` to it and takes what it prints, within bounds.
async fn output(command: &mut tokio::process::Command, input: Option<Zeroizing<String>>) -> Result<Output, String> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talking = async {
        let (stdin, Some(stdout), Some(stderr)) = pipes else { return Err("it has no output".to_owned()) };
        let saying = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A program that does not listen says why by how it ends.
                drop(stdin.write_all(input.as_bytes()).await);
            }
        };
        let ((), text, complaint) = tokio::join!(saying, all_of(stdout), all_of(stderr));
        let status = child.wait().await.map_err(|error| format!("it cannot be waited for: {error}"))?;
        // What it complains of need not be text to be a complaint.
        let complaint = complaint.unwrap_or_else(Zeroizing::new);
        Ok(Output { is_done: status.success(), code: status.code(), text: text?, complaint })
    };
    // Dropped at the time-out with the child in it, which is killed then.
    let too_long = |_| format!("it took longer than {} s", COMMAND_PATIENCE.as_secs());
    tokio::time::timeout(COMMAND_PATIENCE, talking).await.map_err(too_long)?
}

async fn all_of(pipe: impl tokio::io::AsyncRead + Unpin) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let mut pipe = pipe.take(OUTPUT_BYTES_MAX + 1);
    pipe.read_to_string(&mut text).await.map_err(|_| "its output is not text".to_owned())?;
    if text.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(format!("it prints more than {OUTPUT_BYTES_MAX} bytes"));
    }
    Ok(text)
}
