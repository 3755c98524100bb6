//! Pieces of an answer on their way into the journal.
//!
//! A piece is cleaned of secrets, sealed behind what came before and gathered;
//! what is gathered is written in one append and told to the readers. While the
//! store writes one append, the model is read into the next.

use are_core::body::FrameRange;
use are_core::digest::{Nonce, Rolling};
use are_core::ids::Seq;
use are_core::journal::Frame;
use are_core::limits::FRAME_BYTES_MAX;
use are_core::model::{Message, ModelRequest, RawCall, Reasoning};
use are_core::store::{Durability, Receipt, StoreError};

use super::{Actor, Stop};
use crate::answers;
use crate::faults;
use crate::journal::{Appending, Sealed};
use crate::scrub;

/// Frames gathered behind the append that is on its way, at most.
const GATHERED_MAX: usize = 256;

/// A model call in progress.
pub(super) struct Call {
    pub(super) nonce: Nonce,
    /// Bytes that the model has sent.
    pub(super) bytes: usize,
    /// Calls that it has made.
    pub(super) calls: Vec<RawCall>,
    pub(super) text: scrub::Stream,
    /// `provider:model` that was asked.
    pub(super) model: String,
    /// True when it is shown images.
    pub(super) has_images: bool,
    /// Under what the answer is kept, with what was heard of it.
    pub(super) kept: Option<(answers::Key, answers::Transcript)>,
    /// True when it is an earlier answer.
    pub(super) is_cached: bool,
    reasoning: scrub::Stream,
    rolling: Rolling,
    range: Option<(Seq, Seq)>,
    /// Frames for the next append.
    gathered: Sealed,
    /// Frames that the store is writing. PERF: the model is read meanwhile, and what
    /// comes in the time of one append is the next one.
    writing: Option<Writing>,
}

struct Writing {
    sealed: Sealed,
    appending: Appending,
}

impl Call {
    /// Of `request`, with the nonce that begins the frames' digest.
    pub(super) fn new(nonce: Nonce, request: &ModelRequest) -> Self {
        Self {
            nonce,
            bytes: 0,
            calls: Vec::new(),
            text: scrub::Stream::default(),
            model: request.model.clone(),
            has_images: request.messages.iter().any(|message| matches!(message, Message::Image(_))),
            kept: None,
            is_cached: false,
            reasoning: scrub::Stream::default(),
            rolling: Rolling::new(&nonce),
            range: None,
            gathered: Sealed::default(),
            writing: None,
        }
    }

    /// False while enough is gathered behind the append that is on its way.
    pub(super) fn has_room(&self) -> bool {
        self.gathered.rows.len() < GATHERED_MAX
    }

    /// Waits for the append that is on its way. Cancel-safe.
    pub(super) async fn written(&mut self) -> Result<Receipt, StoreError> {
        match &mut self.writing {
            Some(writing) => writing.appending.done().await,
            None => std::future::pending().await,
        }
    }

    /// What the record that ends the call binds.
    pub(super) fn frames(&self) -> Option<FrameRange> {
        self.range.map(|(first, last)| FrameRange { first, last, digest: self.rolling.finish() })
    }
}

impl Actor {
    /// Begins to write what is gathered, unless an append is on its way.
    pub(super) async fn write_on(&mut self, call: &mut Call) -> Result<(), Stop> {
        if call.writing.is_some() || call.gathered.rows.is_empty() {
            return Ok(());
        }
        match self.journal.begin(&call.gathered, Durability::Written) {
            Some(appending) => {
                call.writing = Some(Writing { sealed: std::mem::take(&mut call.gathered), appending });
                Ok(())
            }
            None => self.settle(call).await,
        }
    }

    /// Waits until everything of the call is stored and published.
    pub(super) async fn settle(&mut self, call: &mut Call) -> Result<(), Stop> {
        if call.writing.is_some() {
            let done = call.written().await;
            self.publish(call, done).await?;
        }
        self.write_frames(std::mem::take(&mut call.gathered)).await
    }

    /// Publishes what the store has written; while it is full, that and what was gathered since waits.
    pub(super) async fn publish(&mut self, call: &mut Call, done: Result<Receipt, StoreError>) -> Result<(), Stop> {
        let Some(Writing { mut sealed, appending }) = call.writing.take() else { return Ok(()) };
        match done {
            Ok(_) => {
                self.journal.stored = appending.head;
                self.tell_stored(sealed.entries);
                Ok(())
            }
            Err(StoreError::Full) => {
                let since = std::mem::take(&mut call.gathered);
                sealed.rows.extend(since.rows);
                sealed.entries.extend(since.entries);
                self.write_frames(sealed).await
            }
            Err(error) => Err(faults::store(error).into()),
        }
    }

    pub(super) fn seal_text(&mut self, call: &mut Call, text: String) -> Result<(), Stop> {
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(FRAME_BYTES_MAX));
            self.seal_frame(call, Frame::Token { text: piece.to_owned() })?;
            rest = after;
        }
        Ok(())
    }

    pub(super) fn seal_reasoning(&mut self, call: &mut Call, piece: Reasoning) -> Result<(), Stop> {
        let scrubber = &self.scrubber();
        let mut text = call.reasoning.push(scrubber, piece.text);
        let mut opaque = None;
        if let Some(bytes) = piece.opaque {
            // It ends a block of reasoning, so nothing of the block comes any more.
            text.push_str(&call.reasoning.finish(scrubber));
            // A provider refuses its own form where a byte of it, or of the words it signs, has changed:
            // then it is not kept at all.
            let is_whole = !call.reasoning.has_removed() && scrubber.clean_arguments(bytes.clone()) == bytes;
            opaque = is_whole.then_some(bytes);
        }
        if text.is_empty() && opaque.is_none() {
            return Ok(());
        }
        let at_ms = self.inner.ports.clock.now_ms();
        self.seal_frame(call, Frame::Reasoning { at_ms, text, opaque })
    }

    /// What was held back because it could have become a secret.
    pub(super) fn seal_held(&mut self, call: &mut Call) -> Result<(), Stop> {
        let (text, opaque) = (call.reasoning.finish(&self.scrubber()), None);
        if !text.is_empty() {
            let at_ms = self.inner.ports.clock.now_ms();
            self.seal_frame(call, Frame::Reasoning { at_ms, text, opaque })?;
        }
        let rest = call.text.finish(&self.scrubber());
        self.seal_text(call, rest)
    }

    fn seal_frame(&mut self, call: &mut Call, frame: Frame) -> Result<(), Stop> {
        let sealed = &mut call.gathered;
        self.journal.seal_frame(sealed, frame).map_err(faults::corrupt)?;
        let (Some(row), Some((_, entry))) = (sealed.rows.last(), sealed.entries.last()) else { return Ok(()) };
        call.rolling.push(&row.bytes);
        call.range = Some((call.range.map_or(row.seq, |(first, _)| first), row.seq));
        self.state.apply(entry);
        Ok(())
    }

    pub(super) async fn write_frames(&mut self, sealed: Sealed) -> Result<(), Stop> {
        if sealed.rows.is_empty() {
            return Ok(());
        }
        self.append(&sealed, Durability::Written, false).await.map_err(faults::store)?;
        self.tell_stored(sealed.entries);
        Ok(())
    }
}
