//! Sessions: listed, begun, shown, forked, replayed, deleted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::AgentName;
use are_core::store::SessionRow;
use are_engine::api::{
    Difference, NewSession, PendingApproval, ReplayReport, SessionFound, SessionSearch, SessionsFound,
};
use are_engine::engine::works_for;
use are_policy::rules::{Profile, Rules};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::approvals::Waiting;
use super::{Answer, Params, Place, Told, Who, created, done, json, session};
use crate::server::app::App;
use crate::server::problem::{Problem, invalid};

/// Sessions of one page when the client does not say.
const PAGE: u32 = 50;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Listing {
    /// At most so many.
    limit: Option<u32>,
    /// Only those used before this time, in milliseconds since 1970.
    before_ms: Option<u64>,
    /// Without those of agents that work for other sessions; a page can be shorter by these.
    #[serde(default)]
    own: bool,
    /// Only those in whose prompts or answers all these words stand, in any case; at most 50. One request reads a bounded
    /// part of the journals, and `next` says where more is left.
    search: Option<String>,
    /// The `next` of an earlier answer to the same search.
    from: Option<String>,
}

/// A session in a list.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Listed {
    session: String,
    agent: String,
    workspace: String,
    /// First words of the first prompt.
    title: String,
    /// Turns begun.
    turns: u32,
    /// Last entry.
    seq: u64,
    epoch: u32,
    created_at_ms: u64,
    updated_at_ms: u64,
    last_account_id: String,
    last_thread_id: Option<String>,
    /// The session that its agent works for; `null` for a session of its own.
    parent: Option<String>,
    /// Where the words of a search stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found>,
}

/// The first prompt or answer of a session in which the words of a search stand.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Found {
    /// Its last entry.
    seq: u64,
    turn: Option<u32>,
    /// The text around the words, in one line.
    text: String,
}

