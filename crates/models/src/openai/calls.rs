//! Tool calls that arrive in pieces.
//!
//! By the book a call has an index, its first piece has an id and the name,
//! and the others bring arguments. In the wild the index is missing or always
//! 0, ids repeat, differ from piece to piece or are absent, names are repeated,
//! and arguments come whole. A piece therefore continues a call unless
//! something shows that a new one begins; what shows it best is that the
//! arguments so far are complete.
//!
//! Calls come out in the order in which they began. A call that was cut off is
//! an error of the answer unless the answer says that it was cut off.

use are_core::limits::{ANSWER_BYTES_MAX, CALL_ARGUMENTS_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use are_core::model::RawCall;

/// Bytes of a tool's name; four times what providers accept.
const NAME_BYTES_MAX: usize = 256;

/// Why a piece is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More than [`CALLS_PER_ANSWER_MAX`].
    TooMany,
    /// One call's arguments, all calls' arguments, or a name are too long.
    TooLong,
    /// A call has no name.
    Nameless,
}

/// The calls of one answer.
#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    bytes: usize,
}

struct Slot {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    balance: Balance,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds a piece; empty strings mean absent.
    pub(super) fn add(&mut self, index: Option<u64>, id: &str, name: &str, arguments: &str) -> Result<(), Refusal> {
        self.bytes += name.len() + arguments.len();
        if self.bytes > ANSWER_BYTES_MAX || name.len() + id.len() > NAME_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let slot = self.find(index, id).filter(|&at| !self.slots[at].is_left_by(index, id, name, arguments));
        let slot = match slot {
            Some(at) => &mut self.slots[at],
            None if name.is_empty() => return Err(Refusal::Nameless),
            None if self.slots.len() == CALLS_PER_ANSWER_MAX => return Err(Refusal::TooMany),
            None => {
                let slot = Slot {
                    index,
                    id: id.to_owned(),
                    name: String::new(),
                    arguments: String::new(),
                    balance: Balance::default(),
                };
                self.slots.push(slot);
                let at = self.slots.len() - 1;
                &mut self.slots[at]
            }
        };
        slot.extend(name, arguments)
    }

    /// The calls. Those that are not complete are left out when the answer
    /// `is_cut`: then it is known that something is missing.
    pub(super) fn finish(self, is_cut: bool) -> Vec<RawCall> {
        self.slots.into_iter().filter(|slot| !is_cut || slot.balance.is_complete()).map(Slot::into_call).collect()
    }

    /// The call that a piece most likely belongs to: the latest with its index,
    /// else the latest with its id, else the latest.
    fn find(&self, index: Option<u64>, id: &str) -> Option<usize> {
        if index.is_some() {
            return self.slots.iter().rposition(|slot| slot.index == index);
        }
        let by_id = if id.is_empty() { None } else { self.slots.iter().rposition(|slot| slot.id == id) };
        by_id.or_else(|| self.slots.len().checked_sub(1))
    }
}

impl Slot {
    /// True when the piece, though it looks like this call's, begins another.
    fn is_left_by(&self, index: Option<u64>, id: &str, name: &str, arguments: &str) -> bool {
        let is_other_id = !id.is_empty() && !self.id.is_empty() && id != self.id;
        let is_same_id = !id.is_empty() && id == self.id;
        if name.is_empty() {
            // Ids that change from piece to piece come without a name.
            return false;
        }
        if self.balance.is_complete() {
            // The repeated head of a finished call has nothing to add.
            return is_other_id || !arguments.is_empty() || (!is_same_id && name != self.name);
        }
        if self.arguments.is_empty() {
            return is_other_id || (index.is_none() && !is_same_id);
        }
        name != self.name
    }

    fn extend(&mut self, name: &str, arguments: &str) -> Result<(), Refusal> {
        // A name may come in pieces, and may be repeated with every piece.
        if self.arguments.is_empty() && self.name != name {
            self.name.push_str(name);
        }
        if self.name.len() > NAME_BYTES_MAX || self.arguments.len() + arguments.len() > CALL_ARGUMENTS_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        self.arguments.push_str(arguments);
        self.balance.read(arguments.as_bytes());
        Ok(())
    }

    /// A tool without parameters may be called with no arguments at all.
    fn into_call(self) -> RawCall {
        let arguments = if self.arguments.trim().is_empty() { "{}".to_owned() } else { self.arguments };
        RawCall { name: self.name, arguments }
    }
}

/// Tells when a JSON object or array is closed, reading each byte once: a
/// parser run again at every piece would cost the square of the arguments.
#[derive(Default)]
struct Balance {
    depth: usize,
    is_opened: bool,
    is_in_string: bool,
    is_escaped: bool,
}

impl Balance {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                b'{' | b'[' if !self.is_in_string => {
                    self.depth += 1;
                    self.is_opened = true;
                }
                b'}' | b']' if !self.is_in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    const fn is_complete(&self) -> bool {
        self.is_opened && self.depth == 0 && !self.is_in_string
    }
}

#[cfg(test)]
mod tests;
