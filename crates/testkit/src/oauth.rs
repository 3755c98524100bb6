//! A server of tools on loopback that serves only who logs in, with the place to log in at beside it.
//!
//! It speaks both by hand and checks what it is sent as strictly as the
//! standards allow: the verifier of a code, where the code goes, which resource
//! a token is for, that a code and a renewal are good for one use. The person
//! who agrees is a method.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::digest::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

/// How it behaves.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manner {
    /// Seconds that a token is said to live; it does until [`OauthServer::expire`].
    pub expires_in: Option<u64>,
    /// Whether a token comes with what renews it.
    pub renews: bool,
    /// Whether it registers clients.
    pub registers: bool,
    /// What clients of this id prove themselves with.
    pub client: Option<(String, String)>,
    /// Ways of tying a code to who asked for it; none is not to speak of that.
    pub challenge_methods: Vec<String>,
    /// The resource that it says it is, if not itself.
    pub resource: Option<String>,
    /// Where it says that somebody logs in, if not here.
    pub login_at: Option<String>,
    /// Who it says that gives tokens, if not itself.
    pub issuer: Option<String>,
    /// Where it says that a person agrees, if not here.
    pub agree_at: Option<String>,
    /// Where it says that tokens are given, if not here.
    pub tokens_at: Option<String>,
    /// What kind of token it gives.
    pub token_type: String,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            expires_in: Some(3_600),
            renews: true,
            registers: true,
            client: None,
            challenge_methods: vec!["S256".to_owned()],
            resource: None,
            login_at: None,
            issuer: None,
            agree_at: None,
            tokens_at: None,
            token_type: "Bearer".to_owned(),
        }
    }
}

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The body.
    pub body: String,
}

/// A code that waits to be used.
struct Code {
    challenge: String,
    redirect_uri: String,
    client_id: String,
    scopes: String,
}

#[derive(Default)]
struct State {
    manner: Manner,
    codes: BTreeMap<String, Code>,
    /// Tokens that are taken, with what they may do.
    tokens: BTreeMap<String, String>,
    /// What renews, with what it may do.
    renewals: BTreeMap<String, String>,
    count: u64,
    asked: Vec<Asked>,
    /// All tokens and renewals that were ever given.
    given: Vec<String>,
}

