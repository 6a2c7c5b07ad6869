//! A loss of power, for a project on SQLite: what was never synced is gone.
//!
//! The library of `tests/power-loss`, preloaded into every process, keeps a copy of each database file as of its last
//! sync. After the processes were killed, the copies take the files' places.

use std::fs;
use std::io;

use crate::project::Project;

/// Lets every command of the project from now on keep what is synced.
///
/// # Panics
/// When the library cannot be built.
pub fn keep_what_is_synced(project: &mut Project) {
    let library = xtask::paths::build_power_loss().unwrap_or_else(|error| panic!("{error:#}"));
    assert!(library.exists(), "{} was built", library.display());
    project.preload(library);
}

/// Takes away what was not synced. Nothing may have the files open. Gives how many files lost something.
///
/// # Panics
/// When a file cannot be read or written.
pub fn lose(project: &Project) -> usize {
    let read = |name: &str| match fs::read(project.path(name)) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("cannot read {name}: {error}"),
    };
    let mut poorer = 0;
    for database in ["log.db", "tables.db"] {
        for end in ["", "-wal", "-journal"] {
            let name = format!("{database}{end}");
            let Some(before) = read(&name) else { continue };
            let after = read(&format!("{name}.synced")).unwrap_or_default();
            if before != after {
                poorer += 1;
                fs::write(project.path(&name), after)
                    .unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
            }
        }
        // Shared memory does not outlive the machine.
        let _ = fs::remove_file(project.path(&format!("{database}-shm")));
    }
    poorer
}
