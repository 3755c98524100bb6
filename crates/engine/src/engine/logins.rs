//! Logins at servers of tools: each step is recorded in the system session, and what a login brings is kept as
//! secrets of the operator.
//!
//! That something is begun is recorded before any place hears of it; what came
//! of it, a failure with its reason, afterwards. A renewal is nobody's wish: it
//! is on record as the use of one secret and the change of others, and when it
//! fails as that.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::body::Body;
use are_core::error::Fault;
use are_core::ids::SecretName;
use are_core::payload::Payload;
use are_policy::logins::{Kept, LoggedIn, LoginBegun, LoginKeeper, LoginNames, LoginWish};
use are_policy::tools::ServerWish;
use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use super::secrets::OfOperator;
use super::{Engine, Inner};
use crate::api::Caller;
use crate::{faults, machine};

impl Engine {
    /// Finds out where to log in at a server of tools, and begins. That it was done is recorded first.
    ///
    /// # Errors
    /// ARE-0542 for what is no server with an address, ARE-0545 when that place or the wish cannot be used, ARE-0540
    /// when the server cannot be reached, it could not be recorded.
    pub async fn begin_login(&self, caller: &Caller, wish: LoginWish) -> Result<LoginBegun, Fault> {
        let (servers, name) = (self.server_port()?, wish.name.clone());
        // Who wishes for what is no server changes nothing, and there is no name to record.
        servers.digest(&ServerWish { name: name.clone(), server: wish.server.clone(), manifest: None })?;
        self.tell_login(caller, &name, "begun", None).await?;
        self.told_of(caller, &name, servers.begin_login(wish).await).await
    }

    /// Ends the login that was begun last at a server, with the address that the browser was sent to. Its tools are
    /// served from then on, as they were consented to.
    ///
    /// # Errors
    /// ARE-0545 when none was begun, or it was another one's, is too late, was refused, or brought nothing that can be
    /// used; ARE-0803 while secrets cannot be kept; it could not be recorded.
    pub async fn finish_login(&self, caller: &Caller, name: String, callback: String) -> Result<LoggedIn, Fault> {
        let servers = self.server_port()?;
        // What cannot be a name stands in no record.
        LoginNames::of(&name, "")?;
        let done = servers.finish_login(name.clone(), callback).await;
        let logged_in = self.told_of(caller, &name, done).await?;
        self.tell_login(caller, &name, "done", None).await?;
        self.reload_for(caller).await?;
        Ok(logged_in)
    }

    /// Forgets the login at a server; false when there is none. Its tools are not served from then on; what the place to
    /// log in at knows of it stays there.
    ///
    /// # Errors
    /// It could not be recorded.
    pub async fn end_login(&self, caller: &Caller, name: String) -> Result<bool, Fault> {
        let ended = self.server_port()?.end_login(name.clone()).await?;
        if ended {
            self.tell_login(caller, &name, "ended", None).await?;
            self.reload_for(caller).await?;
        }
        Ok(ended)
    }

    /// Passes on what was done, and records it where it failed.
    async fn told_of<T>(&self, caller: &Caller, name: &str, done: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &done {
            self.tell_login(caller, name, "failed", Some(fault)).await?;
        }
        done
    }

    async fn tell_login(&self, caller: &Caller, name: &str, step: &str, fault: Option<&Fault>) -> Result<(), Fault> {
        let (body, payload) = self.inner.login_step(name, step, fault);
        self.inner.system.append_for(caller, body, payload, Vec::new()).await
    }
}

impl Inner {
    fn login_step(&self, server: &str, step: &str, fault: Option<&Fault>) -> (Body, Option<Payload>) {
        let body = Body::ServerLogin { server: server.to_owned(), step: step.to_owned() };
        let scrubber = self.vault.scrubber(&self.operator);
        let clean = |text: &String| scrubber.clean(text.clone());
        let fault =
            fault.map(|fault| Fault { message: clean(&fault.message), help: clean(&fault.help), ..fault.clone() });
        (body, fault.map(|fault| machine::failure(&fault, machine::system_label(), None)))
    }
}

impl OfOperator {
    fn inner(&self) -> Result<Arc<Inner>, Fault> {
        self.0.upgrade().ok_or_else(faults::stopping)
    }
}

impl LoginKeeper for OfOperator {
    fn names(&self) -> Vec<SecretName> {
        let Some(inner) = self.0.upgrade() else { return Vec::new() };
        inner.vault.list(&inner.operator).into_iter().filter_map(|(row, _)| row.name.parse().ok()).collect()
    }

    fn keep(&self, kept: Vec<Kept>) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let inner = self.inner()?;
            for Kept { name, value, bound_to } in kept {
                let value = Zeroizing::new(value.expose().to_owned());
                inner.set_secret((inner.operator.clone(), None), name, value, bound_to).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn forget(&self, names: Vec<SecretName>) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let inner = self.inner()?;
            for name in names {
                inner.delete_secret((inner.operator.clone(), None), name).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn failed<'a>(&'a self, server: &'a str, fault: &'a Fault) -> BoxFuture<'a, ()> {
        async move {
            let Ok(inner) = self.inner() else { return };
            let (body, payload) = inner.login_step(server, "not_renewed", Some(fault));
            if let Err(error) = inner.system.append(inner.operator.clone(), body, payload, Vec::new()).await {
                tracing::error!(server, fault = %error, "that a login was not renewed could not be recorded");
            }
        }
        .boxed()
    }
}
