//! An editor on the streams of `are acp`: the client of the protocol's own SDK, or a hand that writes any line.

use std::process::Stdio;
use std::time::Duration;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::schema::{
    CancelNotification, ClientCapabilities, ContentBlock, InitializeRequest, InitializeResponse, LoadSessionRequest,
    NewSessionRequest, NewSessionResponse, PromptRequest, PromptResponse, RequestPermissionOutcome,
    RequestPermissionRequest, RequestPermissionResponse, SelectedPermissionOutcome, SessionId, SessionNotification,
};
use agent_client_protocol::v1::{ConnectionTo, Responder, SentRequest};
use agent_client_protocol::{Agent, Client, Error, JsonRpcRequest, Lines, on_receive_notification, on_receive_request};
use futures_util::{sink, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A question of the agent, and whom its answer is told.
pub(crate) struct Question {
    pub(crate) asked: RequestPermissionRequest,
    pub(crate) responder: Responder<RequestPermissionResponse>,
}

impl Question {
    /// Chooses one of the options.
    pub(crate) fn answer(self, option: &str) {
        let offered: Vec<&str> = self.asked.options.iter().map(|option| &*option.option_id.0).collect();
        assert!(offered.contains(&option), "{offered:?}");
        let chosen = SelectedPermissionOutcome::new(option.to_owned());
        let answer = RequestPermissionResponse::new(RequestPermissionOutcome::Selected(chosen));
        self.responder.respond(answer).expect("the agent listens");
    }

    /// The question as it is on the wire.
    pub(crate) fn json(&self) -> Value {
        serde_json::to_value(&self.asked).expect("JSON")
    }
}

/// The editor's side of a connection.
pub(crate) struct Editor {
    pub(crate) agent: ConnectionTo<Agent>,
    updates: mpsc::UnboundedReceiver<SessionNotification>,
    questions: mpsc::UnboundedReceiver<Question>,
}

/// How the program ended when its editor had left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// Starts `are acp`, has the work done by an editor without capabilities, and leaves.
pub(crate) async fn edit<T>(stage: &Stage, args: &[&str], work: impl AsyncFnOnce(&mut Editor) -> T) -> (T, Left) {
    edit_as(stage, args, ClientCapabilities::new(), work).await
}

/// The same with an editor that can more.
pub(crate) async fn edit_as<T>(
    stage: &Stage,
    args: &[&str],
    capabilities: ClientCapabilities,
    work: impl AsyncFnOnce(&mut Editor) -> T,
) -> (T, Left) {
    let (child, input, output, stderr) = start(stage, args);
    let (told, updates) = mpsc::unbounded_channel();
    let (asked, questions) = mpsc::unbounded_channel();
    let input = sink::unfold(input, |mut input, line: String| async move {
        input.write_all(format!("{line}\n").as_bytes()).await?;
        input.flush().await?;
        Ok::<_, std::io::Error>(input)
    });
    let output = stream::unfold(output, |mut output| async move {
        let line = output.next_line().await.transpose()?;
        // Stdout carries the protocol and nothing else.
        let text = line.as_deref().unwrap_or_default();
        let message: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(message["jsonrpc"], "2.0", "{text}");
        Some((line, output))
    });
    let connected = Client
        .v1()
        .name("editor")
        .on_receive_notification(
            async move |update: SessionNotification, _: ConnectionTo<Agent>| {
                let _sent = told.send(update);
                Ok(())
            },
            on_receive_notification!(),
        )
        .on_receive_request(
            async move |question: RequestPermissionRequest, responder, _: ConnectionTo<Agent>| {
                let _sent = asked.send(Question { asked: question, responder });
                Ok(())
            },
            on_receive_request!(),
        )
        .connect_with(Lines::new(Box::pin(input), Box::pin(output)), async |agent| {
            let mut editor = Editor { agent, updates, questions };
            let hello = InitializeRequest::new(ProtocolVersion::V1).client_capabilities(capabilities);
            let hello: InitializeResponse = editor.ask(hello).await?;
            assert_eq!(hello.protocol_version, ProtocolVersion::V1);
            Ok(work(&mut editor).await)
        });
    let done = Box::pin(connected).await.expect("the connection holds");
    (done, left(child, stderr).await)
}

fn start(stage: &Stage, args: &[&str]) -> (Child, ChildStdin, tokio::io::Lines<BufReader<ChildStdout>>, ChildStderr) {
    let mut command = stage.command(&[&["acp"], args].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the program starts");
    let input = child.stdin.take().expect("a pipe");
    let output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let stderr = child.stderr.take().expect("a pipe");
    (child, input, output, stderr)
}

async fn left(mut child: Child, mut pipe: ChildStderr) -> Left {
    let mut stderr = String::new();
    timeout(PATIENCE, pipe.read_to_string(&mut stderr)).await.expect("stderr ends").expect("readable");
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").expect("it ran");
    Left { code: status.code(), stderr }
}

impl Editor {
    /// Makes a request and waits for its answer.
    pub(crate) async fn ask<R: JsonRpcRequest>(&self, request: R) -> Result<R::Response, Error> {
        timeout(PATIENCE, self.agent.send_request(request).block_task()).await.expect("an answer")
    }

    /// Begins a session in the stage's project.
    pub(crate) async fn begin(&self, stage: &Stage) -> SessionId {
        let begun: NewSessionResponse = self.ask(NewSessionRequest::new(stage.project())).await.expect("a session");
        begun.session_id
    }

    /// Loads one there.
    pub(crate) async fn load(&self, stage: &Stage, session: &SessionId) {
        self.ask(LoadSessionRequest::new(session.clone(), stage.project())).await.expect("it is loaded");
    }

    /// Says something.
    pub(crate) fn say(&self, session: &SessionId, words: &str) -> SentRequest<PromptResponse> {
        self.show(session, vec![ContentBlock::from(words)])
    }

    /// Says and attaches something.
    pub(crate) fn show(&self, session: &SessionId, parts: Vec<ContentBlock>) -> SentRequest<PromptResponse> {
        self.agent.send_request(PromptRequest::new(session.clone(), parts))
    }

    /// Says something, and waits for the turn's end: how it ended, and all that was told until then.
    pub(crate) async fn turn(&mut self, session: &SessionId, words: &str) -> (Value, Vec<Value>) {
        let ended = ended(self.say(session, words)).await.expect("the turn ends");
        (ended, self.told())
    }

    /// Stops what runs in a session.
    pub(crate) fn cancel(&self, session: &SessionId) {
        self.agent.send_notification(CancelNotification::new(session.clone())).expect("the agent listens");
    }

    /// What was told by now: all that was before the latest answer.
    pub(crate) fn told(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.updates.try_recv().ok()).map(|told| json(&told)).collect()
    }

    /// The next update.
    pub(crate) async fn update(&mut self) -> Value {
        let told = timeout(PATIENCE, self.updates.recv()).await.expect("something is told");
        json(&told.expect("the connection holds"))
    }

    /// The next update of a kind, the others passed over.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let update = self.update().await;
            if update["sessionUpdate"] == kind {
                return update;
            }
        }
    }

    /// The next question.
    pub(crate) async fn question(&mut self) -> Question {
        let asked = timeout(PATIENCE, self.questions.recv()).await.expect("something is asked");
        asked.expect("the connection holds")
    }
}

