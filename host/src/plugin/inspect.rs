//! What a file is, from its bytes alone, before anything of it is compiled or run.

use wasmparser::{Encoding, Parser, Payload};

use super::PluginError;
use super::cut::cut_list;

/// The contract that this host serves.
pub(super) const CONTRACT_VERSION: &str = "0.1.0";

/// How a plugin's calls cross the boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Worlds `projector-plugin` and `upcaster-plugin`: records and lists; of a projector, one host call a change.
    Typed,
    /// Worlds `packed-projector-plugin` and `packed-upcaster-plugin`: byte lists both ways.
    Packed,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum File {
    /// A core module with an embedded component type: what `cargo build --target wasm32-unknown-unknown` gives.
    Module,
    /// A core module without one, whose exports name one of our worlds: what Go's and C's compilers give.
    BareModule(World),
    /// A component of one of our worlds.
    Component,
}

/// One of our worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct World {
    /// The interface that its plugins export: `packed-projector`.
    interface: &'static str,
    name: &'static str,
}

impl World {
    /// Its name in the contract: `packed-projector-plugin`.
    pub(super) fn name(self) -> &'static str {
        self.name
    }
}

const WORLDS: [World; 4] = [
    World {
        interface: "packed-projector",
        name: "packed-projector-plugin",
    },
    World {
        interface: "projector",
        name: "projector-plugin",
    },
    World {
        interface: "packed-upcaster",
        name: "packed-upcaster-plugin",
    },
    World {
        interface: "upcaster",
        name: "upcaster-plugin",
    },
];

/// Says what a file is, or why it is nothing that can be run here.
pub(super) fn inspect(bytes: &[u8]) -> Result<File, PluginError> {
    if let Some(what) = not_wasm(bytes) {
        return Err(PluginError::NotWasm(what));
    }
    let outline = Outline::read(bytes)?;
    let forbidden: Vec<String> = outline.forbidden_imports();
    if !forbidden.is_empty() {
        return Err(PluginError::Imports { imports: forbidden });
    }
    if outline.component {
        return match outline.world()? {
            Some(_) => Ok(File::Component),
            None => Err(PluginError::World(another_world(&outline))),
        };
    }
    if outline.component_type {
        return Ok(File::Module);
    }
    match outline.world()? {
        Some(world) => Ok(File::BareModule(world)),
        None => Err(PluginError::World(no_component_type(&outline))),
    }
}

/// Whether a file looks like an upcaster, by what it exports; false for what is no WebAssembly.
pub fn is_upcaster(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm")
        && Outline::read(bytes).is_ok_and(|outline| {
            let mut exports = outline.exports.iter();
            exports.any(|export| {
                export.starts_with("lamphouse:plugin/upcaster@")
                    || export.starts_with("lamphouse:plugin/packed-upcaster@")
            })
        })
}

/// The interfaces that a file imports, each once, in its order; none of what is no WebAssembly.
pub fn imports(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in Outline::read(bytes).map_or_else(|_| Vec::new(), |outline| outline.imports) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn no_component_type(outline: &Outline) -> String {
    format!(
        "the file is a core WebAssembly module that does not say which world it is made for: it has no embedded \
         component type, and exports no function of a world, such as \
         lamphouse:plugin/packed-projector@{CONTRACT_VERSION}#project{}. Build it with the Lamphouse SDK of its language \
         or with wit-bindgen, and do not strip custom sections",
        match outline.exports.is_empty() {
            true => " (it exports nothing)".to_owned(),
            false => format!(" (it exports {})", listed(&outline.exports)),
        }
    )
}

/// What the file looks like if it does not begin as WebAssembly.
fn not_wasm(bytes: &[u8]) -> Option<String> {
    const PRECOMPILED: &str = "the file is precompiled native code (.cwasm); loading code that somebody else compiled is unsafe, so that it \
         is refused. Deploy the .wasm file that it was made from";
    let build = "Deploy the .wasm file that your build makes";
    if bytes.is_empty() {
        return Some(format!("the file is empty. {build}"));
    }
    if bytes.starts_with(b"\0asm") {
        return None;
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Some(PRECOMPILED.to_owned());
    }
    let looks_like = match bytes {
        [0x7f, b'E', b'L', b'F', ..] => "a native program or library (ELF)",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [b'M', b'Z', ..] => "a Windows program",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => "a macOS program",
        [b'B', b'C', 0xc0, 0xde, ..] => "LLVM bitcode",
        _ => return Some(text_or_unknown(bytes)),
    };
    Some(format!(
        "the file is not WebAssembly: it is {looks_like}. {build}"
    ))
}

fn text_or_unknown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(200)];
    let head = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        // A character may be cut at the end of the head.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok(),
        Err(_) => None,
    };
    let readable = head.filter(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()));
    match readable.map(str::trim_start) {
        Some(text)
            if text.starts_with("(module") || text.starts_with("(component") || text.starts_with(";;") =>
        {
            "the file is WebAssembly text. Deploy the binary form of it".to_owned()
        }
        Some(text) => {
            let line: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
            format!(
                "the file is not WebAssembly: it is text that begins '{line}'. Deploy the .wasm file that your build makes"
            )
        }
        None => {
            let first: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!(
                "the file is not WebAssembly: it begins with the bytes {}, not 00 61 73 6d",
                first.join(" ")
            )
        }
    }
}

