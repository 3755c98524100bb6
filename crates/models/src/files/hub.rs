//! Fetches a whole model file over HTTPS.

use std::time::Duration;

use are_core::error::{Code, Fault};
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use url::Url;

use super::sink::{Sink, other};
use crate::http::{Client, Response, Timeouts};

/// Hops from the hub to the store that holds the file; two are usual.
const REDIRECTS_MAX: usize = 5;
/// Chunks on their way from the network to the disk.
const CHUNKS_QUEUED: usize = 16;
/// Short enough that a machine without the hub goes on to the mirror at once.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(20),
    idle: Duration::from_secs(30),
    // A gigabyte over a slow line; silence ends it sooner.
    exchange: Duration::from_secs(6 * 60 * 60),
    backoff: Duration::from_secs(1),
};

/// Pours the file at `url` into the sink, which comes back with it.
pub(super) async fn pour(url: &str, size: u64, mut sink: Sink) -> Result<Sink, Fault> {
    let mut response = open(url).await?.limited_to(size);
    let (chunks, mut arriving) = mpsc::channel::<bytes::Bytes>(CHUNKS_QUEUED);
    // Hashing and writing belong on a thread that may block.
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = arriving.blocking_recv() {
            sink.write(&chunk)?;
        }
        Ok(sink)
    });
    let exchange = async {
        while let Some(chunk) = response.chunk().await.map_err(|error| other(&error.to_string()))? {
            if chunks.send(chunk).await.is_err() {
                // The writer ended early and says why when it is joined.
                break;
            }
        }
        drop(chunks);
        Ok(())
    };
    let arrived = match tokio::time::timeout(TIMEOUTS.exchange, exchange).await {
        Ok(arrived) => arrived,
        Err(_elapsed) => Err(other("the hub is too slow")),
    };
    let written = writer.await.map_err(|_panicked| other("writing the file failed"))?;
    // A full disk is the cause, a closed channel only its consequence.
    written.and_then(|sink| arrived.map(|()| sink))
}

async fn open(url: &str) -> Result<Response, Fault> {
    let client = Client::new(TIMEOUTS);
    let mut url = Url::parse(url).map_err(|error| other(&error.to_string()))?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for _ in 0..=REDIRECTS_MAX {
        let response = client.get(url, headers.clone()).await.map_err(|error| other(&error.to_string()))?;
        match response.redirect() {
            Some(target) if target.scheme() == "https" => url = target,
            Some(_) => return Err(other("the hub redirects to an address that is not https")),
            None if response.status().is_success() => return Ok(response),
            None => return Err(other(&format!("the hub answers {}", response.status()))),
        }
    }
    Err(Fault::new(Code::MODEL_PULL_FAILED, "the hub redirects without end", "try again later"))
}
