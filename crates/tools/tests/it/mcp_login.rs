//! Logins at servers of tools: begun, finished, used, renewed, widened, refused, ended.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use are_core::error::{Code, Fault};
use are_policy::logins::{LoggedIn, LoginClient, LoginWish};
use are_policy::secrets::BoundTo;
use are_policy::tools::{ToolOutcome, Tools as _};
use are_testkit::oauth::{Manner, OauthServer};
use are_tools::{HttpOptions, Registry, Resolver};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::mcp_noted::turning;
use crate::support::World;

#[derive(Deserialize)]
struct Attacks {
    place: Vec<Place>,
}

/// A place to log in at that cannot be trusted.
#[derive(Deserialize)]
struct Place {
    name: String,
    manner: Manner,
    why: String,
}

fn wish(entry: Option<&Value>) -> LoginWish {
    LoginWish {
        name: "far".to_owned(),
        server: entry.map(Value::to_string),
        redirect_uri: "http://127.0.0.1:48888/callback".to_owned(),
        scopes: Vec::new(),
        client: None,
    }
}

impl World {
    /// Begins a login and agrees to it: the address that the browser is sent to.
    async fn agreed(&self, server: &OauthServer, wish: LoginWish) -> String {
        let begun = self.servers().begin_login(wish).await.unwrap_or_else(|fault| panic!("{fault}: {}", fault.help));
        server.agree(&begun.url)
    }

    async fn finish(&self, callback: &str) -> Result<LoggedIn, Fault> {
        self.servers().finish_login("far".to_owned(), callback.to_owned()).await
    }

    async fn log_in(&self, server: &OauthServer, wish: LoginWish) -> LoggedIn {
        let callback = self.agreed(server, wish).await;
        self.finish(&callback).await.unwrap_or_else(|fault| panic!("{fault}: {}", fault.help))
    }
}

/// A server that nobody logged in at, and a world that may reach it.
async fn closed(manner: Manner) -> (OauthServer, World, Value) {
    let server = OauthServer::start(manner).await;
    let world = World::living(&[server.place()], &[]);
    let entry = json!({"url": server.url()});
    (server, world, entry)
}

