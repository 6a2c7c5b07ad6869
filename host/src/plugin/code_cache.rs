//! Compiled code by digest, so that a start costs a file read and not a compilation.
//!
//! *Invariant:* only what this host compiled is ever loaded. Loading compiled code runs it outside the sandbox, so the
//! folder is ours alone (owner and mode 0700 are checked), each entry carries a checksum of its code, and its name
//! carries digest, engine settings and version. A damaged entry is compiled again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::PluginError;
use crate::core::PluginDigest;

/// Opens an entry; the number is of this file's layout and of the rules that were checked before it was written.
const MAGIC: &[u8; 16] = b"LAMPHOUSE-CODE-1";
const HEADER_BYTES: usize = MAGIC.len() + 32;

/// Entries kept; the oldest go. An entry is between 0.2 and 50 MB.
const ENTRIES_MAX: usize = 64;

/// A folder of compiled code.
pub(super) struct CodeCache {
    folder: PathBuf,
    /// Tells apart what engines of other versions or settings compiled.
    compatibility: String,
}

impl CodeCache {
    /// Opens the folder, making it if it is not there.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, PluginError> {
        let refuse = |why: String| PluginError::Host(format!("the code cache {}: {why}", folder.display()));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
            .map_err(|error| refuse(format!("cannot be made private (mode 0700): {error}")))?;
        // Whoever owns the folder can put code into it: it has to be the user that we make files as.
        let probe = folder.join(format!("owner-{}.tmp", std::process::id()));
        let owner = fs::File::create(&probe)
            .and_then(|file| file.metadata())
            .map(|data| data.uid());
        // A probe that stays behind is harmless.
        let _ = fs::remove_file(&probe);
        let owner = owner.map_err(|error| refuse(format!("cannot be written: {error}")))?;
        let found = fs::symlink_metadata(folder).map_err(|error| refuse(error.to_string()))?;
        if !found.is_dir() || found.uid() != owner {
            return Err(refuse(
                "is a link or belongs to another user, who could put code there; remove it".into(),
            ));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Ok(Self {
            folder: folder.to_owned(),
            compatibility: format!("{:016x}", hasher.finish()),
        })
    }

    fn path(&self, digest: &PluginDigest) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", self.compatibility))
    }

    /// The compiled code of a plugin, if it is here and sound.
    pub(super) fn load(&self, engine: &Engine, digest: &PluginDigest) -> Option<Component> {
        let path = self.path(digest);
        let entry = fs::read(&path).ok()?;
        let component = verified(&entry).and_then(|code| {
            // SAFETY: `code` has to be what `Component::serialize` gave. The folder is ours alone (checked when it was
            // opened), only `store` writes entries, and the checksum over the whole code holds, so that no part is
            // missing or damaged. wasmtime itself refuses code of another version or of other settings.
            unsafe { Component::deserialize(engine, code) }.ok()
        });
        if component.is_none() {
            tracing::warn!(path = %path.display(), "an entry of the code cache is damaged; it is compiled again");
            // The entry is replaced after compilation anyway.
            let _ = fs::remove_file(&path);
        }
        component
    }

    /// Keeps compiled code. A cache that cannot be written costs time and nothing else, so that it is only logged.
    pub(super) fn store(&self, digest: &PluginDigest, component: &Component) {
        if let Err(why) = self.try_store(digest, component) {
            tracing::warn!(%why, "compiled code could not be cached");
        }
    }

    fn try_store(&self, digest: &PluginDigest, component: &Component) -> Result<(), String> {
        let code = component.serialize().map_err(|error| error.to_string())?;
        let path = self.path(digest);
        // Under another name first, so that a reader sees a whole entry or none.
        let unfinished = self.folder.join(format!(
            "{digest}-{}-{}.tmp",
            self.compatibility,
            std::process::id()
        ));
        let write = || {
            let mut file = fs::File::create(&unfinished)?;
            file.write_all(MAGIC)?;
            file.write_all(&Sha256::digest(&code))?;
            file.write_all(&code)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(|error| {
            // What was written of it is of no use.
            let _ = fs::remove_file(&unfinished);
            format!("{}: {error}", path.display())
        })?;
        self.evict();
        Ok(())
    }

    /// Removes the oldest entries over the limit.
    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut by_age: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        by_age.sort();
        let excess = by_age.len().saturating_sub(ENTRIES_MAX);
        for (_, path) in by_age.into_iter().take(excess) {
            // Another host may have been quicker.
            let _ = fs::remove_file(path);
        }
    }
}

/// The code of an entry whose checksum holds.
fn verified(entry: &[u8]) -> Option<&[u8]> {
    let (header, code) = entry.split_at_checked(HEADER_BYTES)?;
    let sound = header.starts_with(MAGIC) && header[MAGIC.len()..] == Sha256::digest(code)[..];
    sound.then_some(code)
}