/// The outermost imports and exports.
#[derive(Debug, Default)]
struct Outline {
    component: bool,
    /// Of a component: the names; of a module: `(module, name)`.
    imports: Vec<(String, Option<String>)>,
    exports: Vec<String>,
    /// Whether a module has the custom section that says its world.
    component_type: bool,
}

impl Outline {
    fn read(bytes: &[u8]) -> Result<Self, PluginError> {
        Self::walk(bytes).map_err(|error| {
            let cut =
                error.message().contains("unexpected end") || error.message().contains("bytes remaining");
            PluginError::Invalid(format!(
                "the file begins as WebAssembly and is not valid at byte {} of {}: {}{}",
                error.offset(),
                bytes.len(),
                error.message(),
                if cut {
                    "; it looks cut short, as by a copy that was still under way"
                } else {
                    ""
                }
            ))
        })
    }

    fn walk(bytes: &[u8]) -> wasmparser::Result<Self> {
        let mut outline = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if depth == 1 {
                        outline.component = encoding == Encoding::Component;
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 1 => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        outline.imports.push((import?.name.name.to_owned(), None));
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        outline.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        outline
                            .imports
                            .push((import.module.to_owned(), Some(import.name.to_owned())));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        outline.exports.push(export?.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                    outline.component_type = true;
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn forbidden_imports(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (module, name) in &self.imports {
            let shown = match name {
                None if allowed_interface(module) => continue,
                Some(_)
                    if allowed_interface(module)
                        || module == PREVIEW1
                        || self.left_to_the_encoder(module) =>
                {
                    continue;
                }
                // An interface is refused as a whole; a bare module such as `env` is named with what is wanted of it.
                Some(name) if !module.contains(':') => format!("{module}.{name}"),
                _ => module.clone(),
            };
            if !names.contains(&shown) {
                names.push(shown);
            }
        }
        names
    }

    /// Forms that `wit-component` knows better than we do: it checks them against the embedded world.
    fn left_to_the_encoder(&self, module: &str) -> bool {
        self.component_type && (module.starts_with("cm32p2") || module.starts_with('[') || module == "$root")
    }

    /// The world that the exports name, if they name one.
    fn world(&self) -> Result<Option<World>, PluginError> {
        let exported = |world: World| {
            let name = format!("lamphouse:plugin/{}", world.interface);
            // Of a core module, each function is exported: `interface@version#function`.
            let mut interfaces = self.exports.iter().map(|export| match self.component {
                true => export.as_str(),
                false => export.split('#').next().unwrap_or_default(),
            });
            interfaces
                .find(|interface| interface.split('@').next() == Some(&name))
                .map(|interface| (world, interface))
        };
        let ours = |(_, name): &(World, &str)| name.ends_with(&format!("@{CONTRACT_VERSION}"));
        let of_kind = |packed: World, typed: World| {
            exported(packed)
                .filter(ours)
                .or(exported(typed))
                .or(exported(packed))
        };
        let [packed_projector, projector, packed_upcaster, upcaster] = WORLDS;
        let projector = of_kind(packed_projector, projector);
        match (projector, of_kind(packed_upcaster, upcaster)) {
            (Some((_, projector)), Some((_, upcaster))) => Err(PluginError::World(format!(
                "the plugin exports both {projector} and {upcaster}: a plugin is a projector or an upcaster. Make two \
                 plugins of it"
            ))),
            (Some(found), None) | (None, Some(found)) if ours(&found) => Ok(Some(found.0)),
            (Some((_, name)), None) | (None, Some((_, name))) => Err(PluginError::World(format!(
                "the plugin exports {name}, and this host serves version {CONTRACT_VERSION} of the contract. Build \
                 the plugin against that version, or use a host that serves its version"
            ))),
            (None, None) => Ok(None),
        }
    }
}

fn another_world(outline: &Outline) -> String {
    let has = match outline.exports.is_empty() {
        true => "nothing".to_owned(),
        false => listed(&outline.exports),
    };
    format!(
        "the component is of another world: it exports {has}, and a plugin exports \
         lamphouse:plugin/projector@{CONTRACT_VERSION}, lamphouse:plugin/packed-projector@{CONTRACT_VERSION}, \
         lamphouse:plugin/upcaster@{CONTRACT_VERSION} or lamphouse:plugin/packed-upcaster@{CONTRACT_VERSION}"
    )
}

/// The import module of WASI 0.1, which the host adapts.
pub(super) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Whether the host has an interface of this name: `namespace:package/interface@version`.
fn allowed_interface(name: &str) -> bool {
    let Some((path, version)) = name.split_once('@') else {
        return false;
    };
    let Some((package, interface)) = path.split_once('/') else {
        return false;
    };
    match package {
        "lamphouse:plugin" => {
            version == CONTRACT_VERSION && matches!(interface, "tables" | "log" | "types" | "upcaster-types")
        }
        "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:io" | "wasi:filesystem" | "wasi:sockets" => {
            version.starts_with("0.2.")
        }
        _ => false,
    }
}

/// The first few of a list.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    cut_list(names, SHOWN, 100).join(", ")
}
