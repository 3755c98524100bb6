//! What clients do with sessions.

use are_core::account::Via;
use are_core::body::{Answer, Body, Rating, Scope};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, AgentName, Epoch, RequestId, Seq, SessionKey, TurnNo};
use are_core::journal::{Draft, Entry, Row, decode};
use are_core::label::Integrity;
use are_core::limits::{PROMPT_BYTES_MAX, PROMPT_PARTS_MAX};
use are_core::model::Asked;
use are_core::payload::{Part, Payload};
use are_core::store::{Change, SessionFilter, SessionRow, StoreError};
use are_policy::rules::Rules;
use tokio::sync::oneshot;

use super::{Engine, Handle, Inbox, Tail};
use crate::actor::{Birth, Command, Prompting, Refusal, Reply, content_digest};
use crate::api::{
    Ack, Approve, Caller, NewSession, PendingApproval, Prompt, ReplayReport, SessionView, Standing, Target,
};
use crate::exchange;
use crate::faults;
use crate::image;
use crate::replay;
use crate::screen::Found;

/// Messages that a client may hand over as said before: a long conversation, not a log.
const EXCHANGE_MESSAGES_MAX: usize = 1_024;
/// Tools of a client's own in one turn.
const CLIENT_TOOLS_MAX: usize = 64;
/// Bytes of their declarations together; each is read by the model in every step of the turn.
const CLIENT_TOOLS_BYTES_MAX: usize = 64 << 10;
/// Bytes of what a door has kept with a prompt: names and labels, no texts.
const ECHO_BYTES_MAX: usize = 64 << 10;

/// Entries of one page of `events` and `rows`.
const PAGE_ROWS_MAX: u32 = 1_000;
/// Bytes of one page.
const PAGE_BYTES: usize = 4 << 20;
/// Sessions of one page of a listing.
const SESSIONS_MAX: u32 = 200;
/// Sessions looked at for waiting approvals.
const INBOX_SESSIONS: usize = 200;

type Answered = Result<(TurnNo, Seq), Refusal>;

impl Engine {
    /// Makes a session without a turn.
    ///
    /// # Errors
    /// The agent does not exist, the workspace is refused, the store is full.
    pub async fn create(&self, caller: &Caller, new: NewSession) -> Result<SessionKey, Fault> {
        let birth = self.birth(caller, new)?;
        let (key, handle) = self.bear(birth)?;
        self.ask(&handle, |tx| Command::View { until: None, tx }).await??;
        Ok(key)
    }

