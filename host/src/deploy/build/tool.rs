//! Runs somebody else's tool, hearing all that it says.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use crossbeam_channel::Sender;

use super::{BuildError, Progress};

/// Of a tool's output, so much is kept from its end: a compiler that goes mad fills no memory.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// A command that is about to be run.
pub(super) struct Tool {
    command: Command,
    program: OsString,
    /// As messages show it.
    shown: String,
    missing: String,
}

/// What a tool wrote.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Standard output alone.
    pub(super) stdout: String,
    /// Standard error, and standard output too unless that is for a program to read.
    pub(super) shown: String,
}

impl Tool {
    pub(super) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        let name = Path::new(program).file_name().unwrap_or(program);
        Self {
            command,
            program: program.to_owned(),
            shown: name.to_string_lossy().into_owned(),
            missing: String::new(),
        }
    }

    /// What to do where there is no such program.
    pub(super) fn or_say(mut self, missing: &str) -> Self {
        missing.clone_into(&mut self.missing);
        self
    }

    pub(super) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        for arg in args {
            self.command.arg(arg);
        }
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// How messages name the whole command.
    pub(super) fn called(mut self, shown: &str) -> Self {
        shown.clone_into(&mut self.shown);
        self
    }

    /// Whether it can be run and succeeds; what it says is of no interest.
    pub(super) fn works(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        self.command.status().is_ok_and(|status| status.success())
    }

    /// What it says to standard output if it succeeds.
    pub(super) fn answer(mut self) -> Option<String> {
        let output = self.command.stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }

    /// Runs it to its end. `stdout_is_data` keeps standard output from being shown.
    pub(super) fn run(
        mut self,
        stdout_is_data: bool,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Said, BuildError> {
        let cannot = |error: &dyn std::fmt::Display| {
            BuildError::Tool(format!("{} cannot be run: {error}", self.program.display()))
        };
        let started = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound && !self.missing.is_empty() => {
                return Err(BuildError::Tool(self.missing));
            }
            Err(error) => return Err(cannot(&error)),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut said = Said::default();
        std::thread::scope(|scope| {
            let (sender, lines) = crossbeam_channel::unbounded();
            let to = sender.clone();
            scope.spawn(move || forward(stdout, false, &to));
            scope.spawn(move || forward(stderr, true, &sender));
            for (is_error, line) in lines {
                if !is_error {
                    keep(&mut said.stdout, &line);
                }
                if is_error || !stdout_is_data {
                    tell(Progress::Line(line.trim_end()));
                    keep(&mut said.shown, &line);
                }
            }
        });
        let status = child.wait().map_err(|error| cannot(&error))?;
        if status.success() {
            return Ok(said);
        }
        Err(BuildError::Failed {
            command: self.shown,
            status: status.to_string(),
            output: said.shown,
        })
    }
}

fn forward(from: Option<impl Read>, is_error: bool, to: &Sender<(bool, String)>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // The receiver lives until both ends are closed.
        let _ = to.send((is_error, String::from_utf8_lossy(&line).into_owned()));
        line.clear();
    }
}

fn keep(text: &mut String, line: &str) {
    text.push_str(line);
    if text.len() > 2 * OUTPUT_BYTES_MAX {
        let from = text.len() - OUTPUT_BYTES_MAX;
        let from = (from..text.len()).find(|at| text.is_char_boundary(*at));
        text.drain(..from.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_heard_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |script: &str, stdout_is_data| {
            let mut lines = Vec::new();
            let said = Tool::new("sh", folder.path())
                .args(["-c", script])
                .called("sh script")
                .run(stdout_is_data, &mut |progress| match progress {
                    Progress::Line(line) => lines.push(line.to_owned()),
                    Progress::Step(_) => {}
                });
            (said, lines)
        };
        let (said, lines) = run("echo data; echo warning >&2", true);
        let said = said.expect("it ran");
        assert_eq!(
            (said.stdout.as_str(), said.shown.as_str()),
            ("data\n", "warning\n")
        );
        assert_eq!(lines, ["warning"]);
        let error = run("echo broken; exit 3", false).0.expect_err("it failed");
        assert_eq!(error.to_string(), "broken\n\nsh script failed (exit status: 3)");
    }

    #[test]
    fn a_tool_that_is_not_there_is_told_how_to_get() {
        let folder = tempfile::tempdir().expect("a folder");
        let tool = || Tool::new("lamphouse-no-such-tool", folder.path());
        assert!(!tool().works());
        assert_eq!(tool().answer(), None);
        let error = tool().or_say("get it by: magic").run(false, &mut |_| {});
        assert_eq!(error.expect_err("missing").to_string(), "get it by: magic");
    }
}
