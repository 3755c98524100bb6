//! The vectors of one account's memories, searched by looking at each.
//!
//! The rows in the store are the truth; this is made from them and follows
//! them by their order. A look at all is exact, needs no tuning and takes
//! about a millisecond for ten thousand.

use are_core::ids::MemoryId;

use super::embed::{DIMENSIONS, Embedder, Vector, length, quantised};

/// Candidates that are looked at exactly for each result that is wanted.
const CANDIDATES: usize = 4;

/// The index of one account.
pub(super) struct Index {
    embedder: Embedder,
    ids: Vec<MemoryId>,
    /// One row of `DIMENSIONS` for each id.
    vectors: Vec<i8>,
    /// How many memories have something in each dimension.
    frequencies: [u32; DIMENSIONS],
    /// Position up to which the store was read.
    pub(super) read_to: u64,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            embedder: Embedder::new(),
            ids: Vec::new(),
            vectors: Vec::new(),
            frequencies: [0; DIMENSIONS],
            read_to: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn add(&mut self, order: u64, id: MemoryId, text: &str) {
        let vector = quantised(&self.embedder.vector(text));
        for (frequency, part) in self.frequencies.iter_mut().zip(&vector) {
            *frequency += u32::from(*part != 0);
        }
        self.ids.push(id);
        self.vectors.extend_from_slice(&vector);
        self.read_to = order;
    }

    pub(super) fn remove(&mut self, id: &MemoryId) {
        let Some(at) = self.ids.iter().position(|one| one == id) else { return };
        let row = at * DIMENSIONS..(at + 1) * DIMENSIONS;
        for (frequency, part) in self.frequencies.iter_mut().zip(&self.vectors[row.clone()]) {
            *frequency -= u32::from(*part != 0);
        }
        self.ids.swap_remove(at);
        let last = self.vectors.len() - DIMENSIONS;
        self.vectors.copy_within(last.., row.start);
        self.vectors.truncate(last);
    }

    /// The memories that are most like the query, more of them than `limit`: the exact look decides.
    pub(super) fn candidates(&self, query: &Vector, limit: usize) -> Vec<MemoryId> {
        let query = quantised(query);
        let mut scored: Vec<(i64, usize)> = self
            .vectors
            .chunks_exact(DIMENSIONS)
            .enumerate()
            .filter_map(|(at, vector)| {
                let (dot, square) = dot_and_square(&query, vector);
                // Ordered as the cosine is, without a root: the query's own length is the same for all.
                (dot > 0).then(|| (i64::from(dot) * i64::from(dot) / i64::from(square.max(1)), at))
            })
            .collect();
        let wanted = (limit * CANDIDATES).min(scored.len());
        if wanted < scored.len() && wanted > 0 {
            scored.select_nth_unstable_by(wanted - 1, |a, b| b.cmp(a));
        }
        scored.truncate(wanted);
        scored.into_iter().map(|(_, at)| self.ids[at].clone()).collect()
    }

    /// A query's vector, weighed as things stand.
    pub(super) fn query(&self, text: &str) -> Vector {
        self.weighed(&self.embedder.vector(text))
    }

    /// How like a query and a text are, from 0 to 1.
    pub(super) fn likeness(&self, query: &Vector, text: &str) -> f32 {
        let text = self.embedder.vector(text);
        let dot: f32 = query.iter().zip(&text).map(|(a, b)| a * b).sum();
        let lengths = length(query) * length(&text);
        if lengths > 0.0 { (dot / lengths).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Weighs by how rare a feature is, so that `the` finds nothing.
    fn weighed(&self, vector: &Vector) -> Vector {
        #[expect(clippy::cast_precision_loss, reason = "counts of memories are small")]
        let all = self.len() as f32 + 1.0;
        let mut weighed = *vector;
        for (part, frequency) in weighed.iter_mut().zip(self.frequencies) {
            #[expect(clippy::cast_precision_loss, reason = "counts of memories are small")]
            let frequency = frequency as f32;
            *part *= (1.0 + all / (1.0 + frequency)).ln();
        }
        weighed
    }
}

// PERF: plain loops over eight-bit parts; the compiler makes vector instructions of them.
fn dot_and_square(query: &[i8; DIMENSIONS], vector: &[i8]) -> (i32, i32) {
    let mut dot = 0;
    let mut square = 0;
    for (a, b) in query.iter().zip(vector) {
        dot += i32::from(*a) * i32::from(*b);
        square += i32::from(*b) * i32::from(*b);
    }
    (dot, square)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> Index {
        let mut index = Index::new();
        for (order, text) in (1_u64..).zip(texts) {
            index.add(order, format!("{order:016x}").parse().unwrap(), text);
        }
        index
    }

    fn best(index: &Index, texts: &[&str], query: &str) -> usize {
        let of = |id: &MemoryId| usize::from_str_radix(id.as_str(), 16).unwrap() - 1;
        let query = &index.query(query);
        let candidates: Vec<usize> = index.candidates(query, 2).iter().map(of).collect();
        let likeness = |at: &usize| index.likeness(query, texts[*at]);
        candidates.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).expect("a candidate")
    }

    const TEXTS: &[&str] = &[
        "The staging database is called orders-stage and lives in Frankfurt",
        "Ada prefers tabs over spaces in Go code",
        "Deploys happen on Tuesday mornings after the stand-up",
        "用户喜欢用中文写提交说明",
        "The office coffee machine needs descaling every month",
        "Invoices from Contoso are paid within thirty days",
    ];

    #[test]
    fn the_likest_memory_is_found_by_stems_parts_and_ideographs() {
        let index = index(TEXTS);
        for (query, expected) in [
            ("where is the staging database?", 0),
            ("does Ada like tabs", 1),
            ("when do we deploy", 2),
            ("提交说明用什么语言", 3),
            ("descale the cofee machine", 4),
            ("how long until an invoice is paid", 5),
        ] {
            assert_eq!(best(&index, TEXTS, query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_removed_is_not_found_and_the_others_still_are() {
        let mut index = index(TEXTS);
        let first: MemoryId = format!("{:016x}", 1).parse().unwrap();
        index.remove(&first);
        index.remove(&first);
        assert_eq!(index.len(), TEXTS.len() - 1);
        assert!(!index.candidates(&index.query("staging database"), 10).contains(&first));
        assert_eq!(best(&index, TEXTS, "how long until an invoice is paid"), 5);
        for order in 2..=TEXTS.len() {
            index.remove(&format!("{order:016x}").parse().unwrap());
        }
        assert_eq!((index.len(), index.candidates(&index.query("anything"), 3).len()), (0, 0));
        assert!(index.frequencies.iter().all(|count| *count == 0));
    }

    #[test]
    fn nothing_is_like_nothing() {
        let index = index(TEXTS);
        assert!(index.candidates(&index.query(""), 3).is_empty());
        assert!(index.likeness(&index.query(""), "x").abs() < f32::EPSILON);
        assert!(index.likeness(&index.query("zzzzqqq"), TEXTS[0]) < 0.2);
    }
}
