//! A projector's code outside the sandbox, in the guest's place in the pipeline: the sandbox's cost is measured
//! against it. No host runs one; a benchmark does.

use wasmtime::Store;

use super::bindings::{tables, types};
use super::state::State;

/// Packed events to packed changes; or why not. What it finds in the tables is packed too, as for a guest.
pub type NativeProject = dyn Fn(&[u8], &mut dyn NativeTables) -> Result<Vec<u8>, String> + Send + Sync;

/// What a guest imports as `tables`, as far as the packed lane goes.
pub trait NativeTables {
    /// Makes packed changes, in order.
    fn apply(&mut self, changes: &[u8]) -> Result<(), String>;
    /// Answers packed reads.
    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>, String>;
}

impl NativeTables for State {
    fn apply(&mut self, changes: &[u8]) -> Result<(), String> {
        Self::apply(self, "tables.apply", changes).map_err(|error| format!("{error:#}"))
    }

    fn read(&mut self, reads: &[u8]) -> Result<Vec<u8>, String> {
        tables::Host::read(self, reads.to_vec()).map_err(|error| format!("{error:#}"))
    }
}

/// What the packed lane's `project` does.
pub(super) fn project(
    native: &NativeProject,
    store: &mut Store<State>,
    events: &[u8],
) -> wasmtime::Result<Result<(), types::Failure>> {
    match native(events, store.data_mut()) {
        Ok(changes) => Ok(Ok(State::apply(
            store.data_mut(),
            "the changes that project returned",
            &changes,
        )?)),
        Err(message) => Ok(Err(types::Failure {
            index: None,
            message,
            trace: String::new(),
        })),
    }
}
