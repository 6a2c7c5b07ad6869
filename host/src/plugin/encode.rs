//! From a core module to a component, so that authors need no second tool.

use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve};

use super::PluginError;
use super::inspect::{File, PREVIEW1, World, inspect};

/// WASI 0.1 that grants nothing and imports nothing.
static NULL_PREVIEW1: LazyLock<Vec<u8>> = LazyLock::new(|| {
    wat::parse_str(include_str!("null_preview1.wat")).expect("invariant: the adapter is valid text")
});

/// The contract, for modules of tools that embed no component type.
static CONTRACT: LazyLock<(Resolve, PackageId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("lamphouse.wit", include_str!("../../../wit/lamphouse.wit"))
        .expect("invariant: the contract is valid");
    (resolve, package)
});

/// What the host makes of a file before it compiles it: None for a component, which it takes as it is, else the
/// component that it makes of the core module.
///
/// # Errors
/// The file is no plugin, by its outside alone: not WebAssembly, of another world, with imports that plugins do not get.
pub fn component_of(bytes: &[u8]) -> Result<Option<Vec<u8>>, PluginError> {
    let encoded = match inspect(bytes)? {
        File::Component => return Ok(None),
        File::Module => component(bytes, "that it was built for")?,
        File::BareModule(world) => {
            let typed = with_type(bytes.to_vec(), world)?;
            component(&typed, &format!("{}, which its exports name", world.name()))?
        }
    };
    // The component may import what the module did not name.
    inspect(&encoded)?;
    Ok(Some(encoded))
}

/// Makes a component of a core module with an embedded component type.
fn component(module: &[u8], world: &str) -> Result<Vec<u8>, PluginError> {
    let encode = || {
        ComponentEncoder::default()
            .validate(true)
            .module(module)?
            .adapter(PREVIEW1, &NULL_PREVIEW1)?
            .encode()
    };
    encode().map_err(|error: anyhow::Error| {
        PluginError::World(format!(
            "the core module does not fit the world {world}: {error:#}"
        ))
    })
}

/// Embeds the component type of a world.
fn with_type(mut module: Vec<u8>, world: World) -> Result<Vec<u8>, PluginError> {
    let (resolve, package) = &*CONTRACT;
    let mut embed = || -> anyhow::Result<()> {
        let id = resolve.select_world(&[*package], Some(world.name()))?;
        embed_component_metadata(&mut module, resolve, id, StringEncoding::UTF8, false)
    };
    embed().map_err(|error| {
        PluginError::Host(format!(
            "the world {} could not be embedded, which is a bug of ours: {error:#}",
            world.name()
        ))
    })?;
    Ok(module)
}