/// The same, with a login and with its tools served.
async fn open(manner: Manner) -> (OauthServer, World, Value) {
    let (server, world, entry) = closed(manner).await;
    world.log_in(&server, wish(Some(&entry))).await;
    assert_eq!(world.add("far", &entry).await, []);
    (server, world, entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_and_calls_are_made_with_a_token_that_nobody_sees() {
    let (server, world, entry) = closed(Manner::default()).await;
    let fault = world.examine("far", &entry).await.expect_err("a login is needed");
    assert_eq!(fault.code, Code::SERVER_LOGIN, "{fault}");
    assert!(fault.help.contains("are mcp login far"), "{}", fault.help);

    let logged_in = world.log_in(&server, wish(Some(&entry))).await;
    assert_eq!(logged_in, LoggedIn { scopes: vec!["read".to_owned()], expires_in_ms: Some(3_600_000), renews: true });
    let kept = world.safe.bound();
    let hosts: Vec<&str> = kept
        .iter()
        .map(|(name, bound_to)| {
            assert!(name.starts_with("mcp-token-far-") || name.starts_with("mcp-login-far-"), "{name}");
            bound_to.hosts[0].as_str()
        })
        .collect();
    assert_eq!(hosts, [server.place(), server.place()], "each goes to the place that it is for");

    assert_eq!(world.add("far", &entry).await, []);
    let said = world.ok("far_look", json!({})).await;
    assert_eq!(said, json!({"text": "\"look\" by Bearer [secret]"}), "what the server repeats is cut out");
    let standing = world.standing("far");
    assert_eq!((standing.login, standing.state), (Some("kept"), "running"));
    let file = std::fs::read_to_string(world.tools_dir().join("far.mcp")).expect("a file");
    let shown = format!("{file}{standing:?}{said}");
    assert!(server.given().iter().all(|given| !shown.contains(given.as_str())), "{shown}");
    assert_eq!((server.times("POST /register"), server.times("POST /token")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_taken_any_more_is_renewed_once_for_all_who_wait() {
    let (server, world, _) = open(Manner::default()).await;
    world.ok("far_look", json!({})).await;
    for round in 2..5 {
        server.expire();
        let calls = (0..8).map(|_| world.ok("far_look", json!({})));
        for said in futures_util::future::join_all(calls).await {
            assert_eq!(said, json!({"text": "\"look\" by Bearer [secret]"}), "the new token is cut out too");
        }
        assert_eq!(server.times("POST /token"), round, "what renews is good for one use");
    }
    assert_eq!(server.times("POST /register"), 1);
    assert_eq!(*world.safe.failed.lock().expect("failed"), [] as [String; 0]);

    // A token that is known to end is renewed before it is used.
    let (server, world, _) = open(Manner { expires_in: Some(0), ..Manner::default() }).await;
    let before = server.times("POST /token");
    world.ok("far_look", json!({})).await;
    assert!(server.times("POST /token") > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_do_too_little_is_widened_by_the_next_one() {
    let (server, world, _) = open(Manner::default()).await;
    let fault = world.fault("far_change", json!({})).await;
    assert_eq!(fault.code, Code::SERVER_LOGIN, "{fault}");
    assert!(fault.message.contains("`write`") && fault.help.contains("are mcp login far"), "{fault}: {}", fault.help);
    world.ok("far_look", json!({})).await;
    assert_eq!(world.standing("far").login, Some("short"));
    let begun = world.servers().begin_login(wish(None)).await.expect("begun");
    assert_eq!(begun.scopes, ["read", "write"], "what it could do, and what was asked for");
    let logged_in = world.finish(&server.agree(&begun.url)).await.expect("logged in");
    assert_eq!(logged_in.scopes, ["read", "write"]);
    assert_eq!(world.ok("far_change", json!({})).await, json!({"text": "\"change\" by Bearer [secret]"}));
    assert_eq!(world.standing("far").login, Some("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ended_takes_the_tools_out_of_service_until_somebody_logs_in_again() {
    let (server, world, _) = open(Manner::default()).await;
    world.ok("far_look", json!({})).await;
    server.expire();
    server.refuse_renewals();
    let fault = world.fault("far_look", json!({})).await;
    assert_eq!(fault.code, Code::SERVER_LOGIN, "{fault}");
    assert_eq!(world.safe.failed.lock().expect("failed").len(), 1, "it is on record");
    let problems = world.reload().await;
    assert!(
        problems[0].why.contains("asks for a login") && problems[0].help.contains("are mcp login far"),
        "{problems:?}"
    );
    assert!(!world.serves("far_look"));
    assert_eq!(world.standing("far").login, Some("needed"));
    // That is known after a restart too, without asking anybody.
    let asked = server.asked().len();
    let options = HttpOptions { grants: server.place().parse().expect("a grant"), resolver: Resolver::System };
    let again = Registry::builtin(options).expect("registry").with_folder(world.tools_dir()).expect("folder");
    assert!(again.snapshot().get("far_look").is_none());
    assert_eq!(server.asked().len(), asked);

    world.log_in(&server, wish(None)).await;
    assert_eq!(world.reload().await, []);
    world.ok("far_look", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_forgets_everything_and_serves_nothing() {
    let (_server, world, _) = open(Manner::default()).await;
    world.ok("far_look", json!({})).await;
    assert!(world.servers().end_login("far".to_owned()).await.expect("ended"));
    assert_eq!(world.safe.bound(), []);
    world.reload().await;
    assert!(!world.serves("far_look"));
    assert!(!world.servers().end_login("far".to_owned()).await.expect("nothing to end"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_to_log_in_at_that_cannot_be_trusted_is_refused_before_anybody_is_sent_there() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/mcp_logins.toml")).expect("attacks");
    for Place { name, manner, why } in &attacks.place {
        let (server, world, entry) = closed(manner.clone()).await;
        let fault = world.servers().begin_login(wish(Some(&entry))).await.expect_err(name);
        assert_eq!(fault.code, Code::LOGIN_FAILED, "{name}: {fault}");
        assert!(fault.message.contains(why.as_str()), "{name}: {fault}");
        assert_eq!(server.times("POST /token"), 0, "{name}");
        assert_eq!(world.safe.bound(), [], "{name}");
    }
    println!("{} places", attacks.place.len());
    assert!(attacks.place.len() >= 14);
    // One that nobody has to log in at, and one that is a program.
    let open = turning(&Arc::new(AtomicBool::new(false))).await;
    let world = World::living(&[open.grant()], &[]);
    let fault = world.servers().begin_login(wish(Some(&json!({"url": open.url("/mcp")})))).await.expect_err("no login");
    assert!(fault.code == Code::LOGIN_FAILED && fault.message.contains("asks for no login"), "{fault}");
    for entry in
        [json!({"command": "/bin/true"}), json!({"url": open.url("/"), "headers": {"authorization": "Bearer x"}})]
    {
        let fault = world.servers().begin_login(wish(Some(&entry))).await.expect_err("no login");
        assert_eq!(fault.code, Code::SERVER_INVALID, "{fault}");
    }
    let fault = world.servers().begin_login(wish(None)).await.expect_err("no such server");
    assert_eq!(fault.code, Code::SERVER_INVALID, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once_for_the_login_that_waits_for_it() {
    let (server, world, entry) = closed(Manner::default()).await;
    let failed = async |callback: &str| {
        let fault = world.finish(callback).await.expect_err(callback);
        assert_eq!(fault.code, Code::LOGIN_FAILED, "{callback}: {fault}");
        fault
    };
    failed("http://127.0.0.1:48888/callback?code=c&state=s").await;
    let first = world.agreed(&server, wish(Some(&entry))).await;
    let right = world.agreed(&server, wish(Some(&entry))).await;
    failed(&first).await;
    let fault = world.finish("nothing of that kind").await.expect_err("no address");
    assert_eq!(fault.code, Code::REQUEST_INVALID, "{fault}");
    failed(&right.replace("state=", "state=x")).await;
    let other = world.servers().finish_login("near".to_owned(), right.clone()).await.expect_err("another server");
    assert_eq!(other.code, Code::LOGIN_FAILED);
    assert_eq!(server.times("POST /token"), 0, "no code was tried");
    world.finish(&right).await.expect("the right one, in spite of all these");
    failed(&right).await;

    // A person who does not agree, and another place that answers in the name of this one.
    let begun = world.servers().begin_login(wish(Some(&entry))).await.expect("begun");
    let fault = failed(&server.refuse(&begun.url)).await;
    assert!(fault.message.contains("access_denied"), "{fault}");
    let forged = world.agreed(&server, wish(Some(&entry))).await;
    let forged = forged
        .replace(&format!("iss=http%3A%2F%2F{}", server.place().replace(':', "%3A")), "iss=https%3A%2F%2Fevil.example");
    assert!(forged.contains("evil.example"), "{forged}");
    let before = server.times("POST /token");
    failed(&forged).await;
    assert_eq!(server.times("POST /token"), before);
    server.behave(|manner| manner.token_type = "mac".to_owned());
    let callback = world.agreed(&server, wish(Some(&entry))).await;
    failed(&callback).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_registered_by_hand_proves_itself_with_a_stored_secret() {
    const SECRET: &str = "s3cret-of-the-client";
    let manner = Manner { registers: false, client: Some(("are".to_owned(), SECRET.to_owned())), ..Manner::default() };
    let (server, world, entry) = closed(manner).await;
    let named = |secret: &str| LoginWish {
        client: Some(LoginClient { id: "are".to_owned(), secret: Some(secret.parse().expect("a name")) }),
        ..wish(Some(&entry))
    };
    let unknown = world.servers().begin_login(named("client")).await.expect_err("no such secret");
    assert_eq!(unknown.code, Code::SECRET_UNKNOWN, "{unknown}");
    world.safe.put("client", SECRET, &BoundTo::read(&["api.example.com".to_owned()], &[]).expect("bound"));
    let unbound = world.servers().begin_login(named("client")).await.expect_err("bound elsewhere");
    assert_eq!(unbound.code, Code::SECRET_BOUND, "{unbound}");
    world.safe.put("client", SECRET, &BoundTo::read(&[server.place()], &[]).expect("bound"));
    world.log_in(&server, named("client")).await;
    assert_eq!(world.add("far", &entry).await, []);
    server.expire();
    world.ok("far_look", json!({})).await;
    // Who logs in again need not say it again.
    world.log_in(&server, wish(None)).await;
    assert_eq!(server.times("POST /register"), 0);
    assert!(world.safe.values().iter().filter(|value| value.contains(SECRET)).count() == 1, "it is kept once");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_token_nor_what_renews_it_goes_anywhere_else() {
    let (server, mut world, _) = open(Manner::default()).await;
    let other = OauthServer::start(Manner::default()).await;
    world = world.also_granting(&[server.place(), other.place()]);
    world.ok("far_look", json!({})).await;
    // The same name at another address has no login.
    let fault = world.examine("far", &json!({"url": other.url()})).await.expect_err("a login is needed");
    assert_eq!(fault.code, Code::SERVER_LOGIN);
    assert!(other.asked().iter().all(|asked| asked.authorization.is_none()), "{:?}", other.asked());
    // The server names another place to log in at: it is not given what was given elsewhere.
    server.behave(|manner| manner.login_at = Some(format!("http://{}", other.place())));
    server.expire();
    let outcome = world.run("far_look", json!({})).await;
    assert!(matches!(&outcome, ToolOutcome::Failed { fault, .. } if fault.code == Code::SERVER_LOGIN), "{outcome:?}");
    assert_eq!(other.times("POST /token"), 0);
    assert!(other.asked().iter().all(|asked| server.given().iter().all(|given| !asked.body.contains(given.as_str()))));
}
