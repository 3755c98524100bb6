//! Finds the server of a verb: `ARE_URL`, else the data directory's socket,
//! else the engine in this process, serving that socket meanwhile.

use std::time::Duration;

use are_core::error::{Code, Fault};
use tokio::time::{Instant, sleep};

use super::Env;
use crate::client::{Client, Door};
use crate::wiring::{self, Need, Running};

/// How long another process is waited for that holds the data directory but does not serve yet, or any more.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// Pause between two looks.
const SETTLE_PAUSE: Duration = Duration::from_millis(25);

/// A server, wherever it runs.
pub(super) struct Served {
    client: Client,
    here: Option<Running>,
}

impl Served {
    /// Finds it or starts it.
    pub(super) async fn find(env: &Env, need: Need) -> Result<Self, Fault> {
        let config = &env.config;
        if let Some(url) = &config.url {
            let door = Door::web(&url.value, config.token.as_ref().map(|token| token.value.clone()))?;
            if door.is_exposed() {
                env.out.warn("`ARE_URL` is plain http: the token and all that is said can be read on the way");
            }
            return Ok(Self { client: Client::new(door), here: None });
        }
        let door = Door::Socket(config.socket());
        let begun = Instant::now();
        loop {
            if door.is_open().await {
                let client = Client::new(door.clone());
                match client.ready().await {
                    // A verb's engine that is about to end, or has ended since: what it is asked for now it refuses.
                    Err(fault) if is_ending(&fault) && begun.elapsed() < SETTLE_TIME => {
                        sleep(SETTLE_PAUSE).await;
                        continue;
                    }
                    Ok(()) | Err(_) => return Ok(Self { client, here: None }),
                }
            }
            match wiring::start_here(config, need).await {
                Ok(running) => return Ok(Self { client: Client::new(door), here: Some(running) }),
                Err(fault) if fault.code == Code::DATA_DIR_LOCKED && begun.elapsed() < SETTLE_TIME => {
                    sleep(SETTLE_PAUSE).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// True when the server is another process.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.here.is_none()
    }

    /// The model that is used when nobody wishes for another, where the engine runs in this process.
    pub(super) fn own_model(&self) -> Option<&str> {
        self.here.as_ref().map(|running| running.facts().model.as_str())
    }

    /// Ends the engine in this process, if it runs here; an open turn goes on at the next start.
    pub(super) async fn end(self) -> Result<(), Fault> {
        match self.here {
            Some(running) => running.end().await,
            None => Ok(()),
        }
    }
}

fn is_ending(fault: &Fault) -> bool {
    [Code::UNAVAILABLE, Code::SERVER_UNREACHABLE].contains(&fault.code)
}
