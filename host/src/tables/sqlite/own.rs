//! The one owner: a lock on a file beside the database, which the system gives up when its process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tables::{Ownership, StoreError};

/// A look at the owner's address holds the lock for an instant; whoever wants to own tries again so often.
const TRIES: u32 = 10;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Holds the lock. The owner's address is the file's text.
struct OwnerLock {
    file: File,
    path: PathBuf,
}

/// Becomes the owner, unless another one holds the lock.
pub(super) fn try_own(database: &Path) -> Result<Option<Box<dyn Ownership>>, StoreError> {
    let path = lock_path(database);
    let file = open(&path)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => {
                let mut lock = OwnerLock { file, path };
                lock.write("")?;
                return Ok(Some(Box::new(lock)));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(TRY_AGAIN_AFTER),
            Err(TryLockError::Error(error)) => return Err(unavailable(&path, &error)),
        }
    }
    Ok(None)
}

/// Where the owner listens; None when there is no owner, or it has not said so yet.
pub(super) fn address(database: &Path) -> Result<Option<String>, StoreError> {
    let path = lock_path(database);
    if !path.exists() {
        return Ok(None);
    }
    let mut file = open(&path)?;
    match file.try_lock_shared() {
        // Nobody owns: what the file says was left behind by an owner that was killed.
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(unavailable(&path, &error)),
    }
    let mut address = String::new();
    file.read_to_string(&mut address)
        .map_err(|error| unavailable(&path, &error))?;
    let address = address.trim();
    Ok((!address.is_empty()).then(|| address.to_owned()))
}

impl Ownership for OwnerLock {
    fn announce(&mut self, address: &str) -> Result<(), StoreError> {
        self.write(address)
    }

    fn is_held(&mut self) -> bool {
        // A lock of this kind lasts as long as the open file; but the file may have been deleted, and another host may
        // then hold a new one of the same name.
        same_file(&self.file, &self.path)
    }
}

impl OwnerLock {
    fn write(&mut self, address: &str) -> Result<(), StoreError> {
        let file = &mut self.file;
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(address.as_bytes()));
        written.map_err(|error| unavailable(&self.path, &error))
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Best effort: closing the file gives up the lock, and an address without a lock means nothing.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.dev() == there.dev() && ours.ino() == there.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_file: &File, path: &Path) -> bool {
    path.exists()
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| unavailable(path, &error))
}

fn unavailable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "the lock file '{}' cannot be used: {error}; check the folder's permissions and space",
        path.display()
    ))
}
