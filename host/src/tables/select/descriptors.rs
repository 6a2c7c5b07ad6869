//! What generations declared, kept in memory: it never changes, and reading it for every request costs more than the
//! rows.

use std::collections::HashMap;
use std::sync::Arc;

use lamphouse_contract::Descriptor;
use parking_lot::Mutex;

use crate::core::GenerationId;

/// Descriptors kept. One public generation a projection is looked at, and some that were public before.
const KEPT_MAX: usize = 64;

/// Descriptors by generation.
#[derive(Default)]
pub(in crate::tables) struct Descriptors(Mutex<HashMap<GenerationId, Arc<Descriptor>>>);

impl Descriptors {
    /// One that is kept.
    pub(in crate::tables) fn known(&self, generation: GenerationId) -> Option<Arc<Descriptor>> {
        self.0.lock().get(&generation).cloned()
    }

    /// Keeps one.
    pub(in crate::tables) fn keep(&self, generation: GenerationId, descriptor: Arc<Descriptor>) {
        let mut known = self.0.lock();
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(generation, descriptor);
    }
}
