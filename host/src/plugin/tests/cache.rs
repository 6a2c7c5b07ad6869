//! Compiled code that is kept.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A sandbox with a cache, and its folder.
fn cached() -> (Arc<Sandbox>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(small_limits(), Some(&folder.path().join("code"))).unwrap();
    (sandbox, folder)
}

fn entries(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.path().join("code")).unwrap();
    files.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn code_is_kept_by_digest_in_a_private_folder() {
    let (sandbox, folder) = cached();
    let mode = std::fs::metadata(folder.path().join("code"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let plugin = sandbox.load_projector(puppet_file()).unwrap();
    let kept = entries(&folder);
    assert_eq!(kept.len(), 1);
    let name = kept[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        name.starts_with(&plugin.digest().to_string()) && name.ends_with(".cwasm"),
        "{name}"
    );

    // A second host loads it without touching it.
    let written = std::fs::metadata(&kept[0]).unwrap().modified().unwrap();
    let second = Sandbox::new(small_limits(), Some(&folder.path().join("code"))).unwrap();
    call(&second.load_projector(puppet_file()).unwrap(), &["Count"])
        .2
        .unwrap();
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().modified().unwrap(), written);
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let (sandbox, folder) = cached();
    sandbox.load_projector(puppet_file()).unwrap();
    let entry = entries(&folder).remove(0);
    let sound = std::fs::read(&entry).unwrap();
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&flipped[..], &sound[..sound.len() / 2], &sound[..7], b""] {
        std::fs::write(&entry, damaged).unwrap();
        call(&sandbox.load_projector(puppet_file()).unwrap(), &["Count"])
            .2
            .unwrap();
        assert_eq!(std::fs::read(&entry).unwrap().len(), sound.len());
    }
}

#[test]
fn other_settings_do_not_share_code() {
    let (sandbox, folder) = cached();
    sandbox.load_projector(puppet_file()).unwrap();
    let limits = PluginLimits {
        stack_bytes_max: 512 << 10,
        ..small_limits()
    };
    let other = Sandbox::new(limits, Some(&folder.path().join("code"))).unwrap();
    call(&other.load_projector(puppet_file()).unwrap(), &["Count"])
        .2
        .unwrap();
}

#[test]
fn a_folder_that_is_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("code")).unwrap();
    let error = Sandbox::new(small_limits(), Some(&folder.path().join("code")))
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("is a link or belongs to another user"),
        "{error}"
    );
}
