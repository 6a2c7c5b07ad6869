//! Standard output: text for a person, or JSON. A reader that goes away (`| head`) ends the command quietly.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anyhow::Result;
use serde::Serialize;

/// Whoever read our output has gone. Not a failure.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(super) struct ReaderGone;

/// Standard output.
pub(super) struct Output {
    /// Whether `--json` was given.
    pub(super) json: bool,
    /// Whether to use colours.
    pub(super) style: Style,
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let coloured = !json
            && io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json,
            style: Style { coloured },
            stdout: BufWriter::new(io::stdout()),
        }
    }

    /// One line, or several.
    pub(super) fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self.stdout, "{text}").map_err(gone)
    }

    /// The one document of `--json`.
    pub(super) fn document(&mut self, value: &impl Serialize) -> Result<()> {
        self.line(serde_json::to_string_pretty(value)?)
    }

    /// One of many documents, on a line of its own.
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> Result<()> {
        self.line(serde_json::to_string(value)?)
    }

    /// Gives everything to the reader now.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(gone)
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(gone)
    }

    /// Width of the terminal in characters; None when the output is no terminal.
    pub(super) fn width(&self) -> Option<usize> {
        if self.json || !io::stdout().is_terminal() {
            return None;
        }
        console::Term::stdout()
            .size_checked()
            .map(|(_, columns)| usize::from(columns))
    }
}

fn gone(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("standard output cannot be written"),
    }
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) coloured: bool,
}

impl Style {
    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn busy(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
