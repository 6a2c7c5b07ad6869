//! The whole command line as clap sees it.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use super::output::Output;
use super::session::Session;
use super::{
    append, catch_up, dead_letters, events, explain, export, import, init, operate, plugin_build,
    plugin_check, plugin_new, plugin_test, projection_show, query, rehearse, serve, state, status, stream,
};
use crate::telemetry::{self, LogFormat};

/// Sandboxed projectors over an append-only event log, rebuilt and switched hot
#[derive(Debug, Parser)]
#[command(
    name = "lamphouse",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "A first look:
  lamphouse init shop && cd shop      make a project
  lamphouse import events.jsonl.zst   fill its log
  lamphouse plugin new --help         begin a plugin in Rust, TypeScript, Python, Go or C
  lamphouse serve                     run the plugins of plugins/ and keep their tables level
  lamphouse status                    see how they stand
  lamphouse query 'SELECT …'          read the tables

Exit codes: 0 done, 1 failed, 2 wrong usage. Colours only on a terminal, and not when NO_COLOR is set."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(super) struct Globals {
    /// Project folder, which holds lamphouse.toml [default: LAMPHOUSE_PROJECT, or the current folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) project: Option<PathBuf>,
    /// Give JSON: one document, or JSON Lines for query, events, stream and export
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log more to standard error; twice for still more. RUST_LOG says it in detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// How lines of the log look
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Serve(serve::Serve),
    Dev(serve::Dev),
    CatchUp(catch_up::CatchUp),
    Append(append::Append),
    Import(import::Import),
    Export(export::Export),
    Events(events::Events),
    Stream(stream::Stream),
    State(state::State),
    Status(status::Status),
    Projection(ProjectionArgs),
    Rebuild(operate::Rebuild),
    Pause(operate::Pause),
    Resume(operate::Resume),
    Cutover(operate::Cutover),
    Rollback(operate::Rollback),
    DeadLetters(dead_letters::DeadLetters),
    Explain(explain::Explain),
    Rehearse(rehearse::Rehearse),
    Query(query::Query),
    Plugin(PluginArgs),
}

/// Look at one projection
#[derive(Debug, Args)]
struct ProjectionArgs {
    #[command(subcommand)]
    command: ProjectionCommand,
}

#[derive(Debug, Subcommand)]
enum ProjectionCommand {
    Show(projection_show::Show),
}

/// Make, build, test and check plugins
#[derive(Debug, Args)]
struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    New(plugin_new::New),
    Build(plugin_build::Build),
    Test(plugin_test::Test),
    Check(plugin_check::Check),
}

impl Cli {
    pub(super) fn run(self, out: &mut Output) -> Result<()> {
        let Self { globals, command } = self;
        let runs_a_host = matches!(command, Command::Serve(_) | Command::Dev(_));
        let level = match (runs_a_host, globals.verbose) {
            // What takes long is said, also to who asked for nothing else.
            (false, 0) => "error,lamphouse::log::migrate=warn",
            (false, 1) => "lamphouse=info,warn",
            (true, 0) => "info,sqlx=warn",
            (_, 1) => "lamphouse=debug,info,sqlx=warn",
            (_, _) => "lamphouse=trace,debug",
        };
        let session = match &command {
            Command::Init(_) | Command::Plugin(_) => None,
            _ => Some(Session::open(&globals)?),
        };
        // Only a host has anything to trace.
        let traces = session
            .as_ref()
            .filter(|_| runs_a_host)
            .and_then(|session| session.config.telemetry.traces());
        telemetry::setup(globals.log_format, level, traces.as_ref()).map_err(anyhow::Error::msg)?;
        let command = match command {
            Command::Init(init) => return init.run(&globals, out),
            Command::Plugin(PluginArgs { command }) => {
                return match command {
                    PluginCommand::New(new) => new.run(out),
                    PluginCommand::Build(build) => build.run(out),
                    PluginCommand::Test(test) => test.run(&globals, out),
                    PluginCommand::Check(check) => check.run(&globals, out),
                };
            }
            command => command,
        };
        let session = session.expect("invariant: opened for every other command");
        let result = match command {
            Command::Init(_) | Command::Plugin(_) => {
                unreachable!("invariant: handled above, they need no project")
            }
            Command::Serve(serve) => serve.run(&session, out),
            Command::Dev(dev) => dev.run(&session, out),
            Command::CatchUp(catch_up) => catch_up.run(&session, out),
            Command::Append(append) => append.run(&session, out),
            Command::Import(import) => import.run(&session, out),
            Command::Export(export) => export.run(&session, out),
            Command::Events(events) => events.run(&session, out),
            Command::Stream(stream) => stream.run(&session, out),
            Command::State(state) => state.run(&session, out),
            Command::Status(status) => status.run(&session, out),
            Command::Projection(ProjectionArgs {
                command: ProjectionCommand::Show(show),
            }) => show.run(&session, out),
            Command::Rebuild(rebuild) => rebuild.run(&session, out),
            Command::Pause(pause) => pause.run(&session, out),
            Command::Resume(resume) => resume.run(&session, out),
            Command::Cutover(cutover) => cutover.run(&session, out),
            Command::Rollback(rollback) => rollback.run(&session, out),
            Command::DeadLetters(letters) => letters.run(&session, out),
            Command::Explain(explain) => explain.run(&session, out),
            Command::Rehearse(rehearse) => rehearse.run(&session, out),
            Command::Query(query) => query.run(&session, out),
        };
        telemetry::traces::finish();
        result
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(
                command.get_about().is_some(),
                "{} has no description",
                command.get_name()
            );
        }
    }
}
