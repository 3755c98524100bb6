//! Pictures in prompts.
//!
//! One that a provider would refuse is refused before it is part of a session.
//! Nothing else is known of it: what it shows is for the model to say.

use are_core::error::{Code, Fault};
use are_core::ids::TurnNo;
use are_core::limits::IMAGE_TYPES;
use are_core::model::{Image, Message, ModelInfo};
use are_core::payload::Part;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::state::{Ended, State, Step, Turn};

/// Bytes of the images of earlier turns in one request, and of those in one turn. Providers take requests of some 20 MB
/// and more.
pub(crate) const BYTES_MAX: usize = 8 << 20;

/// Bytes that it takes in a prompt.
pub(crate) fn bytes(Image { media_type, data }: &Image) -> usize {
    media_type.len() + data.len()
}

/// All that stand in a prompt or a steer.
pub(crate) fn shown(content: &[Part]) -> impl Iterator<Item = &Image> {
    content.iter().flat_map(|part| {
        let (own, exchanged): (_, &[Message]) = match part {
            Part::Image(image) => (Some(image), &[]),
            Part::Exchange { messages } => (None, messages),
            Part::Text { .. } | Part::File { .. } => (None, &[]),
        };
        let exchanged = exchanged.iter().filter_map(|message| match message {
            Message::Image(image) => Some(image),
            Message::System { .. } | Message::User { .. } | Message::Assistant { .. } | Message::Tool { .. } => None,
        });
        own.into_iter().chain(exchanged)
    })
}

/// True when a turn has some, also among what a client says was exchanged before.
pub(crate) fn are_in(turn: &Turn) -> bool {
    told(turn).any(|content| shown(content).next().is_some())
}

/// Fails a turn whose own words come with images that its model cannot be shown.
///
/// # Errors
/// ARE-0416.
pub(crate) fn check_model(turn: &Turn, model: &ModelInfo) -> Result<(), Fault> {
    let is_own = |part: &Part| matches!(part, Part::Image(_));
    if model.takes_images || !told(turn).flatten().any(is_own) {
        return Ok(());
    }
    Err(unseen(&model.name))
}

/// The fault of images that `model` cannot be shown.
pub(crate) fn unseen(model: &str) -> Fault {
    let help = "choose a model that can with `model`, or say in words what is to be seen";
    Fault::new(Code::IMAGES_REFUSED, format!("`{model}` cannot be shown images"), help)
}

/// Bytes of a turn's own images and of those in `more`.
pub(crate) fn bytes_with(turn: &Turn, more: &[Part]) -> usize {
    said(turn).chain([more]).flat_map(shown).map(bytes).sum()
}

/// What a turn says, and what it goes on with of the one before.
fn told(turn: &Turn) -> impl Iterator<Item = &[Part]> {
    said(turn).chain([turn.renewed.as_slice()])
}

fn said(turn: &Turn) -> impl Iterator<Item = &[Part]> {
    let steered = turn.steps.iter().filter_map(|step| match step {
        Step::Steer { content, .. } => Some(content.as_slice()),
        Step::Model(_) | Step::Call(_) => None,
    });
    steered.chain(turn.content.as_deref())
}

/// Which turns' images requests show: from this one on.
///
/// Not what a provider may have refused, which would make every later request fail, and no more than
/// [`BYTES_MAX`] together. As images are added they begin to be left out in steps of half of that, so that what a
/// provider has cached is found meanwhile.
pub(crate) fn first_shown(state: &State) -> TurnNo {
    let mut first = 0;
    let mut starts: Vec<(TurnNo, usize)> = Vec::new();
    let mut total = 0;
    for turn in state.turns() {
        starts.push((turn.no, total));
        total += bytes_with(turn, &[]);
        if matches!(turn.ended, Some(Ended::Failed(Code::MODEL_ERROR | Code::CONTEXT_TOO_LONG))) {
            (first, total) = (turn.no.saturating_add(1), 0);
            starts.clear();
        }
    }
    let step = BYTES_MAX / 2;
    let cut = (total / step).saturating_sub(1) * step;
    starts.into_iter().find(|(_, start)| *start >= cut).map_or(first, |(no, _)| no.max(first))
}

/// Whether a turn's images are in requests that show those from turn `first` on.
pub(crate) fn are_shown(turn: &Turn, first: TurnNo) -> bool {
    let has_answer = || {
        let answers =
            |step: &Step| matches!(step, Step::Model(model) if !model.text.is_empty() || !model.calls.is_empty());
        turn.steps.iter().any(answers)
    };
    match turn.ended {
        None => true,
        Some(Ended::Completed) => turn.no >= first,
        // Nobody knows whether a provider takes what no model has answered.
        Some(Ended::Failed(_) | Ended::Cancelled) => turn.no >= first && has_answer(),
    }
}

/// # Errors
/// ARE-0206 for what is no image of the type that it says.
pub(crate) fn check(image: &Image) -> Result<(), Fault> {
    let help = "send a PNG, JPEG, GIF or WebP in base64, with its own `media_type`";
    let wrong = |what: &str| Err(Fault::new(Code::REQUEST_INVALID, what, help));
    if !IMAGE_TYPES.contains(&image.media_type.as_str()) {
        return wrong("images of this type are not taken");
    }
    let Ok(bytes) = STANDARD.decode(image.data.as_bytes()) else { return wrong("an image's `data` is not base64") };
    if type_of(&bytes) != Some(image.media_type.as_str()) {
        return wrong("an image is not of the type that its `media_type` says");
    }
    Ok(())
}

/// The type of an image by its first bytes.
///
/// SOURCE: WHATWG MIME Sniffing §6.1, the types that are taken.
#[must_use]
pub fn type_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', b'V', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}
