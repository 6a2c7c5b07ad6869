//! Preloaded (`LD_PRELOAD`) into a process that uses SQLite: each time a database file or its log is synced, its content
//! is copied to `FILE.synced`. After the process was killed, these copies are what a loss of power would have left, and a
//! test puts them in the files' place. What was written and never synced is gone.
//!
//! A real disk may keep some of what was not synced, too; here all of it is lost, which is the harder case.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Names of the files that matter end so: the database, its write-ahead log, its rollback journal.
const ENDS: [&str; 3] = [".db", ".db-wal", ".db-journal"];

fn matters(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    ENDS.iter().any(|end| name.ends_with(end.as_bytes()))
}

fn copy_of(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The function of this name that this library stands before.
fn next(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with a zero, and the handle is one that dlsym knows.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if found.is_null() {
        give_up(&format!("libc has no {name:?}"));
    }
    found
}

/// A test whose copies are not made proves nothing, so the process ends.
fn give_up(why: &str) -> ! {
    eprintln!("power-loss: {why}");
    std::process::abort()
}

fn sync(name: &CStr, file: c_int) -> c_int {
    // SAFETY: libc's fsync and fdatasync have this type.
    let real: unsafe extern "C" fn(c_int) -> c_int = unsafe { std::mem::transmute(next(name)) };
    // SAFETY: the descriptor is the caller's own; a bad one is an error, not undefined.
    let result = unsafe { real(file) };
    if result == 0
        && let Ok(path) = fs::read_link(format!("/proc/self/fd/{file}"))
        && matters(&path)
        && let Err(error) = keep(&path, file)
    {
        give_up(&format!(
            "cannot keep what was synced of {}: {error}",
            path.display()
        ));
    }
    result
}

/// The copy appears all at once, so that a kill meets the old one or the new one. A lock keeps copies of several processes
/// in order, so that an older one never replaces a newer one.
///
/// The file is read through the caller's own descriptor: opening and closing another one would drop the locks that
/// SQLite has on the file, as POSIX has it.
fn keep(path: &Path, file: c_int) -> io::Result<()> {
    let lock = File::create(copy_of(path, ".lock"))?;
    lock.lock()?;
    // SAFETY: the descriptor is open, since it was just synced; it is not closed here.
    let source = ManuallyDrop::new(unsafe { File::from_raw_fd(file) });
    let half = copy_of(path, ".part");
    let mut copy = File::create(&half)?;
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let bytes = source.read_at(&mut buffer, offset)?;
        if bytes == 0 {
            break;
        }
        copy.write_all(&buffer[..bytes])?;
        offset += bytes as u64;
    }
    fs::rename(half, copy_of(path, ".synced"))
}

/// Stands before libc's `fsync`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    sync(c"fsync", file)
}

/// Stands before libc's `fdatasync`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    sync(c"fdatasync", file)
}

/// Stands before libc's `unlink`: of a file that is gone nothing is kept, or its successor would get the old content.
///
/// # Safety
/// As libc's: `path` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: libc's unlink has this type.
    let real: unsafe extern "C" fn(*const c_char) -> c_int = unsafe { std::mem::transmute(next(c"unlink")) };
    // SAFETY: the caller gives a path that ends with a zero.
    let result = unsafe { real(path) };
    if result == 0 {
        // SAFETY: as above.
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        if matters(path) {
            // There may be none.
            let _ = fs::remove_file(copy_of(path, ".synced"));
        }
    }
    result
}
