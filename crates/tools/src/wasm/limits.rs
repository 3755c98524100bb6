//! How much one call may take: memory, tables, instances.

use wasmtime::ResourceLimiter;

use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, MEMORY_BYTES, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// The limits of one store; sums over all its memories and tables, so that many small ones are no way around.
#[derive(Debug)]
pub(crate) struct Limits {
    memory_left: usize,
    elements_left: usize,
    has_refused: bool,
}

impl Limits {
    /// Limits with this much memory, as a manifest asks for it.
    pub(crate) fn new(memory_bytes: Option<u64>) -> Self {
        let asked = memory_bytes.map_or(MEMORY_BYTES, |bytes| usize::try_from(bytes).unwrap_or(MEMORY_BYTES_MAX));
        Self { memory_left: asked.min(MEMORY_BYTES_MAX), elements_left: TABLE_ELEMENTS_MAX, has_refused: false }
    }

    /// True when the guest was refused something, which is then likely why it failed.
    pub(crate) const fn has_refused(&self) -> bool {
        self.has_refused
    }
}

fn take(left: &mut usize, current: usize, desired: usize, has_refused: &mut bool) -> bool {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => {
            *has_refused = true;
            false
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(take(&mut self.memory_left, current, desired, &mut self.has_refused))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(take(&mut self.elements_left, current, desired, &mut self.has_refused))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
