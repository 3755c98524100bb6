//! The prompt firewall in a turn: what is scanned, and what becomes of a finding.
//!
//! Words are scanned before they are recorded: a user's own as such, everything
//! else as what a tool might have returned. An order to the model that a user
//! gives in its own name is refused, unless it says that it means it; anything
//! else is taken, and a `firewall` record stands beside it. That record is an
//! input: a replay reads it and does not scan again, so that another version of
//! the firewall changes nothing about what was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::CallNo;
use are_core::label::{Integrity, Labels, worst_of};
use are_core::model::Message;
use are_core::payload::{Part, Payload};
use are_policy::firewall::{Channel, Finding, Firewall, SCANNED_BYTES_MAX, Verdict};
use serde_json::Value;

/// Texts up to this size are scanned where they are: it takes less time than handing them to another thread and back.
const INLINE_BYTES_MAX: usize = 8 << 10;

/// Scans, or does nothing where it is switched off.
#[derive(Clone)]
pub(crate) struct Screen {
    firewall: Option<Arc<Firewall>>,
    /// True once there are the tables that a first scan makes.
    is_warm: Arc<AtomicBool>,
}

impl Screen {
    pub(crate) fn new(firewall: Option<Arc<Firewall>>) -> Self {
        Self { firewall, is_warm: Arc::default() }
    }

    /// Makes the tables of a first scan, so that no prompt waits for them.
    pub(crate) async fn warm(&self) {
        let warming = Part::Text { text: " ".to_owned() };
        self.prompt(&[warming], Integrity::User).await;
    }

    /// What stands in a prompt or a steer; `None` for nothing.
    pub(crate) async fn prompt(&self, content: &[Part], integrity: Integrity) -> Option<Found> {
        let mut texts = Vec::new();
        for part in content {
            match part {
                Part::Text { text } if integrity == Integrity::User => texts.push((text.clone(), Channel::User)),
                Part::Text { text } | Part::File { text, .. } => texts.push((text.clone(), Channel::Tool)),
                // What it may say is not read here: its label says that it is anybody's.
                Part::Image(_) => {}
                // Also the user's earlier words: they were let in when they were said, and order nothing now.
                Part::Exchange { messages } => texts.extend(messages.iter().filter_map(|message| match message {
                    Message::System { text }
                    | Message::User { text }
                    | Message::Assistant { text, .. }
                    | Message::Tool { text, .. } => Some((text.clone(), Channel::Tool)),
                    Message::Image(_) => None,
                })),
            }
        }
        self.scan(texts).await
    }

    /// What stands in a call's outcome, as far as others than user and platform wrote it.
    pub(crate) async fn outcome(&self, call: CallNo, payload: &Payload) -> Option<Body> {
        self.firewall.as_ref()?;
        let text = match payload {
            Payload::Result { value, labels, .. } if is_untrusted(labels) => {
                let mut text = String::new();
                gather(value, &mut text);
                text
            }
            Payload::Failure { message, label, .. } if label.integrity == Integrity::Untrusted => message.clone(),
            _ => return None,
        };
        let found = self.scan(vec![(text, Channel::Tool)]).await?;
        Some(found.into_body(Some(call), false))
    }

    /// The worst finding of several texts.
    async fn scan(&self, texts: Vec<(String, Channel)>) -> Option<Found> {
        let firewall = Arc::clone(self.firewall.as_ref()?);
        let bytes: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let scanning = Arc::clone(&firewall);
        let scan = move || {
            let findings = texts.iter().map(|(text, channel)| scanning.scan(text, *channel));
            findings.max_by_key(|finding| (finding.verdict, finding.score_milli))
        };
        // The first one makes its tables, on a thread that may take its time, and who comes meanwhile waits beside it.
        let finding = if bytes <= INLINE_BYTES_MAX && self.is_warm.load(Ordering::Relaxed) {
            scan()
        } else {
            match tokio::task::spawn_blocking(scan).await {
                Ok(finding) => finding,
                Err(error) => {
                    // A detector that fails finds nothing; what decides about effects does not ask it.
                    tracing::error!(%error, "a text could not be scanned");
                    None
                }
            }
        };
        self.is_warm.store(true, Ordering::Relaxed);
        let finding = finding.filter(|finding| finding.verdict != Verdict::Clean)?;
        Some(Found { finding, digest: firewall.digest() })
    }
}

/// Something that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    finding: Finding,
    digest: are_core::digest::Digest,
}

impl Found {
    /// True for an order in the user's own name.
    pub(crate) fn is_refused(&self) -> bool {
        self.finding.verdict == Verdict::Refused
    }

    /// What the client is told of a refusal.
    pub(crate) fn fault(&self) -> Fault {
        Fault::new(
            Code::PROMPT_REFUSED,
            format!("the prompt firewall refused the prompt: {}", self.finding.reasons.join(", ")),
            "say it otherwise, quote what you only write about, or send it again with `allow_flagged` \
             (`are run --allow-flagged`) if you mean it",
        )
    }

    /// The record of it.
    pub(crate) fn into_body(self, call: Option<CallNo>, allowed: bool) -> Body {
        Body::Firewall {
            verdict: self.finding.verdict.as_str().to_owned(),
            score_milli: self.finding.score_milli,
            reasons: self.finding.reasons,
            firewall: self.digest,
            call,
            allowed,
        }
    }
}

fn is_untrusted(labels: &Labels) -> bool {
    worst_of(labels).is_none_or(|label| label.integrity == Integrity::Untrusted)
}

/// All texts of a value, one a line, as far as they are scanned.
fn gather(value: &Value, out: &mut String) {
    if out.len() > 2 * SCANNED_BYTES_MAX {
        return;
    }
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
