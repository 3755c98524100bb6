//! The memory of an evaluated script, as what differs from a fresh engine.
//!
//! Two kinds: the engine itself with its prelude evaluated becomes the initial
//! memory of a new WebAssembly module, which the runtime maps for each
//! instance without copying; what a script's evaluation changes beyond that,
//! mostly a few dozen pages, is written into each instance.

use wasmtime::{Memory, Store};

/// Granularity of what is kept: the processor's page, below which copying gains nothing.
const PAGE: usize = 4096;
/// Bytes of WebAssembly's own pages, in which memories grow.
const WASM_PAGE: usize = 64 << 10;
/// A gap of zeros shorter than this costs less inside a segment than a new segment.
const GAP: usize = 64;
/// Identifiers of a module's sections.
const MEMORY: u8 = 5;
const START: u8 = 8;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// What a script's evaluation has changed.
#[derive(Debug)]
pub(super) struct Image {
    pages: Vec<(usize, Box<[u8]>)>,
    bytes: usize,
}

impl Image {
    /// The difference between `base`, the memory of a fresh instance, and `memory`.
    pub(super) fn between(base: &[u8], memory: &[u8]) -> Self {
        let zeros = [0_u8; PAGE];
        let changed = memory.chunks(PAGE).enumerate().filter_map(|(index, page)| {
            let at = index * PAGE;
            let before = base.get(at..at + page.len()).unwrap_or(&zeros[..page.len()]);
            (before != page).then(|| (at, page.into()))
        });
        Self { pages: changed.collect(), bytes: memory.len() }
    }

    /// Makes a fresh instance's memory what it was.
    pub(super) fn restore<T>(&self, memory: Memory, store: &mut Store<T>) -> wasmtime::Result<()> {
        let missing = self.bytes.saturating_sub(memory.data_size(&*store)).div_ceil(WASM_PAGE);
        if missing > 0 {
            memory.grow(&mut *store, missing as u64)?;
        }
        let data = memory.data_mut(store);
        for (at, page) in &self.pages {
            if let Some(to) = data.get_mut(*at..*at + page.len()) {
                to.copy_from_slice(page);
            }
        }
        Ok(())
    }

    /// Bytes that are written into each instance.
    pub(super) fn written_bytes(&self) -> usize {
        self.pages.iter().map(|(_, page)| page.len()).sum()
    }
}

/// The module with this memory as its initial one; `None` for a module of another make.
///
/// Nothing but memory has to be taken over: the engine's only other state is the stack pointer, which is back where it
/// began whenever the host looks, and tables are never written.
pub(super) fn with_memory(module: &[u8], memory: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = module.split_at_checked(8)?;
    let mut out = head.to_vec();
    while !rest.is_empty() {
        let (id, after) = rest.split_first()?;
        let (length, after) = read_number(after)?;
        let (body, after) = after.split_at_checked(length)?;
        rest = after;
        match *id {
            MEMORY => section(&mut out, MEMORY, &memory_of(memory.len().div_ceil(WASM_PAGE))),
            DATA => section(&mut out, DATA, &segments(memory)),
            // It counts the segments that were; a start function has run.
            DATA_COUNT | START => {}
            id => section(&mut out, id, body),
        }
    }
    Some(out)
}

/// One memory of so many pages, growing as far as the store lets it.
fn memory_of(pages: usize) -> Vec<u8> {
    let mut body = vec![1, 0];
    write_number(&mut body, pages);
    body
}

/// Active segments for all that is not zero.
fn segments(memory: &[u8]) -> Vec<u8> {
    let mut count = 0;
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(skipped) = memory[at..].iter().position(|byte| *byte != 0) {
        let start = at + skipped;
        let end = end_of_run(memory, start);
        count += 1;
        // Of memory 0, at a constant offset.
        all.extend([0, 0x41]);
        write_signed(&mut all, start);
        all.push(0x0b);
        write_number(&mut all, end - start);
        all.extend(&memory[start..end]);
        at = end;
    }
    let mut body = Vec::with_capacity(all.len() + 5);
    write_number(&mut body, count);
    body.extend(all);
    body
}

fn end_of_run(memory: &[u8], start: usize) -> usize {
    let mut end = start + 1;
    for (offset, byte) in memory[start..].iter().enumerate() {
        if *byte != 0 {
            end = start + offset + 1;
        } else if start + offset >= end + GAP {
            break;
        }
    }
    end
}

fn section(out: &mut Vec<u8>, id: u8, body: &[u8]) {
    out.push(id);
    write_number(out, body.len());
    out.extend(body);
}

/// SOURCE: WebAssembly core specification, "Values: Integers" (LEB128).
fn read_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn write_number(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number that is never negative, where a signed one stands.
fn write_signed(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x40 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
