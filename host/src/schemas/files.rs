//! The files of the folder, read with bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::name::{Kind, kind};

/// Files of the folder. More are more than somebody keeps an eye on.
const FILES_MAX: usize = 5_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all of them.
const FOLDER_BYTES_MAX: u64 = 32 << 20;

/// One file: what it holds, or why it cannot be used.
pub(super) type Read = Result<Vec<u8>, String>;

/// Every schema file by name. A folder that is not there holds none.
///
/// # Errors
/// Why the folder cannot be read.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, Read>, String> {
    let unreadable =
        |error: std::io::Error| format!("the schema folder {} cannot be read: {error}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        // A name that is no text is none that we write.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if kind(&name) == Ok(Kind::Other) || entry.path().is_dir() {
            continue;
        }
        if files.len() >= FILES_MAX {
            return Err(format!(
                "the schema folder {} has more than {FILES_MAX} files",
                folder.display()
            ));
        }
        let file = one(&entry.path());
        bytes += file.as_ref().map_or(0, |file| file.len() as u64);
        if bytes > FOLDER_BYTES_MAX {
            return Err(format!(
                "the files of the schema folder {} have more than {FOLDER_BYTES_MAX} bytes together",
                folder.display()
            ));
        }
        files.insert(name, file);
    }
    Ok(files)
}

fn one(path: &Path) -> Read {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    // A pipe or a device would never end, or block.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("it is no plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}
