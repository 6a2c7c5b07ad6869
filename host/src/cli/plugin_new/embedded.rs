//! What the binary holds of the SDKs, gathered by the build script.

/// Language (or none), part (`projector`, `upcaster`, `sdk`, `workspace`), path, content.
type Embedded = (&'static str, &'static str, &'static str, &'static [u8]);

static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Path and content of the files of one part.
pub(super) fn of(
    language: &'static str,
    part: &'static str,
) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    EMBEDDED
        .iter()
        .filter(move |file| file.0 == language && file.1 == part)
        .map(|file| (file.2, file.3))
}
