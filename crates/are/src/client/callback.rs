//! Where a browser comes back to after a person has agreed to a login: on this machine alone, for one answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use url::form_urlencoded;

/// The path of the answer.
const PATH: &str = "/callback";
/// How long the page that the browser is shown may take.
const PAGE_TIME: Duration = Duration::from_secs(2);

/// What is shown in the browser.
const DONE: &str = "The answer has arrived; the terminal says what came of it. You can close this page.\n";
const OTHER: &str = "This is not the answer that is waited for. Open the address that the terminal shows.\n";

/// Waits for a browser.
pub struct Callback {
    listener: TcpListener,
    address: SocketAddr,
}

struct Expected {
    state: String,
    redirect_uri: String,
    arrived: mpsc::Sender<String>,
}

impl Callback {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where the browser is to be sent.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The address that the browser was sent to, once it comes with this state; others are told that they are wrong.
    ///
    /// # Errors
    /// It cannot be listened any more.
    pub async fn answer(self, state: &str) -> io::Result<String> {
        let (tell, mut arrived) = mpsc::channel(1);
        let (end, ended) = oneshot::channel::<()>();
        let expected = Expected { state: state.to_owned(), redirect_uri: self.redirect_uri(), arrived: tell };
        let router = Router::new().route(PATH, get(arrive)).with_state(Arc::new(expected));
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async move {
            // silent-ok: that nobody waits any more is the end too.
            let _ended = ended.await;
        });
        let mut serving = std::pin::pin!(serving.into_future());
        // Both branches are cancel-safe.
        let answer = tokio::select! {
            answer = arrived.recv() => answer.ok_or_else(|| io::Error::other("nobody waits for an answer"))?,
            ended = &mut serving => {
                ended?;
                return Err(io::Error::other("the way back from the browser has ended"));
            }
        };
        drop(end);
        if timeout(PAGE_TIME, serving).await.is_err() {
            tracing::debug!("the browser did not take its page in time");
        }
        Ok(answer)
    }
}

async fn arrive(State(expected): State<Arc<Expected>>, uri: Uri) -> (StatusCode, &'static str) {
    let query = uri.query().unwrap_or_default();
    let is_it = form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "state" && value == expected.state);
    if !is_it {
        return (StatusCode::BAD_REQUEST, OTHER);
    }
    // silent-ok: one answer is enough; a browser that asks again is shown the same.
    let _sent = expected.arrived.try_send(format!("{}?{query}", expected.redirect_uri));
    (StatusCode::OK, DONE)
}
