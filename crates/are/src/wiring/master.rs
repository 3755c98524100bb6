//! The master key: from the environment, from a command of the operator's, or from a file of the data directory.
//!
//! It is looked for once, at start, and never asked for again. What cannot be
//! had is no reason not to start: whatever needs no secret works. Only the file
//! is ever written by this program, and only where there are no secrets yet, or
//! when a new key is asked for.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_engine::secrets::{Master, MasterKeeper, MasterKey};
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::watch::blocking;
use crate::config::{Config, files};

/// How long the command may take: it may have to unlock something, but nobody waits for a person here.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of its output.
const OUTPUT_BYTES_MAX: u64 = 16 << 10;
/// Keys that are given at once: the one in use, and those before it.
const KEYS_MAX: usize = 16;

/// Finds the keys.
pub(super) async fn find(config: &Config) -> Master {
    if let Some(key) = &config.master_key {
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
        Ok(None) => Master { keeper: Some(keeper(path)), ..read(source, "") },
        Ok(Some(text)) => Master { keeper: Some(keeper(path)), ..read(source, &text) },
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

fn keeper(path: PathBuf) -> MasterKeeper {
    Arc::new(move |keys: Vec<MasterKey>| {
        let path = path.clone();
        Box::pin(async move {
            let lines: Vec<Zeroizing<String>> = keys.iter().map(MasterKey::to_text).collect();
            let text = Zeroizing::new(lines.iter().map(|line| format!("{}\n", line.as_str())).collect::<String>());
            blocking(move || files::write_master(&path, &text)).await?
        })
    })
}

/// What the command prints. What it says on stderr is its own affair, and may hold anything.
async fn run(command: &str) -> Result<Zeroizing<String>, String> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let mut text = Zeroizing::new(String::new());
    let reading = async {
        let Some(stdout) = child.stdout.take() else { return Err("it has no output".to_owned()) };
        let mut stdout = stdout.take(OUTPUT_BYTES_MAX + 1);
        stdout.read_to_string(&mut text).await.map_err(|_| "its output is not text".to_owned())?;
        let status = child.wait().await.map_err(|error| format!("it cannot be waited for: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("it failed ({status})")) }
    };
    // Dropped at the time-out with the child in it, which is killed then.
    match tokio::time::timeout(COMMAND_PATIENCE, reading).await {
        Ok(Ok(())) if text.len() as u64 > OUTPUT_BYTES_MAX => {
            Err(format!("it prints more than {OUTPUT_BYTES_MAX} bytes"))
        }
        Ok(Ok(())) if text.trim().is_empty() => Err("it prints nothing".to_owned()),
        Ok(Ok(())) => Ok(text),
        Ok(Err(why)) => Err(why),
        Err(_elapsed) => Err(format!("it took longer than {} s", COMMAND_PATIENCE.as_secs())),
    }
}
