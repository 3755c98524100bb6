//! Looks for an Ollama on loopback, when no model was named.

use std::time::Duration;

use tokio::time::timeout;

use super::door::Door;
use super::http::Client;
use crate::config::model::OLLAMA_ADDRESS;

/// Loopback answers at once or not at all.
const PROBE_TIME: Duration = Duration::from_millis(300);

/// The first model that an Ollama on loopback has.
pub async fn ollama() -> Option<String> {
    let client = Client::new(Door::web(&format!("http://{OLLAMA_ADDRESS}"), None).ok()?);
    let models = timeout(PROBE_TIME, client.get("/v1/models")).await.ok()?.ok()?;
    models["data"][0]["id"].as_str().map(str::to_owned)
}
