//! The code of generations, as it is kept with the tables.

use std::sync::Arc;

use crate::core::{Class, PluginDigest};
use crate::plugin::{Plugin, Sandbox};
use crate::projection::Surroundings;
use crate::tables::PluginRecord;

/// Why the code of a generation cannot be had.
pub(super) enum Kept {
    /// The database is away.
    Later(String),
    /// The code is not there, or does not run with this host.
    Never(String),
}

/// The projector of a digest, from the bytes that are kept with the tables.
pub(super) fn load_kept(
    surroundings: &Surroundings,
    sandbox: &Arc<Sandbox>,
    digest: &PluginDigest,
) -> Result<Arc<Plugin>, Kept> {
    let record = kept_bytes(surroundings, digest)?;
    sandbox.load_projector(&record.bytes).map_err(|error| {
        Kept::Never(format!(
            "{} {} (digest {}) does not run with this host any more: {error}",
            record.name,
            record.version,
            digest.short()
        ))
    })
}

/// The bytes that are kept with the tables under a digest.
pub(super) fn kept_bytes(surroundings: &Surroundings, digest: &PluginDigest) -> Result<PluginRecord, Kept> {
    match surroundings.store.plugin(digest) {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(Kept::Never(format!(
            "the code of digest {} is not kept in the tables database: put the plugin file in the folder again",
            digest.short()
        ))),
        Err(error) if error.class() == Class::Retryable => Err(Kept::Later(error.to_string())),
        Err(error) => Err(Kept::Never(error.to_string())),
    }
}
