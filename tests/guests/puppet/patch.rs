/// Writes `settings` (`key`, `value`) into the script of a puppet, so that one compiled file becomes any number of
/// versions: `patch_puppet(&bytes, &[("version", "2.0.0"), ("extra", "colour")])`.
///
/// Keys: `name`, `version`, `table`, `more_tables` (a comma list), `stamp` (what `Put` writes to the column `stamp`),
/// `extra` (a further text column), `count=text` (the column `count` is text), `key` (the key column's index),
/// `index=none`, `kinds` (a second table of this name, with a column of each other type), `wicked` (what is wrong with
/// the descriptor: see `src/typed/wicked.rs`), `events` (a comma list of event types to subscribe to, or `none`),
/// `options` (`key:value,…`),
/// `describe` (`trap`, `panic`, `spin`, `recurse`, `eat`, `read`, `disagree`) and `project` (`trap`, `panic`, `spin`,
/// `fail`, `record`: a row for each event that came; and, for rows that depend on what they must not, `boundary`,
/// `hash` and `leak`). The lifter's keys are in its `lib.rs`.
///
/// # Panics
/// Where the file is no puppet, or the settings do not fit its block.
#[allow(unreachable_pub)] // Included by crates that export it and by crates that do not.
pub fn patch_puppet(puppet: &[u8], settings: &[(&str, &str)]) -> Vec<u8> {
    const MARKER: &[u8] = b"LAMPHOUSE-PUPPET{";
    const BLOCK_BYTES: usize = 1024;
    let start = puppet.windows(MARKER.len()).position(|window| window == MARKER).expect("this file is no puppet");
    let block = std::str::from_utf8(&puppet[start + MARKER.len()..start + BLOCK_BYTES - 1]).expect("a script is text");
    let mut pairs: Vec<(String, String)> = block
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    for (key, value) in settings {
        pairs.retain(|(name, _)| name != key);
        pairs.push(((*key).to_owned(), (*value).to_owned()));
    }
    let mut script: String = pairs.iter().map(|(key, value)| format!("{key}={value};")).collect();
    let room = BLOCK_BYTES - MARKER.len() - 1;
    assert!(script.len() <= room, "the script has {} bytes; {room} fit", script.len());
    script.extend(std::iter::repeat_n(' ', room - script.len()));
    let mut patched = puppet.to_vec();
    patched[start + MARKER.len()..start + BLOCK_BYTES - 1].copy_from_slice(script.as_bytes());
    patched
}
