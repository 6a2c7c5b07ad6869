//! The upcasters of the plugin folder, for commands that show events in today's form.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::host::HostError;
use crate::config::Config;
use crate::plugin::{Sandbox, Upcaster, is_upcaster};
use crate::tables::{GenerationRecord, TableStore};
use crate::upcast::Upcasters;

/// The upcasters of the plugin folder as one set; empty without any.
///
/// # Errors
/// A file that cannot be read, an upcaster that no host would run, and upcasters that cannot be a set.
pub fn folder_upcasters(config: &Config) -> Result<Arc<Upcasters>, HostError> {
    let files = upcaster_files(config)?;
    let upcasters = if files.is_empty() {
        Vec::new()
    } else {
        let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
        load(&sandbox, files)?
    };
    let set = Upcasters::new(upcasters).map_err(|conflict| HostError::Refused(conflict.to_string()))?;
    Ok(Arc::new(set))
}

/// The upcasters that a generation was built with, from the bytes that are kept with the tables.
///
/// # Errors
/// The tables are away, or an upcaster does not run with this host any more.
pub fn kept_upcasters(
    config: &Config,
    store: &dyn TableStore,
    generation: &GenerationRecord,
) -> Result<Arc<Upcasters>, HostError> {
    if generation.upcasters.is_empty() {
        return Ok(Arc::new(Upcasters::empty()));
    }
    let sandbox = Sandbox::new(config.limits.clone(), Some(&config.data.join("code")))?;
    upcasters_of(&sandbox, store, generation)
}

/// As [`kept_upcasters`], in this sandbox.
pub(super) fn upcasters_of(
    sandbox: &Arc<Sandbox>,
    store: &dyn TableStore,
    generation: &GenerationRecord,
) -> Result<Arc<Upcasters>, HostError> {
    let mut loaded = Vec::new();
    for upcaster in &generation.upcasters {
        let Some(kept) = store.plugin(&upcaster.digest)? else {
            return Err(HostError::Refused(format!(
                "the code of upcaster {} {} (digest {}) is not kept in the tables database",
                upcaster.name,
                upcaster.version,
                upcaster.digest.short()
            )));
        };
        loaded.push(sandbox.load_upcaster(&kept.bytes)?);
    }
    let set = Upcasters::new(loaded).map_err(|conflict| HostError::Refused(conflict.to_string()))?;
    Ok(Arc::new(set))
}

/// Name and bytes of each upcaster file, in the order of their names.
pub(super) fn upcaster_files(config: &Config) -> Result<Vec<(String, Vec<u8>)>, HostError> {
    let unreadable = |what: &std::path::Path, error: std::io::Error| {
        HostError::Folder(format!("{} cannot be read: {error}", what.display()))
    };
    let entries = std::fs::read_dir(&config.plugins).map_err(|error| unreadable(&config.plugins, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&config.plugins, error))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') || !name.ends_with(".wasm") || !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
        if is_upcaster(&bytes) {
            files.push((name, bytes));
        }
    }
    files.sort();
    Ok(files)
}

/// Loads files; a copy of another is left out.
pub(super) fn load(
    sandbox: &Arc<Sandbox>,
    files: Vec<(String, Vec<u8>)>,
) -> Result<Vec<Arc<Upcaster>>, HostError> {
    let mut digests = BTreeSet::new();
    let mut upcasters = Vec::new();
    for (name, bytes) in files {
        let upcaster = sandbox
            .load_upcaster(&bytes)
            .map_err(|error| HostError::Refused(format!("{name}: {error}")))?;
        if digests.insert(upcaster.digest()) {
            upcasters.push(upcaster);
        }
    }
    Ok(upcasters)
}
