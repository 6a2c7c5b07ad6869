//! Cuts an input into batches of checked lines.

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

use super::line;
use super::resume::{Start, hex};
use crate::log::{ImportCursor, ImportEvent};

/// Bad lines that are named at the most; the rest of the batch is only counted.
const BAD_LINES_NAMED_MAX: usize = 20;

/// White space that is kept back from a cursor. More of it counts as content.
const BLANK_BYTES_MAX: usize = 64 << 10;

/// Bounds of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Lines of one transaction.
    pub(super) lines_max: u64,
    /// Bytes of lines of one transaction: very long lines make short batches.
    pub(super) bytes_max: u64,
    /// Bytes of one line. A longer one is refused without being read into memory.
    pub(super) line_bytes_max: u64,
}

/// Lines that go into the log together.
pub(super) struct Batch {
    pub(super) events: Vec<ImportEvent>,
    /// Where the import stands after them.
    pub(super) cursor: ImportCursor,
}

/// A line that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) why: String,
}

/// Why there is no next batch.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The first bad lines of a batch, and how many more there are in it.
    BadLines { named: Vec<BadLine>, more: u64 },
    /// The input cannot be read further.
    Unreadable { line: u64, error: io::Error },
}

/// Reads batches from `start` on.
///
/// White space at the end of what was read is not part of a cursor until something follows it: a file that gains or
/// loses its last line break is still the same file.
pub(super) struct Batches<'c, R> {
    input: R,
    bounds: Bounds,
    check: &'c (dyn Fn(&ImportEvent) -> Result<(), String> + Sync),
    /// Number of the line that was read last.
    line_number: u64,
    /// Within a line whose event is in the log.
    inside_line: bool,
    /// The bytes of one line; kept for its memory.
    line: Vec<u8>,
    /// State, length and lines of what the next cursor covers.
    hasher: Sha256,
    bytes: u64,
    lines: u64,
    /// White space behind that.
    blank: Vec<u8>,
}

enum Read {
    End,
    Line { ends: bool },
    TooLong,
}

impl<'c, R: BufRead> Batches<'c, R> {
    /// `input` stands at `start`. `check` holds an event against the limits of the log.
    pub(super) fn new(
        input: R,
        start: Start,
        bounds: Bounds,
        check: &'c (dyn Fn(&ImportEvent) -> Result<(), String> + Sync),
    ) -> Self {
        let Start {
            bytes,
            lines,
            hasher,
            inside_line,
        } = start;
        let (line, blank) = (Vec::new(), Vec::new());
        Self {
            input,
            bounds,
            check,
            line_number: lines,
            inside_line,
            line,
            hasher,
            bytes,
            lines,
            blank,
        }
    }

    /// The next batch; None at the end of the input.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, Trouble> {
        let mut events = Vec::new();
        let (mut named, mut bad) = (Vec::new(), 0);
        let (number_before, bytes_before) = (self.line_number, self.bytes);
        while self.line_number - number_before < self.bounds.lines_max
            && self.bytes - bytes_before < self.bounds.bytes_max
        {
            let goes_on = std::mem::take(&mut self.inside_line);
            let read = self.read_line().map_err(|error| Trouble::Unreadable {
                line: self.line_number + 1,
                error,
            })?;
            if matches!(read, Read::End) {
                break;
            }
            self.line_number += u64::from(!goes_on);
            let result = match read {
                Read::TooLong => Err(format!(
                    "the line is longer than {} bytes, so its event is larger than [append] event_bytes_max allows",
                    self.bounds.line_bytes_max
                )),
                Read::Line { ends: false } if !goes_on => self.event(goes_on).map_err(|why| {
                    format!("{why} (the last line, without a line break: is the file still being written?)")
                }),
                _ => self.event(goes_on),
            };
            match result {
                Ok(event) => {
                    self.cover();
                    events.extend(event);
                }
                Err(why) => {
                    bad += 1;
                    if named.len() < BAD_LINES_NAMED_MAX {
                        named.push(BadLine {
                            line: self.line_number,
                            why,
                        });
                    }
                }
            }
        }
        if bad > 0 {
            let more = bad - named.len() as u64;
            return Err(Trouble::BadLines { named, more });
        }
        if self.bytes == bytes_before {
            return Ok(None);
        }
        let cursor = ImportCursor {
            digest: hex(self.hasher.clone()),
            bytes: self.bytes,
            lines: self.lines,
        };
        Ok(Some(Batch { events, cursor }))
    }

    /// Counts the line that was read to what the next cursor covers.
    fn cover(&mut self) {
        let text = self.line.trim_ascii_end();
        if !text.is_empty() {
            self.hasher.update(&self.blank);
            self.hasher.update(text);
            self.bytes += (self.blank.len() + text.len()) as u64;
            self.blank.clear();
            self.lines = self.line_number;
        }
        self.blank.extend_from_slice(&self.line[text.len()..]);
        if self.blank.len() > BLANK_BYTES_MAX {
            self.hasher.update(&self.blank);
            self.bytes += self.blank.len() as u64;
            self.blank.clear();
            self.lines = self.line_number;
        }
    }

    /// The event of the line that was read; None for a blank one.
    fn event(&self, goes_on: bool) -> Result<Option<ImportEvent>, String> {
        let mut text = self.line.trim_ascii();
        if self.line_number == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
        }
        if text.is_empty() {
            return Ok(None);
        }
        if goes_on {
            return Err(
                "the line was imported as it stood, without a line break, and has grown since; \
                        restore it, and put what is new on lines of its own"
                    .to_owned(),
            );
        }
        let event = line::parse(text, self.line_number)?;
        (self.check)(&event)?;
        Ok(Some(event))
    }

    /// Reads to the line break; keeps no more than a line may have.
    fn read_line(&mut self) -> io::Result<Read> {
        self.line.clear();
        let mut length = 0;
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let found = piece.iter().position(|byte| *byte == b'\n');
            let taken = found.map_or(piece.len(), |at| at + 1);
            length += taken as u64;
            let too_long = length > self.bounds.line_bytes_max;
            if !too_long {
                self.line.extend_from_slice(&piece[..taken]);
            }
            self.input.consume(taken);
            let ends = found.is_some();
            if ends || taken == 0 {
                if length == 0 {
                    return Ok(Read::End);
                }
                return Ok(if too_long {
                    Read::TooLong
                } else {
                    Read::Line { ends }
                });
            }
        }
    }
}