fn json(told: &SessionNotification) -> Value {
    serde_json::to_value(&told.update).expect("JSON")
}

/// How a prompt's turn ended.
pub(crate) async fn ended(prompt: SentRequest<PromptResponse>) -> Result<Value, Error> {
    let answer = timeout(PATIENCE, prompt.block_task()).await.expect("the turn ends")?;
    Ok(serde_json::to_value(answer.stop_reason).expect("JSON"))
}

/// The text of all chunks of a kind.
pub(crate) fn text(updates: &[Value], kind: &str) -> String {
    let chunks = updates.iter().filter(|update| update["sessionUpdate"] == kind);
    chunks.filter_map(|update| update["content"]["text"].as_str()).collect()
}

/// The code of ours in an error.
pub(crate) fn code(error: &Error) -> Value {
    error.data.as_ref().map(|data| data["code"].clone()).unwrap_or_default()
}

/// A hand that writes any line.
pub(crate) struct Hand {
    child: Child,
    input: ChildStdin,
    output: tokio::io::Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
    next: u64,
}

impl Hand {
    pub(crate) fn start(stage: &Stage) -> Self {
        let (child, input, output, stderr) = start(stage, &[]);
        Self { child, input, output, stderr, next: 1 }
    }

    /// One that has said hello.
    pub(crate) async fn begin(stage: &Stage) -> Self {
        let mut hand = Self::start(stage);
        let hello = hand.ask("initialize", json!({"protocolVersion": 1, "clientCapabilities": {}})).await;
        assert_eq!(hello["result"]["protocolVersion"], 1, "{hello}");
        hand
    }

    pub(crate) async fn write(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// The next message; every line of stdout is one.
    pub(crate) async fn read(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("something comes").expect("readable");
        let line = line.expect("stdout goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Makes a request and waits for its answer.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        loop {
            let message = self.read().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// The process.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).expect("it runs")
    }

    /// Closes the input, and waits for the end.
    pub(crate) async fn leave(self) -> Left {
        drop(self.input);
        left(self.child, self.stderr).await
    }

    /// Waits for the end without closing anything.
    pub(crate) async fn outlive(self) -> Left {
        let Self { child, input, stderr, .. } = self;
        let left = left(child, stderr).await;
        drop(input);
        left
    }
}
