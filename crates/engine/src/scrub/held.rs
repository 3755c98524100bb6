//! How much of a text's end could begin a known form.
//!
//! The state of an automaton over the forms is the longest end of the text
//! that begins one of them: one step a byte, however many forms there are.
//! Walking each form once tells how long the text of each state is.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError};

/// A beginning of a form.
struct Beginning {
    bytes: usize,
    /// The state of the longest shorter end of it that begins a form too.
    shorter: StateID,
    /// True when a form goes on behind it.
    goes_on: bool,
}

/// Beginnings of forms.
pub(super) struct Held {
    automaton: NFA,
    start: StateID,
    beginnings: HashMap<StateID, Beginning>,
    /// Bytes of the longest form.
    longest: usize,
}

impl Held {
    pub(super) fn new<T: AsRef<str>>(forms: &[T]) -> Result<Self, BuildError> {
        let automaton = NFA::new(forms.iter().map(|form| form.as_ref().as_bytes()))?;
        // The automaton is made with unanchored searches, so that this start is there.
        let start = automaton.start_state(Anchored::No).unwrap_or_default();
        let mut beginnings: HashMap<StateID, Beginning> = HashMap::new();
        let step = |state, byte| automaton.next_state(Anchored::No, state, byte);
        for form in forms {
            let (mut state, mut shorter) = (start, start);
            for (at, &byte) in form.as_ref().as_bytes().iter().enumerate() {
                if let Some(beginning) = beginnings.get_mut(&state) {
                    beginning.goes_on = true;
                }
                shorter = if at == 0 { start } else { step(shorter, byte) };
                // INVARIANT: from the start, the bytes of a form lead through the states of its own beginnings.
                state = step(state, byte);
                beginnings.entry(state).or_insert(Beginning { bytes: at + 1, shorter, goes_on: false });
            }
        }
        let longest = forms.iter().map(|form| form.as_ref().len()).max().unwrap_or_default();
        Ok(Self { automaton, start, beginnings, longest })
    }

    /// Bytes at the end of `text` that begin a form and are not all of it. They begin a character, as the form does.
    pub(super) fn bytes(&self, text: &[u8]) -> usize {
        let end = &text[text.len().saturating_sub(self.longest)..];
        let mut state =
            end.iter().fold(self.start, |state, &byte| self.automaton.next_state(Anchored::No, state, byte));
        while let Some(beginning) = self.beginnings.get(&state) {
            if beginning.goes_on {
                return beginning.bytes;
            }
            state = beginning.shorter;
        }
        0
    }
}
