//! The command line: a file per verb.
//!
//! *Invariants:* what a command gives goes to standard output, as text or with `--json` as JSON; messages, errors and
//! progress go to standard error. Exit code 0 is done, 1 failed, 2 a wrong command line. What came from events, plugins
//! or tables is shown with its control characters escaped.
//!
//! A verb is a struct of arguments with a `run`. `session` opens what a verb needs: log, tables, or a host, which is
//! the running one where there is one and else lives in this process. `place` is that, or a host that a person named by
//! `--url`; commands that need the project's own files and databases refuse it.

mod append;
mod args;
mod catalog;
mod catch_up;
mod dead_letters;
mod diff;
mod events;
mod explain;
mod export;
mod import;
mod init;
mod interrupt;
mod operate;
mod output;
mod place;
mod plugin_build;
mod plugin_check;
mod plugin_host;
mod plugin_new;
mod plugin_test;
mod profile;
mod progress;
mod projection_show;
mod query;
mod rehearse;
mod serve;
mod session;
mod state;
mod status;
mod stream;
mod table;
mod today;
mod token;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::log::ImportEvent;
use args::Cli;
use output::{Output, ReaderGone};

/// A command line that clap takes but that cannot be meant; exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Reads one line of an import file, without its line break, as `import` does. `number` is the line's, from 1.
///
/// # Errors
/// Where in the line it is wrong, and why.
pub fn read_import_line(line: &[u8], number: u64) -> Result<ImportEvent, String> {
    import::parse_line(line, number)
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.globals.json;
    let mut out = Output::new(json);
    let result = cli.run(&mut out).and_then(|()| out.flush());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            // What was given before the error stays given.
            let _ = out.flush();
            let message = format!("{error:#}");
            if json {
                progress::say(&serde_json::json!({ "error": { "message": message } }).to_string());
            } else {
                progress::say(&format!("error: {}", table::plain_lines(&message)));
            }
            if error.is::<UsageError>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
