//! Everything that a guest can reach: `lamphouse:plugin`, and a WASI that grants nothing.

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::typed::ProjectorPlugin;
use super::determinism;
use super::state::State;

/// The one linker of all plugins: no world imports more than that of projectors.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    ProjectorPlugin::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    determinism::add_to_linker(&mut linker)?;
    Ok(linker)
}
