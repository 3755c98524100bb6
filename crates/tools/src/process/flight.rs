//! A command from its order on, which whoever gives it up ends with it.

use std::sync::Arc;
use std::time::Duration;

use are_policy::gate::Spent;
use tokio::time::Instant;

use super::blocking;
use crate::cage::Ended;
use crate::egress::{Egress, Serving};
use crate::fs::{Compared, Snapshot};
use crate::lane::{Error, Room};
use crate::launch::{Child, Launcher, Ordered, Used};

/// A command that may run. When it is given up, it is killed, and what it changed is told all the same.
pub(super) struct Flight {
    hand: Hand,
    /// When it began, until its work is counted.
    began: Option<Instant>,
    /// Its way to the network.
    serving: Option<Serving>,
    snapshot: Option<Snapshot>,
    spent: Arc<Spent>,
    room: Room,
}

/// How far it is.
enum Hand {
    /// Ordered, or just being so.
    Ordered(Ordered),
    Runs(Box<Child>),
    Over,
}

impl Flight {
    /// One that was ordered just now, and changes what was kept before.
    pub(super) fn new(ordered: Ordered, snapshot: Snapshot, spent: Arc<Spent>, room: Room) -> Self {
        let hand = Hand::Ordered(ordered);
        Self { hand, began: Some(Instant::now()), serving: None, snapshot: Some(snapshot), spent, room }
    }

    /// Waits until it runs, and opens its way to the network.
    pub(super) async fn started(&mut self, launcher: &Launcher, egress: Option<&Arc<Egress>>) -> Result<(), Error> {
        if let Hand::Ordered(ordered) = &mut self.hand {
            let child = ordered.sent().await?;
            self.hand = Hand::Runs(Box::new(child));
        }
        let Hand::Runs(child) = &mut self.hand else { return Ok(()) };
        launcher.started(child).await?;
        let serving = child.listener.take().zip(egress);
        self.serving = serving.map(|(listener, egress)| egress.serve(listener, &self.spent, &self.room));
        Ok(())
    }

    /// The command, while it runs.
    pub(super) fn child(&mut self) -> Option<&mut Child> {
        match &mut self.hand {
            Hand::Runs(child) => Some(child.as_mut()),
            Hand::Ordered(_) | Hand::Over => None,
        }
    }

    /// Takes the command; what it changed still has to be looked at.
    pub(super) fn take(&mut self) -> Option<Child> {
        match std::mem::replace(&mut self.hand, Hand::Over) {
            Hand::Ordered(ordered) => ordered.give_up(),
            Hand::Runs(child) => Some(*child),
            Hand::Over => None,
        }
    }

    /// What it has used so far.
    pub(super) fn used(&mut self) -> Used {
        self.child().map(|child| child.used()).unwrap_or_default()
    }

    /// Leaves it to whoever looks after it from here on; `None` when it does not run.
    pub(super) fn hand_over(mut self) -> Option<(Child, Snapshot)> {
        self.began = None;
        self.take().zip(self.snapshot.take())
    }

    /// Tells what it worked. Of one that was killed nobody knows more than how long it ran.
    pub(super) fn count(&mut self, ended: Option<&Ended>) {
        if let Some(began) = self.began.take() {
            self.room.work.add(ended.map_or_else(|| began.elapsed(), |ended| Duration::from_millis(ended.cpu_ms)));
        }
    }

    /// What went over its way to the network, which ends.
    pub(super) fn network(&mut self) -> Option<serde_json::Value> {
        self.serving.take().and_then(|serving| serving.report())
    }

    /// Tells what it changed.
    pub(super) async fn land(mut self) -> Result<Compared, Error> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(Compared::default()) };
        let (spent, room) = (Arc::clone(&self.spent), self.room.clone());
        blocking(move || compared(&snapshot, &spent, &room)).await?
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.count(None);
        let Some(snapshot) = self.snapshot.take() else { return };
        let mut land = || {
            if let Some(child) = self.take() {
                child.kill_now();
            }
            if let Err(Error::Failed(fault) | Error::Unknown(fault)) = compared(&snapshot, &self.spent, &self.room) {
                tracing::warn!(%fault, "what a command changed that was given up is not known");
            }
        };
        // Whoever gave the call up asks what was changed as soon as this returns.
        match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(land),
            _ => land(),
        }
    }
}

fn compared(snapshot: &Snapshot, spent: &Spent, room: &Room) -> Result<Compared, Error> {
    let compared = snapshot.compare(spent, room)?;
    compared.tell(spent, room)?;
    Ok(compared)
}
