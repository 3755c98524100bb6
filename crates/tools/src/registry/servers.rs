//! The servers that tools come from, to whoever may look at them and consent.
//!
//! What was shown is remembered for a while, with the file that would be
//! written, so that a consent can only be to what somebody saw.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_policy::logins::{LoggedIn, LoginBegun, LoginWish};
use are_policy::tools::{Examined, Problem, ServerStanding, ServerTool, ServerWish, Servers as ServersPort, ToolFile};

use super::collect::problem;
use super::names::tool_name;
use super::shelf::Files;
use crate::http::Http;
use crate::mcp::{self, Consent, ENDING, Runtime, Spec, Standing, check_name};

/// Servers that were looked at and not consented to yet.
const SHOWN_MAX: usize = 16;

/// All servers, with those that were looked at.
pub(super) struct Servers {
    pub(super) runtime: Arc<Runtime>,
    shown: Mutex<BTreeMap<String, Shown>>,
}

/// What somebody saw.
struct Shown {
    digest: Digest,
    file: ToolFile,
}

impl Servers {
    pub(super) fn new(http: &Arc<Http>) -> Self {
        Self { runtime: Arc::new(Runtime::new(Arc::clone(http))), shown: Mutex::default() }
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The port.
pub(super) struct Port {
    pub(super) servers: Arc<Servers>,
    pub(super) files: Arc<Files>,
}

/// What is to be started or reached, and what was consented to before.
struct Subject {
    spec: Spec,
    ignored: Vec<String>,
    before: Option<Consent>,
}

impl Port {
    fn subject(&self, wish: &ServerWish) -> Result<Subject, Fault> {
        check_name(&wish.name)?;
        let before = self.files.stored(&file_name(&wish.name));
        // One that cannot be read was consented to by nobody.
        let before = before.and_then(|bytes| Consent::read(&bytes).ok());
        match (&wish.server, before) {
            (Some(text), before) => {
                let written = Spec::read(text)?;
                Ok(Subject { spec: written.spec, ignored: written.ignored, before })
            }
            (None, Some(before)) => {
                Ok(Subject { spec: before.server.clone(), ignored: Vec::new(), before: Some(before) })
            }
            (None, None) => Err(Fault::new(
                Code::SERVER_INVALID,
                format!("there is no server `{}`", wish.name),
                "say how it is started or reached: `are mcp add NAME -- COMMAND` or `are mcp add NAME URL`",
            )),
        }
    }

    async fn look(&self, wish: ServerWish) -> Result<Examined, Fault> {
        let (files, asked) = (Arc::clone(&self.files), wish.clone());
        let port = Self { servers: Arc::clone(&self.servers), files: Arc::clone(&files) };
        let subject = blocking(move || port.subject(&asked)).await??;
        let (consent, revision) = self.servers.runtime.examine(&wish.name, subject.spec.clone()).await?;
        let manifest = wish.manifest.clone().unwrap_or_default();
        let digest = Digest::of(&[consent.digest().0.as_slice(), manifest.as_bytes()]);
        let file = ToolFile {
            name: file_name(&wish.name),
            bytes: consent.sealed(mcp::nonce()?)?,
            manifest: wish.manifest.clone(),
        };
        let (tried, trial) = (Arc::clone(&self.files), file.clone());
        let checked = blocking(move || tried.try_out(&trial)).await??;
        let stem = Path::new(&file.name).to_owned();
        let named = |export: &str| tool_name(&stem, Some(export)).ok();
        let mut tools = Vec::new();
        let mut further: Vec<_> = checked.tools.iter().map(|one| one.manifest().name.clone()).collect();
        for agreed in consent.tools() {
            let Some(tool) = named(&agreed.name) else { continue };
            let Some(served) = checked.tools.iter().find(|one| one.manifest().name == tool) else { continue };
            further.retain(|name| *name != tool);
            tools.push(ServerTool {
                name: agreed.name.clone(),
                tool,
                description: served.manifest().description.clone(),
                effect: served.manifest().effect,
                retry: served.manifest().retry,
                hints: agreed.hints.clone(),
                state: Consent::state(subject.before.as_ref(), agreed),
            });
        }
        further.sort();
        let mut given = subject.spec.given();
        given.extend(subject.ignored.iter().map(|key| format!("`{key}` means nothing here and is ignored")));
        let examined = Examined {
            digest,
            name: wish.name.clone(),
            server: consent.says().to_owned(),
            revision,
            given,
            tools,
            further,
            prompts: consent.prompts(),
            refused: checked.refused.iter().map(|fault| problem(&file.name, fault)).collect(),
            gone: subject.before.map(|before| before.gone(&consent)).unwrap_or_default(),
        };
        self.remember(wish.name, Shown { digest, file });
        Ok(examined)
    }

    async fn begin(&self, wish: LoginWish) -> Result<LoginBegun, Fault> {
        let asked = ServerWish { name: wish.name.clone(), server: wish.server.clone(), manifest: None };
        let port = Self { servers: Arc::clone(&self.servers), files: Arc::clone(&self.files) };
        let (spec, file) = blocking(move || {
            let spec = port.subject(&asked)?.spec;
            Ok::<_, Fault>((spec, port.files.stored(&file_name(&asked.name)).map(|bytes| Digest::of(&[&bytes]))))
        })
        .await??;
        self.servers.runtime.begin_login(&spec, file, wish).await
    }

    fn remember(&self, name: String, seen: Shown) {
        let mut shown = self.servers.shown();
        if shown.len() >= SHOWN_MAX && !shown.contains_key(&name) {
            shown.clear();
        }
        shown.insert(name, seen);
    }

    fn standing_of(&self, name: &str, bytes: &[u8]) -> Option<ServerStanding> {
        let Standing { name, given, state, why, retry_after_ms, connections, prompts, login } =
            self.servers.runtime.standing(name, Digest::of(&[bytes]))?;
        let file = file_name(&name);
        let served = self.files.served();
        let of_it = served.set.iter().map(|(manifest, _)| manifest.name.as_str());
        let tools = of_it.filter(|tool| served.file_of(tool) == Some(file.as_str())).map(str::to_owned).collect();
        let revoked: Vec<Problem> = served.problems.iter().filter(|problem| problem.file == file).cloned().collect();
        Some(ServerStanding { name, given, state, why, retry_after_ms, connections, tools, revoked, prompts, login })
    }
}

impl ServersPort for Port {
    fn digest(&self, wish: &ServerWish) -> Result<Digest, Fault> {
        self.subject(wish).map(|subject| subject.spec.digest(&wish.name))
    }

    fn examine(&self, wish: ServerWish) -> BoxFuture<'_, Result<Examined, Fault>> {
        Box::pin(self.look(wish))
    }

    fn consented(&self, name: &str, digest: Digest) -> Result<ToolFile, Fault> {
        let mut shown = self.servers.shown();
        match shown.get(name) {
            Some(seen) if seen.digest == digest => {}
            Some(_) | None => {
                return Err(Fault::new(
                    Code::CONSENT_MISMATCH,
                    format!("what is consented to is not what was shown of `{name}` last"),
                    "look at it again, then consent to what is shown",
                ));
            }
        }
        shown
            .remove(name)
            .map(|seen| seen.file)
            .ok_or_else(|| super::builtin::invalid("a server that was shown is gone"))
    }

    fn standing(&self) -> Vec<ServerStanding> {
        let names = self.files.file_names();
        let servers = names.iter().filter_map(|name| Some((name, name.strip_suffix(".mcp")?)));
        servers.filter_map(|(file, name)| self.standing_of(name, &self.files.stored(file)?)).collect()
    }

    fn begin_login(&self, wish: LoginWish) -> BoxFuture<'_, Result<LoginBegun, Fault>> {
        Box::pin(self.begin(wish))
    }

    fn finish_login(&self, name: String, callback: String) -> BoxFuture<'_, Result<LoggedIn, Fault>> {
        Box::pin(async move { self.servers.runtime.finish_login(&name, &callback).await })
    }

    fn end_login(&self, name: String) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(async move { self.servers.runtime.end_login(&name).await })
    }
}

fn file_name(name: &str) -> String {
    format!("{name}.{ENDING}")
}

/// Work on files, off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::new(Code::INTERNAL, "reading the tools ended in a panic", "report this as a bug"))
}