/// The running server; dropping it stops listening.
pub struct OauthServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Drop for OauthServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl OauthServer {
    /// Starts it on a free port of loopback.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { manner, ..State::default() }));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, address, Arc::clone(&shared)));
                // A client that hangs up is no concern of the next one.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, state, accepting }
    }

    /// `127.0.0.1:PORT`, as grants name it.
    #[must_use]
    pub fn place(&self) -> String {
        self.address.to_string()
    }

    /// Where the server of tools is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Another manner from here on.
    pub fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut lock(&self.state).manner);
    }

    /// No token is taken any more.
    pub fn expire(&self) {
        lock(&self.state).tokens.clear();
    }

    /// Nothing renews any more.
    pub fn refuse_renewals(&self) {
        lock(&self.state).renewals.clear();
    }

    /// Everything that it was asked.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// How often something was asked, by the start of its line.
    #[must_use]
    pub fn times(&self, line: &str) -> usize {
        lock(&self.state).asked.iter().filter(|asked| asked.line.starts_with(line)).count()
    }

    /// All tokens and renewals that were ever given: what nobody but the client may see.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        lock(&self.state).given.clone()
    }

    /// What a person's browser is sent to when they agree at this address; an error in it where the address is wrong.
    #[must_use]
    pub fn agree(&self, address: &str) -> String {
        self.page(address, true)
    }

    /// The same when they do not agree.
    #[must_use]
    pub fn refuse(&self, address: &str) -> String {
        self.page(address, false)
    }

    fn page(&self, address: &str, is_agreed: bool) -> String {
        let query: BTreeMap<String, String> =
            Url::parse(address).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
        lock(&self.state).page(&query, is_agreed, self.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, at: SocketAddr, state: Arc<Mutex<State>>) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = Asked {
        line: format!("{} {}", parts.method, parts.uri.path()),
        authorization,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut state = lock(&state);
    state.asked.push(asked.clone());
    let query = parts.uri.query().unwrap_or_default();
    Ok(match asked.line.as_str() {
        "GET /authorize" => {
            let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let place = state.page(&query, true, at);
            with(status(StatusCode::FOUND, &Value::Null), LOCATION, &place)
        }
        "POST /register" => state.register(&asked),
        "POST /token" => state.token(&asked, at),
        "POST /mcp" => state.serve(&asked, at),
        "GET /mcp" => state.open(&asked, at),
        "GET /.well-known/oauth-protected-resource/mcp" => {
            let own = format!("http://{at}");
            status(
                StatusCode::OK,
                &json!({
                    "resource": state.manner.resource.clone().unwrap_or_else(|| format!("{own}/mcp")),
                    "authorization_servers": [state.manner.login_at.clone().unwrap_or(own)],
                    "scopes_supported": ["read"],
                }),
            )
        }
        "GET /.well-known/oauth-authorization-server" => status(StatusCode::OK, &state.metadata(at)),
        _ => status(StatusCode::NOT_FOUND, &Value::Null),
    })
}

fn status(status: StatusCode, body: &Value) -> Answer {
    let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    if body.is_null() { answer } else { with(answer, CONTENT_TYPE, "application/json") }
}

fn with(mut answer: Answer, name: http::HeaderName, value: &str) -> Answer {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn refused(error: &str) -> Answer {
    status(StatusCode::BAD_REQUEST, &json!({ "error": error, "error_description": "\u{1b}[31mno" }))
}

impl State {
    fn metadata(&self, at: SocketAddr) -> Value {
        let own = format!("http://{at}");
        let mut metadata = json!({
            "issuer": self.manner.issuer.clone().unwrap_or_else(|| own.clone()),
            "authorization_endpoint": self.manner.agree_at.clone().unwrap_or_else(|| format!("{own}/authorize")),
            "token_endpoint": self.manner.tokens_at.clone().unwrap_or_else(|| format!("{own}/token")),
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": true,
        });
        if !self.manner.challenge_methods.is_empty() {
            metadata["code_challenge_methods_supported"] = self.manner.challenge_methods.clone().into();
        }
        if self.manner.registers {
            metadata["registration_endpoint"] = format!("{own}/register").into();
        }
        metadata
    }

    fn next(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}-of-{}-{}", Digest::of(&[what.as_bytes(), &self.count.to_be_bytes()]), self.count)
    }

    fn register(&mut self, asked: &Asked) -> Answer {
        let wish: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        if wish["redirect_uris"].as_array().is_none_or(Vec::is_empty) {
            return refused("invalid_redirect_uri");
        }
        let id = self.next("client");
        status(StatusCode::CREATED, &json!({ "client_id": id, "redirect_uris": wish["redirect_uris"] }))
    }

    /// Where a browser is sent from the page at which a person agrees.
    fn page(&mut self, query: &BTreeMap<String, String>, is_agreed: bool, at: SocketAddr) -> String {
        let of = |name: &str| query.get(name).cloned().unwrap_or_default();
        let redirect_uri = of("redirect_uri");
        let back = |pairs: &[(&str, &str)]| {
            let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            format!("{redirect_uri}?{pairs}")
        };
        let is_right = of("response_type") == "code"
            && of("code_challenge_method") == "S256"
            && !of("code_challenge").is_empty()
            && of("resource") == format!("http://{at}/mcp");
        if !is_right || !is_agreed {
            let error = if is_right { "access_denied" } else { "invalid_request" };
            return back(&[("error", error), ("state", &of("state"))]);
        }
        let code = self.next("code");
        let kept = Code {
            challenge: of("code_challenge"),
            redirect_uri: redirect_uri.clone(),
            client_id: of("client_id"),
            scopes: of("scope"),
        };
        self.codes.insert(code.clone(), kept);
        back(&[("code", &code), ("state", &of("state")), ("iss", &format!("http://{at}"))])
    }

    fn token(&mut self, asked: &Asked, at: SocketAddr) -> Answer {
        let form: BTreeMap<String, String> = form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
        let of = |name: &str| form.get(name).cloned().unwrap_or_default();
        if of("resource") != format!("http://{at}/mcp") {
            return refused("invalid_target");
        }
        if let Some((id, secret)) = &self.manner.client {
            let proof = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
            if asked.authorization != Some(format!("Basic {proof}")) {
                return refused("invalid_client");
            }
        }
        let scopes = match of("grant_type").as_str() {
            "authorization_code" => {
                let Some(code) = self.codes.remove(&of("code")) else { return refused("invalid_grant") };
                let verifier = URL_SAFE_NO_PAD.encode(Digest::of(&[of("code_verifier").as_bytes()]).0);
                let is_its_client = self.manner.client.is_some() || code.client_id == of("client_id");
                if code.challenge != verifier || code.redirect_uri != of("redirect_uri") || !is_its_client {
                    return refused("invalid_grant");
                }
                code.scopes
            }
            "refresh_token" => match self.renewals.remove(&of("refresh_token")) {
                Some(scopes) => scopes,
                None => return refused("invalid_grant"),
            },
            _ => return refused("unsupported_grant_type"),
        };
        let token = self.next("token");
        self.tokens.insert(token.clone(), scopes.clone());
        self.given.push(token.clone());
        let mut answer = json!({
            "access_token": token, "token_type": self.manner.token_type, "scope": scopes, "id_token": "who the person is",
        });
        if let Some(expires_in) = self.manner.expires_in {
            answer["expires_in"] = expires_in.into();
        }
        if self.manner.renews {
            let renewal = self.next("renewal");
            self.renewals.insert(renewal.clone(), scopes);
            self.given.push(renewal.clone());
            answer["refresh_token"] = renewal.into();
        }
        status(StatusCode::OK, &answer)
    }

    /// What a token may do, if it is taken.
    fn scopes_of(&self, asked: &Asked) -> Option<&String> {
        self.tokens.get(asked.authorization.as_deref()?.strip_prefix("Bearer ")?)
    }

    fn unknown(at: SocketAddr) -> Answer {
        let told = format!(
            "Bearer resource_metadata=\"http://{at}/.well-known/oauth-protected-resource/mcp\", scope=\"read\""
        );
        with(status(StatusCode::UNAUTHORIZED, &Value::Null), WWW_AUTHENTICATE, &told)
    }

    fn open(&self, asked: &Asked, at: SocketAddr) -> Answer {
        match self.scopes_of(asked) {
            Some(_) => status(StatusCode::METHOD_NOT_ALLOWED, &Value::Null),
            None => Self::unknown(at),
        }
    }

    fn serve(&self, asked: &Asked, at: SocketAddr) -> Answer {
        let Some(scopes) = self.scopes_of(asked) else { return Self::unknown(at) };
        let message: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let tool = |name: &str, hints: Value| json!({"name": name, "description": format!("Does {name}."), "inputSchema": {"type": "object"}, "annotations": hints});
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "closed", "version": "1"},
            }),
            "tools/list" => json!({"tools": [tool("look", json!({"readOnlyHint": true})), tool("change", json!({}))]}),
            "tools/call"
                if message["params"]["name"] == "change" && !scopes.split(' ').any(|scope| scope == "write") =>
            {
                let told = "Bearer error=\"insufficient_scope\", scope=\"write\"";
                return with(status(StatusCode::FORBIDDEN, &Value::Null), WWW_AUTHENTICATE, told);
            }
            // It repeats what it was sent, as a careless one would.
            "tools/call" => {
                let text =
                    format!("{} by {}", message["params"]["name"], asked.authorization.clone().unwrap_or_default());
                json!({"content": [{"type": "text", "text": text}]})
            }
            _ => return status(StatusCode::ACCEPTED, &Value::Null),
        };
        status(StatusCode::OK, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    }
}
