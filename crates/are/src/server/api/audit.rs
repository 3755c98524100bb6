//! The log of audit: checkpoints, export, proofs, verification, keys.

use std::io;
use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_store::tree::{Checkpoint, Leaf};
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Params, Who, json, session, typed};
use crate::audit::note::unverified;
use crate::audit::{Auditor, Report};
use crate::server::app::App;
use crate::server::auth::Tie;
use crate::server::problem::{Problem, invalid};

/// A signed statement about the log.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct SignedCheckpoint {
    /// Name of the log.
    origin: String,
    /// Records that it covers.
    size: u64,
    /// Root of the tree over them, hexadecimal.
    root: String,
    /// The signed note.
    note: String,
    made_at_ms: u64,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct SignedCheckpoints {
    checkpoints: Vec<SignedCheckpoint>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Lines {
    /// Leave out so many records at the beginning.
    after: Option<u64>,
    /// End behind so many records; everything that is synced when absent.
    until: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Proving {
    /// Number of the leaf, from 0.
    leaf: Option<u64>,
    /// Instead: the session of a record,
    session: Option<String>,
    /// and its place there.
    seq: Option<u64>,
    /// Instead: prove that the log only grew since it had so many records.
    from: Option<u64>,
}

/// A proof in its text and its parts.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Proven {
    /// The proof as a text, `c2sp.org/tlog-proof@v1` or `old N`.
    proof: String,
    /// Of a record: its leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<u64>,
    /// Of a record: its line.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    /// Of growth: records at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// Hashes of the proof, hexadecimal.
    hashes: Vec<String>,
    /// The signed note that it ends in.
    checkpoint: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Kept {
    /// A checkpoint that somebody kept elsewhere, as it was given out.
    checkpoint: Option<String>,
}

/// What a check of the log came to.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Verified {
    records: u64,
    /// Of these, how many a checkpoint covers.
    covered: u64,
    sessions: u64,
    /// Checkpoints that agree.
    checkpoints: u64,
    /// Root of the tree, hexadecimal.
    root: String,
    /// Payloads that are what was recorded.
    payloads: u64,
    /// Payloads that were erased, with a record that says so.
    erased: u64,
    /// Records whose tokens, reasoning or output are what was recorded.
    framed: u64,
}

impl From<Report> for Verified {
    fn from(report: Report) -> Self {
        Self {
            records: report.records,
            covered: report.covered,
            sessions: report.sessions,
            checkpoints: report.checkpoints,
            root: report.root.to_string(),
            payloads: report.payloads,
            erased: report.erased,
            framed: report.framed,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct VerifierKeys {
    /// The one that verifies what is signed now.
    vkey: String,
    /// Those of what was signed before, newest first.
    retired: Vec<String>,
}

fn auditor(app: &App) -> Result<&Arc<Auditor>, Fault> {
    app.settings.auditor.as_ref().ok_or_else(|| {
        Fault::new(
            Code::AUDIT_OFF,
            "auditing is off on this server",
            "start it without `ARE_AUDIT_LOG=false`; records are kept meanwhile",
        )
    })
}

fn shown(checkpoint: Checkpoint) -> Result<SignedCheckpoint, Fault> {
    let head = unverified(&checkpoint.note).map_err(|why| {
        Fault::new(
            Code::AUDIT_BROKEN,
            format!("the checkpoint of {} leaves: {why}", checkpoint.size),
            "run `are audit verify`",
        )
    })?;
    let Checkpoint { note, made_at_ms, .. } = checkpoint;
    Ok(SignedCheckpoint { origin: head.origin, size: head.size, root: head.root.to_string(), note, made_at_ms })
}

/// A checkpoint of everything that is synced now.
#[utoipa::path(get, path = "/api/audit/checkpoint", responses((status = 200, body = SignedCheckpoint), (status = "default", body = Problem)))]
pub(in crate::server) async fn checkpoint(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&shown(auditor(&app)?.checkpoint().await?)?)
}

/// The checkpoints that are kept, largest first.
#[utoipa::path(get, path = "/api/audit/checkpoints", responses((status = 200, body = SignedCheckpoints), (status = "default", body = Problem)))]
pub(in crate::server) async fn checkpoints(State(app): State<Arc<App>>, _: Who) -> Answer {
    let kept = auditor(&app)?.checkpoints().await?;
    json(&SignedCheckpoints { checkpoints: kept.into_iter().map(shown).collect::<Result<_, _>>()? })
}

/// The keys to verify checkpoints with.
#[utoipa::path(get, path = "/api/audit/vkey", responses((status = 200, body = VerifierKeys), (status = "default", body = Problem)))]
pub(in crate::server) async fn vkey(State(app): State<Arc<App>>, _: Who) -> Answer {
    let keys = auditor(&app)?.verifiers();
    let mut texts = keys.texts().map(str::to_owned);
    let vkey = texts.next().unwrap_or_default();
    json(&VerifierKeys { vkey, retired: texts.collect() })
}

/// Checks every record, chain, payload, leaf, hash and checkpoint of the store.
#[utoipa::path(get, path = "/api/audit/verify", params(Kept), responses((status = 200, body = Verified), (status = "default", body = Problem)))]
pub(in crate::server) async fn verify(State(app): State<Arc<App>>, _: Who, Params(kept): Params<Kept>) -> Answer {
    let kept: Vec<String> = kept.checkpoint.into_iter().collect();
    json(&Verified::from(auditor(&app)?.verify(&kept).await?))
}

/// Proves that a record is in the log, or that the log only grew.
#[utoipa::path(get, path = "/api/audit/prove", params(Proving), responses((status = 200, body = Proven), (status = "default", body = Problem)))]
pub(in crate::server) async fn prove(State(app): State<Arc<App>>, _: Who, Params(wanted): Params<Proving>) -> Answer {
    let auditor = auditor(&app)?;
    let (proof, leaf, from) = match (wanted.leaf, wanted.session, wanted.seq, wanted.from) {
        (Some(leaf), None, None, None) => (auditor.prove_leaf(leaf).await, Some(leaf), None),
        (None, Some(key), Some(seq), None) => {
            let leaf = auditor.leaf_of(session(&key)?, seq).await?;
            (auditor.prove_leaf(leaf).await, Some(leaf), None)
        }
        (None, None, None, Some(from)) => {
            let proof = auditor.prove_growth(from).await?;
            return json(&proven(&proof, None, None, Some(from)));
        }
        _ => {
            return Err(
                invalid("one thing is proven at a time", "send `leaf`, or `session` and `seq`, or `from`").into()
            );
        }
    };
    let (proof, record) = proof?;
    json(&proven(&proof, leaf, Some(&record), from))
}

fn proven(proof: &crate::audit::proof::Proof, leaf: Option<u64>, record: Option<&Leaf>, from: Option<u64>) -> Proven {
    Proven {
        proof: proof.text(),
        leaf,
        record: record.map(|leaf| String::from_utf8_lossy(&leaf.bytes).into_owned()),
        from,
        hashes: proof.hashes.iter().map(ToString::to_string).collect(),
        checkpoint: proof.checkpoint.clone(),
    }
}

/// Makes another key sign from here on.
#[utoipa::path(post, path = "/api/audit/rotate-key", responses((status = 200, body = VerifierKeys), (status = "default", body = Problem)))]
pub(in crate::server) async fn rotate(State(app): State<Arc<App>>, who: Who) -> Answer {
    let keeper = auditor(&app)?;
    let rotation = keeper.begin_rotation().await?;
    let (old, new) = (rotation.old.clone(), rotation.new.clone());
    if let Err(fault) = app.engine.rotate_signing_key(&who.caller, old, new).await {
        keeper.abandon_rotation()?;
        return Err(fault.into());
    }
    keeper.finish_rotation().await?;
    drop(rotation);
    vkey(State(app), who).await
}

struct Export {
    auditor: Arc<Auditor>,
    tie: Tie,
    next: u64,
    until: u64,
}

impl Export {
    /// The next lines; a page of them, so that not every line is a piece of its own on the wire.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.tie.is_cut() {
            return Err(Fault::new(Code::CREDENTIAL_INVALID, "the token was revoked", "use one that is good"));
        }
        let mut lines = Vec::new();
        for leaf in self.auditor.leaves(self.next, self.until).await? {
            lines.extend_from_slice(&leaf.bytes);
            lines.push(b'\n');
            self.next += 1;
        }
        Ok((!lines.is_empty()).then(|| lines.into()))
    }
}

/// Records as JSON lines in the order of the leaves; a leaf is exactly the bytes of a line.
#[utoipa::path(get, path = "/api/audit/export", params(Lines), responses((status = 200, content_type = "application/x-ndjson", body = String), (status = "default", body = Problem)))]
pub(in crate::server) async fn export(State(app): State<Arc<App>>, who: Who, Params(range): Params<Lines>) -> Answer {
    let auditor = Arc::clone(auditor(&app)?);
    let size = auditor.checkpoint().await?.size;
    let (next, until) = (range.after.unwrap_or(0), range.until.unwrap_or(size));
    if until > size {
        let what = format!("the log has {size} records, and not {until}");
        return Err(Fault::new(Code::AUDIT_UNKNOWN, what, "leave `until` out, or take the size of a checkpoint").into());
    }
    let mut export = Export { auditor, tie: who.principal.tie, next, until };
    // The first page decides whether there is an answer at all; a later failure breaks the transfer off.
    let first = export.next().await?;
    let rest = stream::unfold(Some(export), |export| async move {
        let mut export = export?;
        match export.next().await {
            Ok(Some(lines)) => Some((Ok(lines), Some(export))),
            Ok(None) => None,
            Err(fault) => Some((Err(io::Error::other(fault)), None)),
        }
    });
    let lines = stream::iter(first.map(Ok)).chain(rest);
    Ok(typed(StatusCode::OK, "application/x-ndjson", Body::from_stream(lines)))
}
