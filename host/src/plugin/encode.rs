//! From a core module to a component, so that authors need no second tool.

use std::sync::LazyLock;

use wit_component::ComponentEncoder;

use super::PluginError;
use super::inspect::PREVIEW1;

/// WASI 0.1 that grants nothing and imports nothing.
static NULL_PREVIEW1: LazyLock<Vec<u8>> = LazyLock::new(|| {
    wat::parse_str(include_str!("null_preview1.wat")).expect("invariant: the adapter is valid text")
});

/// Makes a component of a core module with an embedded component type.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>, PluginError> {
    let encode = || {
        ComponentEncoder::default()
            .validate(true)
            .module(module)?
            .adapter(PREVIEW1, &NULL_PREVIEW1)?
            .encode()
    };
    encode().map_err(|error: anyhow::Error| {
        PluginError::World(format!(
            "the core module does not fit the world that it was built for: {error:#}"
        ))
    })
}
