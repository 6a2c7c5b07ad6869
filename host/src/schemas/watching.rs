//! Looks at the folder, and has it read again when it changed and has come to rest.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Schemas;
use crate::core::signal::Signal;
use crate::watch::Folder;

/// Between two looks, when nothing wakes: a folder that is made later, or on a file server, says nothing of itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From a change to the look at it: most tools change several files at once.
const LOOK_SOON: Duration = Duration::from_millis(40);

pub(super) fn start(schemas: &Arc<Schemas>) -> std::io::Result<()> {
    let weak = Arc::downgrade(schemas);
    let path = schemas.folder.clone();
    std::thread::Builder::new()
        .name("schemas-watch".to_owned())
        .spawn(move || {
            let changed = Arc::new(Signal::default());
            let bump = changed.clone();
            let folder = Folder::new(&path, "schema folder", &[".json"], move || bump.bump()).watched();
            run(&weak, folder, &changed);
        })?;
    Ok(())
}

fn run(schemas: &Weak<Schemas>, mut folder: Folder, changed: &Signal) {
    // What was there when it was read last; None inside: it could not be looked at.
    let mut known = None;
    loop {
        let seen = changed.seen();
        let found = match folder.look() {
            Ok(look) if look.settling.is_empty() => Some(Some(look.settled)),
            Ok(_) => None,
            Err(_) => Some(None),
        };
        let Some(schemas) = schemas.upgrade() else { return };
        if let Some(found) = found
            && known.as_ref() != Some(&found)
        {
            schemas.reload();
            known = Some(found);
        }
        drop(schemas);
        changed.wait(seen, LOOK_EVERY);
        std::thread::sleep(LOOK_SOON);
    }
}
