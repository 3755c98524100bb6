//! Decisions by the flow of information: where the values of a call come from,
//! and whether the user asked for it.
//!
//! The model counts as the attacker's. Nothing it writes grants anything; a
//! call is judged by what the authenticated user said in this turn, by the
//! labels of what is in view, and by the tools' own declarations. Pure: the
//! same view, tools and call give the same ruling, so every decision can be
//! replayed. Fast: values are looked up by word, whatever the context's size.
//!
//! Nothing here knows a suite, tool, person or verb; the only natural words are
//! function words ([`words`]). What it cannot settle it asks or denies.

mod decide;
mod intent;
mod links;
mod lookalike;
mod plan;
mod request;
mod search;
mod text;
mod trace;
mod view;
mod vocabulary;
mod words;

pub use self::decide::{Question, Ruling, decide, label_of};
pub use self::intent::Asked;
pub use self::request::own_words;
pub use self::trace::{Traced, Trust};
pub use self::view::View;
pub(crate) use self::vocabulary::ToolWords;
pub use self::vocabulary::Vocabulary;

#[cfg(test)]
mod tests;
