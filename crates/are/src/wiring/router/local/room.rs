//! How many local models memory holds, and which one leaves for another.

/// Bytes beside its file that a loaded model takes: the memory of its context and room to compute in.
const BESIDE_BYTES: u64 = 512 << 20;

/// What is loaded, the model used longest ago first.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes that all of them may take together.
    bytes: u64,
    /// Names, with what each takes; nothing for one that is not loaded.
    loaded: Vec<(String, u64)>,
}

impl Room {
    pub(super) const fn new(bytes: u64) -> Self {
        Self { bytes, loaded: Vec::new() }
    }

    /// A loaded model is used.
    pub(super) fn touch(&mut self, name: &str) {
        if let Some(at) = self.loaded.iter().position(|(one, _)| one == name) {
            let one = self.loaded.remove(at);
            self.loaded.push(one);
        }
    }

    /// A model is about to be loaded from a file of so many bytes. Those that must leave before, the model used longest
    /// ago first; they count as gone from here on.
    pub(super) fn enter(&mut self, name: &str, file_bytes: u64) -> Vec<String> {
        self.leave(name);
        let needed = file_bytes.saturating_add(BESIDE_BYTES);
        let mut leaving = Vec::new();
        while !self.loaded.is_empty() && self.taken().saturating_add(needed) > self.bytes {
            leaving.push(self.loaded.remove(0).0);
        }
        self.loaded.push((name.to_owned(), needed));
        leaving
    }

    /// A model is not loaded after all.
    pub(super) fn leave(&mut self, name: &str) {
        self.loaded.retain(|(one, _)| one != name);
    }

    fn taken(&self) -> u64 {
        self.loaded.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn two_that_fit_stay_beside_one_another() {
        let mut room = Room::new(4 * GIB);
        assert!(room.enter("small", GIB / 2).is_empty());
        assert!(room.enter("medium", GIB).is_empty());
        assert_eq!(room.taken(), GIB / 2 + GIB + 2 * BESIDE_BYTES);
    }

    #[test]
    fn the_one_used_longest_ago_leaves_for_one_that_would_not_fit() {
        let mut room = Room::new(4 * GIB);
        room.enter("a", GIB);
        room.enter("b", GIB);
        room.touch("a");
        assert_eq!(room.enter("c", GIB), ["b"]);
        assert_eq!(room.enter("d", 3 * GIB), ["a", "c"], "as many as it takes");
    }

    #[test]
    fn one_that_fits_nowhere_is_loaded_alone_and_one_that_fails_leaves_nothing_behind() {
        let mut room = Room::new(GIB);
        assert!(room.enter("large", 9 * GIB).is_empty());
        assert_eq!(room.enter("small", GIB / 4), ["large"]);
        room.leave("small");
        assert_eq!(room.taken(), 0);
        assert!(room.enter("again", u64::MAX).is_empty(), "no sum is too large to be counted");
    }

    #[test]
    fn a_model_that_is_loaded_again_counts_once() {
        let mut room = Room::new(4 * GIB);
        room.enter("a", GIB);
        room.enter("a", GIB);
        assert_eq!(room.taken(), GIB + BESIDE_BYTES);
    }
}
