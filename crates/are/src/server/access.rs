//! Who was let in and who was not, told to the journal few times.
//!
//! Every request passes here, and an attacker must not be able to fill the
//! journal with them: refusals are counted by reason, and written at most once a
//! [`FOLD`] with their number and some of the addresses. Who is let in is written
//! the first time, and again after [`AGAIN_MS`] with the number of requests.
//! What is not written yet when the process is killed is lost; what an account
//! then did has records of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use are_engine::engine::{Refused, SignedIn};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::app::App;
use super::auth::{Door, Principal};
use super::connection::Peer;

/// Time between two writings: one record for each reason, so some thousand a day under a steady attack.
const FOLD: Duration = Duration::from_secs(60);
/// Milliseconds after which somebody who is still there is written again.
const AGAIN_MS: u64 = 60 * 60 * 1000;
/// Accounts with their tokens that are remembered; beyond it some are written as if they were new.
const KNOWN_MAX: usize = 1_024;
/// Of these, written at once.
const WRITTEN_MAX: usize = 256;
/// Addresses told of one reason; the others are counted.
const ADDRESSES_MAX: usize = 16;

/// What is not written yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    counts: Mutex<Counts>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    let_in: HashMap<(AccountId, Option<String>, bool), LetIn>,
    refused: BTreeMap<Code, Turned>,
}

#[derive(Debug)]
struct LetIn {
    who: SignedIn,
    written_at_ms: Option<u64>,
}

#[derive(Debug)]
struct Turned {
    times: u64,
    since_ms: u64,
    addresses: BTreeSet<String>,
    /// Requests from addresses beyond those that are told.
    more: u64,
}

impl Ledger {
    /// Somebody was let in.
    pub(super) fn let_in(&self, principal: &Principal, now_ms: u64) {
        let is_local = principal.door == Door::Local;
        let key = (principal.account.clone(), principal.token.clone(), is_local);
        let mut counts = self.counts();
        if counts.let_in.len() >= KNOWN_MAX && !counts.let_in.contains_key(&key) {
            // Who has something to be written stays.
            counts.let_in.retain(|_, one| one.is_due(now_ms));
            if counts.let_in.len() >= KNOWN_MAX {
                return;
            }
        }
        let one = counts.let_in.entry(key).or_insert_with(|| LetIn {
            who: SignedIn {
                account: principal.account.clone(),
                via: principal.via.clone(),
                door: if is_local { "local" } else { "network" },
                token: principal.token.clone(),
                times: 0,
            },
            written_at_ms: None,
        });
        one.who.times += 1;
        if one.is_due(now_ms) {
            self.news.notify_one();
        }
    }

    /// Somebody was not let in, or not to what it asked for.
    pub(super) fn refused(&self, code: Code, peer: Option<Peer>, now_ms: u64) {
        let address = match peer {
            Some(Peer::Remote { client, .. }) => client.to_string(),
            Some(Peer::Local) | None => "local".to_owned(),
        };
        let mut counts = self.counts();
        let turned = counts.refused.entry(code).or_insert_with(|| Turned {
            times: 0,
            since_ms: now_ms,
            addresses: BTreeSet::new(),
            more: 0,
        });
        turned.times += 1;
        if turned.addresses.contains(&address) || turned.addresses.len() < ADDRESSES_MAX {
            turned.addresses.insert(address);
        } else {
            turned.more += 1;
        }
        self.news.notify_one();
    }

    /// Takes what is to be written now.
    fn take(&self, now_ms: u64) -> (Vec<SignedIn>, Vec<Refused>) {
        let mut counts = self.counts();
        let mut let_in = Vec::new();
        for one in counts.let_in.values_mut().filter(|one| one.is_due(now_ms)).take(WRITTEN_MAX) {
            one.written_at_ms = Some(now_ms);
            let_in.push(SignedIn { times: std::mem::take(&mut one.who.times), ..one.who.clone() });
        }
        let refused = std::mem::take(&mut counts.refused).into_iter().map(|(code, turned)| Refused {
            code,
            times: turned.times,
            since_ms: turned.since_ms,
            addresses: turned.addresses.into_iter().collect(),
            more: turned.more,
        });
        (let_in, refused.collect())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing panics while it is held.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LetIn {
    fn is_due(&self, now_ms: u64) -> bool {
        self.who.times > 0 && self.written_at_ms.is_none_or(|at| now_ms.saturating_sub(at) >= AGAIN_MS)
    }
}

/// Counts a refusal of a request that came on `peer`.
pub(super) fn refused(app: &App, fault: &Fault, peer: Option<Peer>) {
    app.ledger.refused(fault.code, peer, app.settings.clock.now_ms());
}

/// Writes what there is, again and again, until the server stops.
pub(super) async fn keep(app: Arc<App>) {
    loop {
        // Each only tells that something has come; dropping any loses nothing.
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.ledger.news.notified() => {}
        }
        write(&app).await;
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = sleep(FOLD) => {}
        }
    }
}

/// Writes what there is.
pub(super) async fn write(app: &App) {
    let (let_in, refused) = app.ledger.take(app.settings.clock.now_ms());
    if let_in.is_empty() && refused.is_empty() {
        return;
    }
    if let Err(fault) = app.engine.note_access(let_in, refused).await {
        tracing::warn!(%fault, "who came to the doors could not be recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin() -> Principal {
        Principal::admin(Door::Local).unwrap()
    }

    #[test]
    fn many_refusals_are_one_of_each_reason_with_some_addresses() {
        let ledger = Ledger::default();
        for host in 0..100_u8 {
            let client = [10, 0, 0, host].into();
            let peer = Peer::Remote { local: [127, 0, 0, 1].into(), client };
            for _ in 0..3 {
                ledger.refused(Code::CREDENTIAL_INVALID, Some(peer), u64::from(host));
            }
            ledger.refused(Code::SCOPE_MISSING, None, 5);
        }
        let (_, refused) = ledger.take(1_000);
        let [scope, credential] = refused.as_slice() else { panic!("{refused:?}") };
        let (scope, credential) =
            if scope.code == Code::SCOPE_MISSING { (scope, credential) } else { (credential, scope) };
        assert_eq!((scope.times, scope.addresses.as_slice()), (100, &["local".to_owned()][..]));
        assert_eq!((credential.times, credential.since_ms, credential.addresses.len()), (300, 0, ADDRESSES_MAX));
        assert_eq!(credential.more, 300 - 3 * ADDRESSES_MAX as u64);
        assert_eq!(ledger.take(1_000), (Vec::new(), Vec::new()));
    }

    #[test]
    fn who_is_let_in_is_told_once_and_again_after_a_while_with_the_number() {
        let ledger = Ledger::default();
        ledger.let_in(&admin(), 0);
        assert_eq!(ledger.take(0).0[0].times, 1);
        for _ in 0..50 {
            ledger.let_in(&admin(), 1_000);
        }
        assert_eq!(ledger.take(AGAIN_MS - 1).0, []);
        assert_eq!(ledger.take(AGAIN_MS).0[0].times, 50);
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let ledger = Ledger::default();
        for number in 0..5_000 {
            let principal = Principal { token: Some(format!("t{number}")), ..admin() };
            ledger.let_in(&principal, 0);
        }
        assert_eq!(ledger.counts().let_in.len(), KNOWN_MAX);
        assert_eq!(ledger.take(0).0.len(), WRITTEN_MAX);
    }
}
