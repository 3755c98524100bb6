//! What a server's hints prefill: effect and retry, which the consent then fixes.
//!
//! SECURITY: hints are the server's own words about itself. None of them makes a
//! tool free of effects: what reads at a stranger's may carry out what it is
//! given, so that the mildest is reading over a network.

use are_core::body::{Effect, Retry};
use rmcp::model::ToolAnnotations;

/// Effect and retry by the hints; without hints the worst case.
pub(super) fn prefilled(hints: Option<&ToolAnnotations>) -> (Effect, Retry) {
    let Some(hints) = hints else { return (Effect::Credential, Retry::AtMostOnce) };
    if hints.read_only_hint == Some(true) {
        return (Effect::NetworkRead, Retry::Idempotent);
    }
    let effect = match (hints.destructive_hint, hints.open_world_hint) {
        (Some(false), Some(false)) => Effect::Create,
        (Some(false), _) => Effect::Send,
        (Some(true), Some(false)) => Effect::Destructive,
        // Destructive and open to the world, or silent about it: everything is possible.
        (Some(true) | None, _) => Effect::Credential,
    };
    let retry = if hints.idempotent_hint == Some(true) { Retry::Idempotent } else { Retry::AtMostOnce };
    (effect, retry)
}

/// The hints in words, for the person who consents.
pub(super) fn words(hints: Option<&ToolAnnotations>) -> Vec<String> {
    let Some(hints) = hints else { return Vec::new() };
    let said = [
        ("readOnly", hints.read_only_hint),
        ("destructive", hints.destructive_hint),
        ("idempotent", hints.idempotent_hint),
        ("openWorld", hints.open_world_hint),
    ];
    said.into_iter().filter_map(|(name, hint)| hint.map(|hint| format!("{name}={hint}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hint_makes_a_tool_free_of_effects_and_silence_is_the_worst() {
        let (yes, no) = (Some(true), Some(false));
        for (read_only, destructive, idempotent, open_world, effect, retry) in [
            (None, None, None, None, Effect::Credential, Retry::AtMostOnce),
            (yes, None, None, None, Effect::NetworkRead, Retry::Idempotent),
            // A tool that says that it only reads and that it destroys is taken at the first: both are mere words.
            (yes, yes, no, no, Effect::NetworkRead, Retry::Idempotent),
            (no, no, None, no, Effect::Create, Retry::AtMostOnce),
            (no, no, yes, yes, Effect::Send, Retry::Idempotent),
            (no, yes, None, no, Effect::Destructive, Retry::AtMostOnce),
            (no, yes, None, None, Effect::Credential, Retry::AtMostOnce),
            (None, None, yes, None, Effect::Credential, Retry::Idempotent),
        ] {
            let hints = ToolAnnotations::from_raw(None, read_only, destructive, idempotent, open_world);
            assert_eq!(prefilled(Some(&hints)), (effect, retry), "{hints:?}");
        }
        assert_eq!(prefilled(None), (Effect::Credential, Retry::AtMostOnce));
    }
}