    /// Accepts a prompt; returns when it is durable.
    ///
    /// # Errors
    /// It is too large, the session is unknown, busy or full, the request id was used for something else.
    pub async fn prompt(&self, caller: &Caller, target: Target, prompt: Prompt) -> Result<Ack, Fault> {
        let prompt = self.checked(caller, prompt)?;
        let request_id = match &prompt.request_id {
            Some(request_id) => request_id.clone(),
            None => self.make_request_id()?,
        };
        let content = content_digest(
            &request_id,
            &prompt.content,
            prompt.integrity,
            (prompt.temperature_milli, prompt.effort, prompt.model.as_deref(), &prompt.asked),
        );
        let wanted = match &target {
            Target::Session(key) => Some(*key),
            Target::New(_) => None,
        };
        let found =
            if prompt.is_direct { None } else { self.inner.screen.prompt(&prompt.content, prompt.integrity).await };
        if let Some(found) = found.as_ref().filter(|found| found.is_refused() && !prompt.allow_flagged) {
            self.note_refused(caller, wanted, prompt.content, found).await?;
            return Err(found.fault());
        }
        let flagged = found.map(|found| found.into_body(None, prompt.allow_flagged));
        let (tx, answer) = oneshot::channel();
        let prompting = Box::new(Prompting {
            caller: caller.clone(),
            prompt,
            request_id: request_id.clone(),
            content,
            flagged,
            reply: Reply::new(caller.via.clone(), tx),
        });
        let session = match target {
            Target::Session(key) => {
                let handle = self.owned(caller, key).await?;
                self.tell(&handle, Command::Prompt(prompting)).await?;
                key
            }
            Target::New(new) => {
                let mut birth = self.birth(caller, new)?;
                birth.prompt = Some(prompting);
                self.bear(birth)?.0
            }
        };
        match answer.await.map_err(|_| faults::stopping())? {
            Ok((turn, seq)) => Ok(Ack { session, request_id, turn, seq }),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Taken { session, turn, content: earlier }) => {
                if earlier != content || wanted.is_some_and(|wanted| wanted != session) {
                    return Err(faults::request_conflict());
                }
                let handle = self.owned(caller, session).await?;
                let (turn, seq) = self.command(caller, &handle, |reply| Command::FindTurn { turn, reply }).await?;
                Ok(Ack { session, request_id, turn, seq })
            }
        }
    }

    /// Adds the user's words to the running turn; a streaming model stops and goes on with them.
    ///
    /// # Errors
    /// The turn is not running.
    pub async fn steer(
        &self,
        caller: &Caller,
        session: SessionKey,
        turn: TurnNo,
        content: Vec<Part>,
    ) -> Result<Seq, Fault> {
        let content = self.checked_parts(caller, content)?;
        let found = self.inner.screen.prompt(&content, Integrity::User).await;
        if let Some(found) = found.as_ref().filter(|found| found.is_refused()) {
            self.note_refused(caller, Some(session), content, found).await?;
            return Err(found.fault());
        }
        let flagged = found.map(|found| found.into_body(None, false));
        let handle = self.owned(caller, session).await?;
        Ok(self.command(caller, &handle, |reply| Command::Steer { turn, content, flagged, reply }).await?.1)
    }

    /// Records that words were not taken: in their session, or in the system session when they would have begun one.
    async fn note_refused(
        &self,
        caller: &Caller,
        session: Option<SessionKey>,
        content: Vec<Part>,
        found: &Found,
    ) -> Result<(), Fault> {
        let body = found.clone().into_body(None, false);
        let Some(session) = session else {
            // Without the words: what the system session holds outlives the sessions and accounts that said it.
            let draft = Draft { turn: None, body, payload: None };
            return self
                .inner
                .system
                .append_all((caller.account.clone(), caller.via.clone()), vec![draft], Vec::new())
                .await;
        };
        let handle = self.owned(caller, session).await?;
        let account = caller.account.clone();
        self.command(caller, &handle, |reply| Command::NoteRefused { account, content, body, reply }).await.map(drop)
    }

    /// Records the user's opinion of a turn.
    ///
    /// # Errors
    /// There is no such turn.
    pub async fn feedback(
        &self,
        caller: &Caller,
        session: SessionKey,
        turn: TurnNo,
        rating: Option<Rating>,
        note: Option<String>,
    ) -> Result<Seq, Fault> {
        if note.as_ref().is_some_and(|note| note.len() > PROMPT_BYTES_MAX) {
            return Err(too_large());
        }
        let note = note.map(|note| self.inner.vault.scrubber(&caller.account).clean(note));
        let handle = self.owned(caller, session).await?;
        Ok(self.command(caller, &handle, |reply| Command::Feedback { turn, rating, note, reply }).await?.1)
    }

    /// Stops a running or waiting turn.
    ///
    /// # Errors
    /// The turn is not running.
    pub async fn cancel(&self, caller: &Caller, session: SessionKey, turn: TurnNo) -> Result<Seq, Fault> {
        let handle = self.owned(caller, session).await?;
        Ok(self.command(caller, &handle, |reply| Command::Cancel { turn, reply }).await?.1)
    }

    /// Answers an approval.
    ///
    /// # Errors
    /// The caller may not, no such approval waits, or the digest is another one's.
    pub async fn approve(&self, caller: &Caller, session: SessionKey, answer: Approve) -> Result<Seq, Fault> {
        if !caller.can_approve {
            return Err(Fault::new(
                Code::SCOPE_MISSING,
                "the token may not approve",
                "use one with the scope `approve`",
            ));
        }
        if answer.decision == Answer::AllowAlways && !caller.can_administer {
            return Err(Fault::new(
                Code::SCOPE_MISSING,
                "`allow_always` adds a rule, and the token may not",
                "use one with the scope `admin`, or answer `allow_once` or `allow_session`",
            ));
        }
        let handle = self.owned(caller, session).await?;
        let by = caller.account.clone();
        Ok(self.command(caller, &handle, |reply| Command::Approve { by, answer, reply }).await?.1)
    }

    /// Begins to follow a session, after entry `after` or from its present end.
    ///
    /// # Errors
    /// The session is unknown or corrupt.
    pub async fn attach(
        &self,
        caller: &Caller,
        session: SessionKey,
        after: Option<Seq>,
        epoch: Option<Epoch>,
    ) -> Result<(Standing, Tail), Fault> {
        let handle = self.owned(caller, session).await?;
        let view = self.ask(&handle, |tx| Command::View { until: None, tx }).await??;
        let shared = handle.shared;
        let here = match shared.epoch.get() {
            Some(epoch) => *epoch,
            // Born in this process: the store has set it.
            None => {
                let row = self.owned_row(caller, session).await?;
                *shared.epoch.get_or_init(|| row.epoch)
            }
        };
        let seq = shared.head();
        let is_reset = epoch.is_some_and(|epoch| epoch != here) || after.is_some_and(|after| after > seq);
        let start = if is_reset { 0 } else { after.unwrap_or(seq) };
        let tail = Tail::new(shared, std::sync::Arc::clone(&self.inner.ports.store), start, caller.can_approve);
        Ok((Standing { session, seq, epoch: here, turn: view.turn, is_reset }, tail))
    }

    /// A page of the caller's sessions, newest first; at most 200.
    ///
    /// # Errors
    /// The store failed.
    pub async fn sessions(
        &self,
        caller: &Caller,
        limit: u32,
        before_ms: Option<u64>,
    ) -> Result<Vec<SessionRow>, Fault> {
        let filter = SessionFilter {
            owner: Some(caller.account.clone()),
            limit: limit.clamp(1, SESSIONS_MAX),
            before_ms: before_ms.map(|at| at.min(i64::MAX.unsigned_abs())),
        };
        self.inner.ports.store.sessions(filter).await.map_err(faults::store)
    }

    /// One session.
    ///
    /// # Errors
    /// It is unknown or corrupt.
    pub async fn session(&self, caller: &Caller, key: SessionKey) -> Result<SessionView, Fault> {
        let handle = self.owned(caller, key).await?;
        let view = self.ask(&handle, |tx| Command::View { until: None, tx }).await??;
        let row = self.inner.ports.store.session(key).await.map_err(faults::store)?;
        Ok(SessionView { row, turn: view.turn, approvals: view.approvals })
    }

    /// The entry that began a turn of a session; `None` for a turn that it does not have, or only inherited.
    ///
    /// # Errors
    /// The session is unknown or corrupt.
    pub async fn turn_began(&self, caller: &Caller, key: SessionKey, turn: TurnNo) -> Result<Option<Seq>, Fault> {
        let handle = self.owned(caller, key).await?;
        match self.command(caller, &handle, |reply| Command::FindTurn { turn, reply }).await {
            Ok((_, seq)) => Ok(Some(seq)),
            Err(fault) if fault.code == Code::REQUEST_CONFLICT => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Stored rows after `after`, at most 1,000; what an export is made of.
    ///
    /// # Errors
    /// The session is unknown, the store failed.
    pub async fn rows(&self, caller: &Caller, key: SessionKey, after: Seq, limit: u32) -> Result<Vec<Row>, Fault> {
        self.owned_row(caller, key).await?;
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        // No journal is longer; a database counts no further.
        let after = after.min(i64::MAX.unsigned_abs());
        self.inner.ports.store.read(key, after, limit, PAGE_BYTES).await.map_err(faults::store)
    }

    /// Entries after `after`, at most 1,000. Each is checked by itself, the chain when the session is opened.
    ///
    /// # Errors
    /// The session is unknown or corrupt, the store failed.
    pub async fn events(&self, caller: &Caller, key: SessionKey, after: Seq, limit: u32) -> Result<Vec<Entry>, Fault> {
        let handle = self.owned(caller, key).await?;
        self.ask(&handle, |tx| Command::View { until: None, tx }).await??;
        let rows = self.rows(caller, key, after, limit).await?;
        rows.iter().map(|row| decode(key, row).map_err(faults::corrupt)).collect()
    }

    /// Media type and bytes of an artifact.
    ///
    /// # Errors
    /// The session is unknown or keeps no such artifact.
    pub async fn artifact(&self, caller: &Caller, key: SessionKey, digest: Digest) -> Result<(String, Vec<u8>), Fault> {
        self.owned_row(caller, key).await?;
        self.inner.ports.store.artifact(key, digest).await.map_err(|error| match error {
            StoreError::NotFound => Fault::new(
                Code::SESSION_UNKNOWN,
                format!("the session keeps no artifact {digest}"),
                "take the digest from an `artifact` event of this session",
            ),
            error => faults::store(error),
        })
    }

    /// Erases what was said and read in a session; its records stay as proof.
    ///
    /// # Errors
    /// The session is unknown or corrupt.
    pub async fn delete(&self, caller: &Caller, key: SessionKey) -> Result<(), Fault> {
        self.delete_family(caller, key, None).await
    }

    /// The same, while `last` is the session's last turn.
    ///
    /// # Errors
    /// As [`delete`](Self::delete); ARE-0303 where another turn has begun since.
    pub async fn delete_while_last(&self, caller: &Caller, key: SessionKey, last: TurnNo) -> Result<(), Fault> {
        self.delete_family(caller, key, Some(last)).await
    }

    /// Erases a session with those of its agents.
    async fn delete_family(&self, caller: &Caller, key: SessionKey, last: Option<TurnNo>) -> Result<(), Fault> {
        let handle = self.owned(caller, key).await?;
        // What its agents were told and found stands in their sessions. First, so that none is left without this one.
        let mut all = vec![handle];
        let mut at = 0;
        while let Some(handle) = all.get(at).cloned() {
            at += 1;
            let view = self.ask(&handle, |tx| Command::View { until: None, tx }).await??;
            for child in view.children {
                match self.owned(caller, child).await {
                    Ok(handle) => all.push(handle),
                    // It was deleted by itself, or never came to be.
                    Err(fault) if fault.code == Code::SESSION_UNKNOWN => {}
                    Err(fault) => return Err(fault),
                }
            }
        }
        for handle in all.into_iter().rev() {
            let only = last.filter(|_| handle.shared.key == key);
            self.erase_session(&caller.account, caller.via.clone(), handle.shared.key, only).await?;
        }
        Ok(())
    }

    /// Erases a session on behalf of `by`; with `last` only while that is its last turn.
    pub(super) async fn erase_session(
        &self,
        by: &AccountId,
        via: Option<Via>,
        key: SessionKey,
        last: Option<TurnNo>,
    ) -> Result<(), Fault> {
        let handle = self.wake(key)?;
        let account = by.clone();
        self.command_by(via, &handle, |reply| Command::Delete { account, last, reply }).await?;
        // Only now: a session that could not be deleted keeps what it needs to undo. What a crash leaves here, the
        // next start removes.
        self.erase_checkpoints(key).await;
        Ok(())
    }

    /// A new session that knows the old one up to the end of `turn`, or of its last finished turn.
    ///
    /// # Errors
    /// The session is unknown or corrupt, or the turn has not ended.
    pub async fn fork(&self, caller: &Caller, key: SessionKey, turn: Option<TurnNo>) -> Result<SessionKey, Fault> {
        let handle = self.owned(caller, key).await?;
        let view = self.ask(&handle, |tx| Command::View { until: turn, tx }).await??;
        let Some(until) = view.fork_at else {
            let help = "wait for its end, or fork at an earlier turn";
            return Err(Fault::new(Code::TURN_NOT_RUNNING, "there is no finished turn to fork at", help));
        };
        let row = self.owned_row(caller, key).await?;
        let variables =
            self.inner.ports.store.variables(Some(key), caller.account.clone()).await.map_err(faults::store)?;
        let own = variables.into_iter().filter(|variable| variable.scope == Scope::Session);
        let variables = own.map(|row| inherited(&caller.account, row)).collect::<Result<_, _>>()?;
        let birth = Birth {
            owner: caller.account.clone(),
            via: caller.via.clone(),
            agent: row.agent,
            workspace: row.workspace,
            parent: Some((key, until)),
            child: None,
            variables,
            prompt: None,
        };
        let (fork, handle) = self.bear(birth)?;
        self.ask(&handle, |tx| Command::View { until: None, tx }).await??;
        Ok(fork)
    }

    /// Feeds the recorded inputs to the machine again and compares what it derives, under the recorded
    /// rules or under `rules`. Turns of another engine version are verified only, unless `reexecute`.
    ///
    /// # Errors
    /// The session is unknown or its chain is broken.
    pub async fn replay(
        &self,
        caller: &Caller,
        key: SessionKey,
        rules: Option<Rules>,
        reexecute: bool,
    ) -> Result<ReplayReport, Fault> {
        self.owned_row(caller, key).await?;
        let version = (!reexecute).then_some(self.inner.settings.version.as_str());
        replay::run(self.inner.ports.store.as_ref(), key, rules.map(std::sync::Arc::new), version).await
    }

    /// Approvals that wait for the caller, in sessions with an unfinished turn.
    ///
    /// # Errors
    /// The store failed.
    pub async fn approvals(&self, caller: &Caller) -> Result<Vec<PendingApproval>, Fault> {
        let mut waiting = Vec::new();
        let open = self.inner.ports.store.open_work().await.map_err(faults::store)?;
        let mut looked_at = 0;
        for key in open {
            // Sessions of others cost nothing of the caller's share.
            let Ok(handle) = self.owned(caller, key).await else { continue };
            looked_at += 1;
            if looked_at > INBOX_SESSIONS {
                break;
            }
            if let Ok(Ok(view)) = self.ask(&handle, |tx| Command::View { until: None, tx }).await {
                waiting.extend(view.approvals);
            }
        }
        Ok(waiting)
    }

    /// Follows what waits for the caller in all sessions, after the notice `last` where that is still known.
    #[must_use]
    pub fn inbox(&self, caller: &Caller, last: Option<&str>) -> Inbox {
        self.inner.inbox.open(caller.account.clone(), last, caller.can_approve)
    }

    fn checked(&self, caller: &Caller, mut prompt: Prompt) -> Result<Prompt, Fault> {
        prompt.content = self.checked_parts(caller, prompt.content)?;
        self.check_asked(&prompt.asked)?;
        prompt.asked.echo = self.inner.vault.scrubber(&caller.account).clean_json(prompt.asked.echo);
        // Said once, so that a turn stays what it is whatever is set up later. A call asks no model.
        let is_adaptive = prompt.asked.adaptive.unwrap_or(self.inner.settings.adaptive.is_default);
        prompt.asked.adaptive = Some(true).filter(|_| is_adaptive && !prompt.is_direct);
        if let Some(model) = &prompt.model {
            self.inner.ports.models.resolve(Some(model))?;
        }
        Ok(prompt)
    }

    fn checked_parts(&self, caller: &Caller, content: Vec<Part>) -> Result<Vec<Part>, Fault> {
        let bytes: usize = content
            .iter()
            .map(|part| match part {
                Part::Text { text } => text.len(),
                Part::File { name, media_type, text } => name.len() + media_type.len() + text.len(),
                Part::Image(image) => image::bytes(image),
                Part::Exchange { messages } => messages.iter().map(exchange::bytes).sum(),
            })
            .sum();
        let exchanged = content.iter().map(|part| match part {
            Part::Exchange { messages } => messages.len(),
            Part::Text { .. } | Part::File { .. } | Part::Image(_) => 0,
        });
        if bytes > PROMPT_BYTES_MAX
            || content.len() > PROMPT_PARTS_MAX
            || exchanged.sum::<usize>() > EXCHANGE_MESSAGES_MAX
        {
            return Err(too_large());
        }
        if bytes == 0 {
            return Err(Fault::new(Code::REQUEST_INVALID, "the prompt is empty", "say what should be done"));
        }
        image::shown(&content).try_for_each(image::check)?;
        let clean = |text| self.inner.vault.scrubber(&caller.account).clean(text);
        let parts = content.into_iter().map(|part| match part {
            Part::Text { text } => Part::Text { text: clean(text) },
            Part::File { name, media_type, text } => {
                Part::File { name: clean(name), media_type: clean(media_type), text: clean(text) }
            }
            Part::Image(image) => Part::Image(image),
            Part::Exchange { messages } => Part::Exchange {
                messages: messages.into_iter().map(|message| exchange::map_texts(message, clean)).collect(),
            },
        });
        Ok(parts.collect())
    }

    /// The tools of a client's own: few, small, and none under the name of one that is served, so that nobody mistakes
    /// the one for the other.
    fn check_asked(&self, asked: &Asked) -> Result<(), Fault> {
        let bytes: u64 = asked.tools.iter().map(are_policy::manifest::bytes_of).sum();
        if asked.tools.len() > CLIENT_TOOLS_MAX || bytes > CLIENT_TOOLS_BYTES_MAX as u64 {
            let message =
                format!("the client's tools are more than {CLIENT_TOOLS_MAX} or {CLIENT_TOOLS_BYTES_MAX} bytes");
            return Err(Fault::new(Code::PROMPT_TOO_LARGE, message, "declare those that this turn is about"));
        }
        if asked.echo.to_string().len() > ECHO_BYTES_MAX {
            let message = format!("what is to be kept with the prompt is more than {ECHO_BYTES_MAX} bytes");
            return Err(Fault::new(Code::PROMPT_TOO_LARGE, message, "send less of `metadata`"));
        }
        let served = self.tools();
        let mut names = std::collections::BTreeSet::new();
        for tool in &asked.tools {
            let name = tool.name.as_str();
            if served.get(name).is_some() {
                let message = format!("a tool that is served here is called `{name}`");
                return Err(Fault::new(Code::TOOL_EXISTS, message, "give the client's tool another name"));
            }
            if !names.insert(name) {
                let message = format!("two tools of the client are called `{name}`");
                return Err(Fault::new(Code::TOOL_EXISTS, message, "rename one"));
            }
        }
        Ok(())
    }

    /// The session and turn that a request id of the caller's is taken for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn taken(&self, caller: &Caller, request_id: &RequestId) -> Result<Option<(SessionKey, TurnNo)>, Fault> {
        let (account, request_id) = (caller.account.clone(), request_id.clone());
        let found = self.inner.ports.store.request(account, request_id).await.map_err(faults::store)?;
        Ok(found.map(|(session, turn, _)| (session, turn)))
    }

    fn make_request_id(&self) -> Result<RequestId, Fault> {
        let random = Digest(self.inner.ports.clock.random()).to_string();
        random[..32].parse().map_err(|_| faults::internal())
    }

    fn birth(&self, caller: &Caller, new: NewSession) -> Result<Birth, Fault> {
        self.inner.accounts.member(&caller.account).membership().ok_or_else(faults::account_gone)?;
        let agent: AgentName = new.agent.unwrap_or_else(|| self.inner.settings.default_agent.clone());
        self.inner.agent(&agent)?;
        let settings = &self.inner.settings;
        let workspace = new.workspace.or_else(|| {
            let default = settings.default_workspace.clone()?;
            // Other accounts have directories of their own below it.
            Some(if caller.account == settings.operator { default } else { default.join(caller.account.as_str()) })
        });
        if let Some(path) = &workspace {
            (self.inner.settings.workspace_guard)(path)?;
        }
        let workspace = workspace.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Birth {
            owner: caller.account.clone(),
            via: caller.via.clone(),
            agent,
            workspace,
            parent: None,
            child: None,
            variables: Vec::new(),
            prompt: None,
        })
    }

    fn bear(&self, birth: Birth) -> Result<(SessionKey, Handle), Fault> {
        let clock = &self.inner.ports.clock;
        let key = SessionKey::new(clock.now_ms(), &clock.random());
        Ok((key, self.inner.handle(key, Some(birth))?))
    }

    /// The row of a session of the caller; another's does not exist.
    pub(super) async fn owned_row(&self, caller: &Caller, key: SessionKey) -> Result<SessionRow, Fault> {
        let row = self.inner.ports.store.session(key).await.map_err(faults::store)?;
        if row.owner != caller.account || row.is_deleted || key == SessionKey::SYSTEM {
            return Err(faults::unknown_session());
        }
        Ok(row)
    }

    /// The actor of a session of the caller; another's does not exist.
    pub(super) async fn owned(&self, caller: &Caller, key: SessionKey) -> Result<Handle, Fault> {
        let known = self.inner.sessions().get(&key).and_then(|handle| handle.shared.owner.get().cloned());
        match known {
            Some(owner) if owner == caller.account => {}
            Some(_) => return Err(faults::unknown_session()),
            None => {
                self.owned_row(caller, key).await?;
            }
        }
        self.wake(key)
    }

    /// Sends a command; an actor that has just ended is started again.
    async fn tell(&self, handle: &Handle, command: Command) -> Result<(), Fault> {
        let key = handle.shared.key;
        let (mut handle, mut command) = (handle.clone(), Box::new(command));
        for _ in 0..3 {
            match handle.mailbox.send(command).await {
                Ok(()) => return Ok(()),
                Err(unsent) => command = unsent.0,
            }
            handle = self.wake(key)?;
        }
        Err(faults::stopping())
    }

    pub(super) async fn ask<T>(
        &self,
        handle: &Handle,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Fault> {
        let (tx, answer) = oneshot::channel();
        self.tell(handle, command(tx)).await?;
        answer.await.map_err(|_| faults::internal())
    }

    pub(super) async fn command(
        &self,
        caller: &Caller,
        handle: &Handle,
        command: impl FnOnce(Reply) -> Command,
    ) -> Result<(TurnNo, Seq), Fault> {
        self.command_by(caller.via.clone(), handle, command).await
    }

    async fn command_by(
        &self,
        via: Option<Via>,
        handle: &Handle,
        command: impl FnOnce(Reply) -> Command,
    ) -> Result<(TurnNo, Seq), Fault> {
        let answered: Answered = self.ask(handle, |tx| command(Reply::new(via, tx))).await?;
        answered.map_err(|refusal| match refusal {
            Refusal::Fault(fault) => fault,
            Refusal::Taken { .. } => faults::request_conflict(),
        })
    }

    pub(super) async fn set_session_variable(
        &self,
        caller: &Caller,
        key: SessionKey,
        change: super::account::Setting,
    ) -> Result<(), Fault> {
        let handle = self.owned(caller, key).await?;
        let super::account::Setting { name, value, change } = change;
        let (value, change) = (value.map(Box::new), Box::new(change));
        let account = caller.account.clone();
        self.command(caller, &handle, |reply| Command::SetVariable { account, name, value, change, reply })
            .await
            .map(|_| ())
    }
}

fn too_large() -> Fault {
    Fault::new(
        Code::PROMPT_TOO_LARGE,
        format!("the prompt exceeds {PROMPT_BYTES_MAX} bytes or {PROMPT_PARTS_MAX} parts"),
        "put large texts into files of the workspace and name them, and make images smaller",
    )
}

fn inherited(account: &are_core::ids::AccountId, row: are_core::store::VariableRow) -> Result<(Draft, Change), Fault> {
    let unreadable = |_| Fault::new(Code::SESSION_CORRUPT, "a stored variable is unreadable", "set it again");
    let value = serde_json::from_str(&row.value).map_err(unreadable)?;
    let labels = serde_json::from_str(&row.labels).map_err(unreadable)?;
    let change = Change::Variable {
        scope: Scope::Session,
        account: account.clone(),
        name: row.name.clone(),
        value: Some((row.value, row.labels)),
    };
    let payload = Payload::Variable { name: row.name, value: Some(value), labels };
    let body = Body::VariableSet { scope: Scope::Session, call: None };
    Ok((Draft { turn: None, body, payload: Some(payload) }, change))
}
