//! The block of text that tests patch.

/// `LAMPHOUSE-PUPPET{key=value;key=value;…}`, padded with spaces inside the braces. `../patch.rs` writes it.
#[used]
static BLOCK: [u8; 1024] = block();

const fn block() -> [u8; 1024] {
    let text = b"LAMPHOUSE-PUPPET{name=puppet;version=1.0.0;table=puppet;stamp=v1;";
    let mut block = [b' '; 1024];
    let mut at = 0;
    while at < text.len() {
        block[at] = text[at];
        at += 1;
    }
    block[1023] = b'}';
    block
}

/// The value of a key; empty where there is none.
pub fn get(key: &str) -> String {
    // Read through a pointer that the compiler cannot see through: it would fold the unpatched text in.
    let block = unsafe { core::slice::from_raw_parts(core::hint::black_box(BLOCK.as_ptr()), BLOCK.len()) };
    let text = core::str::from_utf8(block).unwrap_or_default();
    let inside = text
        .split_once('{')
        .map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let mut pairs = inside.split(';').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| name.trim() == key)
        .map_or(String::new(), |(_, value)| value.trim().to_owned())
}

/// Whether a key has this value.
pub fn is(key: &str, value: &str) -> bool {
    get(key) == value
}
