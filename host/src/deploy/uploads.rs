//! Plugin files that come in pieces, from a network: kept beside the plugin folder's own files until they are whole.
//!
//! *Invariants:* an upload is in the folder `.uploads` within the plugin folder, so that a rename puts it in place and no
//! look at the folder takes it for a plugin; it never grows beyond the limit; it goes away with its [`Upload`], and what a
//! host that was killed left behind goes away with the next upload or start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::core::PluginDigest;

/// Folder of what is under way; hidden, so that it is no plugin.
const FOLDER: &str = ".uploads";
/// Uploads that are received at once. Each may take `plugin_bytes_max` on the disk.
const RECEIVED_MAX: usize = 4;

/// Where uploads are received.
pub struct Uploads {
    folder: PathBuf,
    bytes_max: u64,
    next: AtomicU64,
    /// Held while an upload begins, so that no other one takes it for left behind before it is locked.
    beginning: Mutex<()>,
    /// Room for one more upload.
    pub receiving: Arc<Semaphore>,
    /// The turn to compile: one at a time, since it takes a core and much memory.
    pub compiling: Arc<Semaphore>,
}

/// One file under way; gone when dropped.
pub struct Upload {
    path: PathBuf,
    /// Locked, so that it is not taken for left behind.
    file: File,
    bytes: u64,
    bytes_max: u64,
    digest: Sha256,
}

/// A file that is whole and on the disk; gone when dropped, unless it was put in place.
pub struct Received {
    upload: Upload,
    digest: PluginDigest,
}

/// Why an upload does not go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is larger than plugins may be.
    #[error(
        "a plugin may have {bytes_max} bytes, and this one is larger; raise [limits] plugin_bytes_max if it has to be"
    )]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The disk, or the folder.
    #[error("the upload cannot be kept in {path}: {error}", path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Uploads {
    /// Uploads into this plugin folder, each of at most so many bytes. Nothing is made yet.
    pub fn new(plugins: &Path, bytes_max: u64) -> Self {
        Self {
            folder: plugins.join(FOLDER),
            bytes_max,
            next: AtomicU64::new(0),
            beginning: Mutex::new(()),
            receiving: Arc::new(Semaphore::new(RECEIVED_MAX)),
            compiling: Arc::new(Semaphore::new(1)),
        }
    }

    /// Bytes that a plugin may have.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Removes what nobody writes any more: of hosts that were killed.
    pub fn clear_abandoned(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            // There is none, or it cannot be read: then the next upload says so.
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if is_free && let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "An abandoned upload cannot be removed");
            }
        }
        // Others may be under way in it.
        let _ = fs::remove_dir(&self.folder);
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// [`UploadError::Io`].
    pub fn begin(&self) -> Result<Upload, UploadError> {
        let _beginning = self.beginning.lock();
        self.clear_abandoned();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{}-{number}.part", std::process::id()));
        let failed = |error| UploadError::Io {
            path: path.clone(),
            error,
        };
        let file = self.create(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Upload {
            path,
            file,
            bytes: 0,
            bytes_max: self.bytes_max,
            digest: Sha256::new(),
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let mut tries = 0;
        loop {
            match fs::create_dir(&self.folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            // A file of this name is one of an earlier process with our id.
            let opened = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(path);
            match opened {
                // An upload that ended just now took the folder with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < RECEIVED_MAX => tries += 1,
                opened => return opened,
            }
        }
    }
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(UploadError::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        self.digest.update(bytes);
        self.file.write_all(bytes).map_err(|error| self.failed(error))
    }

    /// Ends it: all of it is on the disk.
    ///
    /// # Errors
    /// [`UploadError::Io`].
    pub fn finish(self) -> Result<Received, UploadError> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        let digest = PluginDigest::from_sha256(self.digest.clone().finalize().into());
        Ok(Received { upload: self, digest })
    }

    fn failed(&self, error: io::Error) -> UploadError {
        UploadError::Io {
            path: self.path.clone(),
            error,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It was put in place, or its folder is gone.
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            // Others may be under way in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Received {
    /// The digest of its bytes.
    pub fn digest(&self) -> PluginDigest {
        self.digest
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.upload.bytes
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.upload.bytes == 0
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The file system's.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.upload.path)
    }

    /// Puts it at `path` in one step, in place of what is there, durably.
    ///
    /// # Errors
    /// The file system's; then what was there is still there.
    pub(crate) fn put(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.upload.path, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_upload_is_put_in_place_whole_and_leaves_nothing() {
        let plugins = tempfile::tempdir().unwrap();
        let target = plugins.path().join("a.wasm");
        fs::write(&target, b"old").unwrap();
        let uploads = Uploads::new(plugins.path(), 100);
        let mut upload = uploads.begin().unwrap();
        upload.write(b"ne").unwrap();
        upload.write(b"w").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let received = upload.finish().unwrap();
        assert_eq!(received.digest(), PluginDigest::of(b"new"));
        assert_eq!((received.read().unwrap(), received.len()), (b"new".to_vec(), 3));
        received.put(&target).unwrap();
        drop(received);
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(plugins.path()), ["a.wasm"]);
    }

    #[test]
    fn an_upload_that_is_too_large_stops_at_the_limit_and_leaves_nothing() {
        let plugins = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(plugins.path(), 10);
        let mut upload = uploads.begin().unwrap();
        upload.write(b"0123456789").unwrap();
        let error = upload.write(b"x").unwrap_err();
        assert!(error.to_string().contains("plugin_bytes_max"), "{error}");
        drop(upload);
        assert!(names(plugins.path()).is_empty());
    }

    #[test]
    fn what_was_left_behind_goes_and_what_is_under_way_stays() {
        let plugins = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(plugins.path(), 10);
        let upload = uploads.begin().unwrap();
        fs::write(plugins.path().join(FOLDER).join("1-7.part"), b"half").unwrap();
        uploads.clear_abandoned();
        assert_eq!(names(&plugins.path().join(FOLDER)).len(), 1);
        upload.finish().expect("it goes on");
        assert!(names(plugins.path()).is_empty());
    }

    #[test]
    fn a_folder_that_is_gone_is_named() {
        let plugins = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(&plugins.path().join("gone"), 10);
        let error = uploads.begin().err().expect("no folder").to_string();
        assert!(error.contains("gone"), "{error}");
    }
}
