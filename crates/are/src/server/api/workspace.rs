//! What turns changed in the workspace: shown, and put back.

use std::sync::Arc;

use are_core::change::{FileState, Lost};
use are_core::ids::SessionKey;
use are_engine::api::{FileDiff, TurnDiff, Undone};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Params, Place, Told, Who, json, session};
use crate::server::app::App;
use crate::server::problem::Problem;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct OfTurn {
    /// The turn; the latest one when absent.
    turn: Option<u32>,
}

/// What a turn changed.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Diff {
    turn: u32,
    files: Vec<File>,
    /// Sessions of its agents that did not come to their end: what they changed is not among the files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    apart: Vec<String>,
}

/// What a turn made of one path.
#[derive(Serialize, ToSchema)]
struct File {
    path: String,
    /// Where it was before, when it was moved.
    from: Option<String>,
    /// What stood there before; `null` for nothing.
    #[schema(value_type = Option<Standing>)]
    before: Option<Standing>,
    /// What the turn left; `null` for nothing.
    #[schema(value_type = Option<Standing>)]
    after: Option<Standing>,
    /// True when nothing is known that keeps it from being put back.
    is_restorable: bool,
    /// Why it cannot be put back: `too_large`, `no_room`, `unreadable`, `special` or `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// False when nobody knows whether it happened.
    is_certain: bool,
    /// Unified diff of a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    /// Why there is no diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// What stands at a path.
#[derive(Serialize, ToSchema)]
struct Standing {
    /// `file`, `link`, `directory` or `other`.
    kind: &'static str,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    /// Length of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// SHA-256 of a file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// What a link says.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl From<FileState> for Standing {
    fn from(state: FileState) -> Self {
        let kind = |kind| Self { kind, mode: None, bytes: None, digest: None, target: None };
        match state {
            FileState::File { mode, bytes, digest } => Self {
                mode: Some(mode),
                bytes: Some(bytes),
                digest: digest.map(|digest| digest.to_string()),
                ..kind("file")
            },
            FileState::Link { target } => Self { target: Some(target), ..kind("link") },
            FileState::Directory { mode } => Self { mode, ..kind("directory") },
            FileState::Other {} => kind("other"),
        }
    }
}

impl From<FileDiff> for File {
    fn from(diff: FileDiff) -> Self {
        // What was not there before is put back by taking away what is.
        let lost = diff.lost.filter(|_| diff.before.is_some());
        Self {
            path: diff.path,
            from: diff.from,
            before: diff.before.map(Standing::from),
            after: diff.after.map(Standing::from),
            is_restorable: lost.is_none(),
            reason: lost.map(reason),
            is_certain: diff.is_certain,
            diff: diff.text,
            note: diff.note,
        }
    }
}

const fn reason(lost: Lost) -> &'static str {
    match lost {
        Lost::TooLarge => "too_large",
        Lost::NoRoom => "no_room",
        Lost::Unreadable => "unreadable",
        Lost::Special => "special",
        Lost::Name => "name",
    }
}

/// What a turn changed in the workspace.
#[utoipa::path(get, path = "/api/sessions/{key}/diff", params(("key" = String, Path), OfTurn), responses((status = 200, body = Diff), (status = "default", body = Problem)))]
pub(in crate::server) async fn diff(
    State(app): State<Arc<App>>,
    who: Who,
    Place(key): Place<String>,
    Params(of): Params<OfTurn>,
) -> Answer {
    let TurnDiff { turn, files, apart } = app.engine.diff(&who.caller, session(&key)?, of.turn).await?;
    json(&Diff { turn, files: files.into_iter().map(File::from).collect(), apart: keys(&apart) })
}

/// Which turn to undo.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Undoing {
    turn: u32,
    /// Only say what would be put back.
    #[serde(default)]
    dry_run: bool,
}

/// What was put back.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Undo {
    /// The undone turn.
    turn: u32,
    /// The turn that undid it; `null` when nothing was done.
    by: Option<u32>,
    /// The paths that were put back, or would be, in this order.
    paths: Vec<String>,
    /// Sessions of its agents that did not come to their end: what they changed stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    apart: Vec<String>,
}

fn keys(sessions: &[SessionKey]) -> Vec<String> {
    sessions.iter().map(ToString::to_string).collect()
}

/// Puts back what a turn changed in the workspace, all of it or nothing.
#[utoipa::path(post, path = "/api/sessions/{key}/undo", params(("key" = String, Path)), request_body = Undoing, responses((status = 200, body = Undo), (status = "default", body = Problem)))]
pub(in crate::server) async fn undo(
    State(app): State<Arc<App>>,
    who: Who,
    Place(key): Place<String>,
    told: Told<Undoing>,
) -> Answer {
    let Undoing { turn, dry_run } = told.required()?;
    let Undone { turn, by, paths, apart } = app.engine.undo(&who.caller, session(&key)?, turn, dry_run).await?;
    json(&Undo { turn, by, paths, apart: keys(&apart) })
}
