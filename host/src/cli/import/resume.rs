//! Finds how much of an input is in the log already, by the digests that earlier imports left.
//!
//! A cursor says: a file that begins with these `bytes` bytes, whose SHA-256 is `digest`, is in the log up to there. So
//! the name of a file, its compression and what was added to its end since do not matter.

use std::io::{self, BufRead};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::log::ImportCursor;

/// Where an import goes on.
#[derive(Clone)]
pub(super) struct Start {
    /// Uncompressed bytes that are in the log.
    pub(super) bytes: u64,
    /// Lines that are in the log.
    pub(super) lines: u64,
    /// State after those bytes.
    pub(super) hasher: Sha256,
    /// The bytes end within a line: the last one had no line break when it was imported.
    pub(super) inside_line: bool,
}

impl Start {
    /// Of an input that the log does not know.
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            lines: 0,
            hasher: Sha256::new(),
            inside_line: false,
        }
    }
}

/// The longest beginning of the input that a cursor knows. Reads as far as the longest cursor, hashing once.
///
/// `read` is told after each piece, and stops the search by giving false; what was found until then is given.
pub(super) fn find(
    input: &mut dyn BufRead,
    cursors: &[ImportCursor],
    mut read: impl FnMut() -> bool,
) -> io::Result<Start> {
    let mut cursors: Vec<&ImportCursor> = cursors.iter().filter(|cursor| cursor.bytes > 0).collect();
    cursors.sort_by_key(|cursor| cursor.bytes);
    let mut found = Start::new();
    let mut at = Start::new();
    for cursor in cursors {
        while at.bytes < cursor.bytes {
            let piece = match input.fill_buf() {
                Ok([]) => return Ok(found),
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The error comes again, with its line, when the import gets there.
                Err(_) => return Ok(found),
            };
            let wanted = usize::try_from(cursor.bytes - at.bytes)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            at.hasher.update(&piece[..wanted]);
            at.inside_line = piece[wanted - 1] != b'\n';
            at.bytes += wanted as u64;
            input.consume(wanted);
            if !read() {
                return Ok(found);
            }
        }
        if hex(at.hasher.clone()) == cursor.digest {
            found = Start {
                lines: cursor.lines,
                ..at.clone()
            };
        }
    }
    Ok(found)
}

/// The digest as a cursor holds it.
pub(super) fn hex(hasher: Sha256) -> String {
    HEXLOWER.encode(&hasher.finalize())
}

/// Reads past the first bytes of an input.
pub(super) fn skip(input: &mut dyn BufRead, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut io::Read::take(input, bytes), &mut io::sink())?;
    if skipped < bytes {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it became shorter while it was read",
        ));
    }
    Ok(())
}