impl From<SessionRow> for Listed {
    fn from(row: SessionRow) -> Self {
        Self {
            session: row.key.to_string(),
            agent: row.agent.to_string(),
            workspace: row.workspace,
            title: row.title,
            turns: row.turns,
            seq: row.head.seq,
            epoch: row.epoch,
            created_at_ms: row.created_at_ms,
            updated_at_ms: row.updated_at_ms,
            last_account_id: row.last_account_id.to_string(),
            parent: row.last_thread_id.as_ref().and_then(works_for).map(|parent| parent.to_string()),
            last_thread_id: row.last_thread_id.map(|thread| thread.to_string()),
            found: None,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Sessions {
    sessions: Vec<Listed>,
    /// Of a search: where it goes on, with `from`; absent when all sessions were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The caller's sessions, last used first, all of them or those in which words stand.
#[utoipa::path(get, path = "/api/sessions", params(Listing), responses((status = 200, body = Sessions), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, who: Who, Params(listing): Params<Listing>) -> Answer {
    let Listing { limit, before_ms, own, search, from } = listing;
    let limit = limit.unwrap_or(PAGE);
    match search {
        Some(_) if before_ms.is_some() => {
            Err(invalid("a search goes on with `from`, not with `before_ms`", "send the `next` of the answer before")
                .into())
        }
        Some(text) => {
            let from = from.map(|from| from.parse()).transpose()?;
            search_for(&app, &who, SessionSearch { text, limit, from, own }).await
        }
        None if from.is_some() => Err(invalid("`from` is of a search", "send the same `search` with it").into()),
        None => {
            let rows = app.engine.sessions(&who.caller, limit, before_ms).await?;
            let sessions = rows.into_iter().map(Listed::from).filter(|listed| !own || listed.parent.is_none());
            json(&Sessions { sessions: sessions.collect(), next: None })
        }
    }
}

async fn search_for(app: &App, who: &Who, wish: SessionSearch) -> Answer {
    let SessionsFound { found, next } = app.engine.search_sessions(&who.caller, wish).await?;
    let listed = |SessionFound { row, seq, turn, excerpt }| {
        let found = Found { seq, turn, text: excerpt };
        Listed { found: Some(found), ..Listed::from(row) }
    };
    let sessions = found.into_iter().map(listed).collect();
    json(&Sessions { sessions, next: next.map(|next| next.to_string()) })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Wanted {
    /// Its agent; the default one when absent.
    #[schema(value_type = Option<String>)]
    agent: Option<AgentName>,
    /// Its workspace; on the unix socket only.
    #[schema(value_type = Option<String>)]
    workspace: Option<PathBuf>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Made {
    session: String,
}

/// Begins a session.
#[utoipa::path(post, path = "/api/sessions", request_body = Option<Wanted>, responses((status = 201, body = Made), (status = "default", body = Problem)))]
pub(in crate::server) async fn create(State(app): State<Arc<App>>, who: Who, wanted: Told<Wanted>) -> Answer {
    let new = wanted
        .0
        .map_or_else(NewSession::default, |wanted| NewSession { agent: wanted.agent, workspace: wanted.workspace });
    let new = app.new_session(&who.principal, new)?;
    let key = app.engine.create(&who.caller, new).await?;
    created(&Made { session: key.to_string() })
}

/// A session in full.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Shown {
    #[serde(flatten)]
    listed: Listed,
    /// The running turn.
    turn: Option<u32>,
    approvals: Vec<Waiting>,
}

/// One session.
#[utoipa::path(get, path = "/api/sessions/{key}", params(("key" = String, Path)), responses((status = 200, body = Shown), (status = "default", body = Problem)))]
pub(in crate::server) async fn show(State(app): State<Arc<App>>, who: Who, Place(key): Place<String>) -> Answer {
    let view = app.engine.session(&who.caller, session(&key)?).await?;
    let approvals = view.approvals.into_iter().map(|approval: PendingApproval| Waiting::from(approval)).collect();
    json(&Shown { listed: view.row.into(), turn: view.turn, approvals })
}

/// Erases what was said and read; the records stay as proof.
#[utoipa::path(delete, path = "/api/sessions/{key}", params(("key" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(State(app): State<Arc<App>>, who: Who, Place(key): Place<String>) -> Answer {
    app.engine.delete(&who.caller, session(&key)?).await?;
    done()
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct ForkAt {
    /// Up to the end of this turn; the last finished one when absent.
    turn: Option<u32>,
}

/// Begins a session that knows this one.
#[utoipa::path(post, path = "/api/sessions/{key}/fork", params(("key" = String, Path)), request_body = Option<ForkAt>, responses((status = 201, body = Made), (status = "default", body = Problem)))]
pub(in crate::server) async fn fork(
    State(app): State<Arc<App>>,
    who: Who,
    Place(key): Place<String>,
    at: Told<ForkAt>,
) -> Answer {
    let turn = at.0.and_then(|at| at.turn);
    let fork = app.engine.fork(&who.caller, session(&key)?, turn).await?;
    created(&Made { session: fork.to_string() })
}

/// Under what to replay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Replaying {
    /// Other rules; the recorded ones when absent.
    policy: Option<OtherRules>,
    /// Run turns of another engine version too, instead of only verifying them.
    #[serde(default)]
    reexecute: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct OtherRules {
    /// Name of a profile; the one in force when absent.
    profile: Option<String>,
    /// Rule files by name.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// What a replay came to.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Replayed {
    session: String,
    /// Records read.
    records: u64,
    /// Of these, derived ones that were regenerated and compared.
    derived: u64,
    /// Of these, verified only, because another engine version wrote them.
    verified_only: u64,
    /// Hash of the last record.
    head: String,
    difference: Option<Differs>,
}

/// The first record that was not regenerated.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Differs {
    seq: u64,
    action: String,
    recorded: String,
    regenerated: String,
}

impl From<ReplayReport> for Replayed {
    fn from(report: ReplayReport) -> Self {
        let differs =
            |Difference { seq, action, recorded, regenerated }| Differs { seq, action, recorded, regenerated };
        Self {
            session: report.session.to_string(),
            records: report.records,
            derived: report.derived,
            verified_only: report.verified_only,
            head: report.head.to_string(),
            difference: report.difference.map(differs),
        }
    }
}

/// Feeds the recorded inputs to the engine again and compares what it derives.
#[utoipa::path(post, path = "/api/sessions/{key}/replay", params(("key" = String, Path)), request_body = Option<Replaying>, responses((status = 200, body = Replayed), (status = "default", body = Problem)))]
pub(in crate::server) async fn replay(
    State(app): State<Arc<App>>,
    who: Who,
    Place(key): Place<String>,
    told: Told<Replaying>,
) -> Answer {
    let Replaying { policy, reexecute } = told.0.unwrap_or(Replaying { policy: None, reexecute: false });
    let rules = policy.map(|policy| rules(policy, app.engine.rules().profile())).transpose()?;
    let report = app.engine.replay(&who.caller, session(&key)?, rules, reexecute).await?;
    json(&Replayed::from(report))
}

fn rules(other: OtherRules, in_force: Profile) -> Result<Rules, Fault> {
    let profile = match other.profile {
        Some(name) => name
            .parse()
            .map_err(|error: are_policy::rules::UnknownProfile| invalid(error.to_string(), "name one of them"))?,
        None => in_force,
    };
    let files: Vec<_> = other.files.into_iter().collect();
    Rules::new(profile, &files).map_err(|error| {
        Fault::new(
            Code::POLICY_INVALID,
            error.to_string(),
            "mend the rules; `are policy check DIR` shows every finding",
        )
    })
}
