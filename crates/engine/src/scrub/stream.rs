//! Text that comes in pieces.

use super::Scrubber;

/// Scrubs one stream of text.
#[derive(Default)]
pub struct Stream {
    /// The end of what came, which could begin a value.
    held: String,
    /// Bytes of it for which a mark has gone out.
    covered: usize,
    has_removed: bool,
}

impl Stream {
    /// Takes a piece and returns what may go on; possibly nothing yet.
    pub fn push(&mut self, scrubber: &Scrubber, piece: String) -> String {
        let Some(known) = &scrubber.known else { return piece };
        if self.held.is_empty() {
            // Ordinary text passes uncopied.
            if known.held.bytes(piece.as_bytes()) == 0 && !known.finder.is_match(&piece) {
                return piece;
            }
            self.held = piece;
        } else {
            self.held.push_str(&piece);
        }
        self.take(scrubber, false)
    }

    /// What was held back, at the end.
    pub fn finish(&mut self, scrubber: &Scrubber) -> String {
        self.take(scrubber, true)
    }

    /// Whether something was removed since the last time it was asked.
    pub fn has_removed(&mut self) -> bool {
        std::mem::take(&mut self.has_removed)
    }

    fn take(&mut self, scrubber: &Scrubber, is_last: bool) -> String {
        let Some(known) = &scrubber.known else { return std::mem::take(&mut self.held) };
        let pass = known.pass(&self.held, self.covered, is_last);
        self.has_removed |= pass.covered > 0 || known.finder.is_match(&self.held);
        self.held.drain(..pass.held_from);
        self.covered = pass.covered;
        pass.out
    }
}
