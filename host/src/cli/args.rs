//! The whole command line as clap sees it.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use super::output::Output;
use super::place::{Place, here_only, project};
use super::session::Session;
use super::{
    append, catalog, catch_up, dead_letters, diff, events, explain, export, import, init, operate,
    plugin_build, plugin_check, plugin_host, plugin_new, plugin_test, projection_show, query, rehearse,
    serve, state, status, stream, token,
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

status, projection, the verbs on projections, diff, dead-letters, explain, append, events, stream and plugin push also work on a
host elsewhere, by --url and a token.

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
    /// Ask a host elsewhere, https://HOST:PORT, in place of a project folder [default: LAMPHOUSE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "A host elsewhere")]
    pub(super) url: Option<String>,
    /// Its token; others of this machine can see it in the list of processes: better LAMPHOUSE_TOKEN or --token-file
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        help_heading = "A host elsewhere",
        conflicts_with = "token_file"
    )]
    pub(super) token: Option<String>,
    /// A file that holds its token [default: LAMPHOUSE_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "A host elsewhere")]
    pub(super) token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust in place of the platform's [default: LAMPHOUSE_CA]
    #[arg(long, global = true, value_name = "FILE", help_heading = "A host elsewhere")]
    pub(super) ca: Option<PathBuf>,
    /// Send the token over plain http beyond loopback, for everybody on the way to read
    #[arg(long, global = true, help_heading = "A host elsewhere")]
    pub(super) insecure_http: bool,
    /// Give JSON: one document, or JSON Lines for query, events, stream, diff and export
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
    Catalog(catalog::Catalog),
    State(state::State),
    Status(status::Status),
    Projection(ProjectionArgs),
    Rebuild(operate::Rebuild),
    Pause(operate::Pause),
    Resume(operate::Resume),
    Cutover(operate::Cutover),
    Rollback(operate::Rollback),
    Diff(diff::Diff),
    DeadLetters(dead_letters::DeadLetters),
    Explain(explain::Explain),
    Rehearse(rehearse::Rehearse),
    Query(query::Query),
    Plugin(PluginArgs),
    Token(token::TokenArgs),
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

/// Make, build, test and check plugins, and deploy them to a running host
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
    Push(plugin_host::Push),
    List(plugin_host::List),
    Remove(plugin_host::Remove),
}

/// Of the project of a host.
const OPENED: &str = "invariant: opened before there was anything to log";

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
        // Only a host has anything to trace.
        let hosting = match &command {
            // Whoever starts a host may have another one in the environment.
            Command::Serve(_) | Command::Dev(_) => {
                here_only(&globals, "serve")?;
                Some(Session::open(&globals)?)
            }
            _ => None,
        };
        let traces = hosting
            .as_ref()
            .and_then(|session| session.config.telemetry.traces());
        telemetry::setup(globals.log_format, level, traces.as_ref()).map_err(anyhow::Error::msg)?;
        let here = |name: &str| project(&globals, name);
        let place = || Place::open(&globals);
        let result = match command {
            Command::Init(init) => {
                here_only(&globals, "init")?;
                init.run(&globals, out)
            }
            Command::Plugin(PluginArgs { command }) => command.run(&globals, out),
            Command::Serve(serve) => serve.run(&hosting.expect(OPENED), out),
            Command::Dev(dev) => dev.run(&hosting.expect(OPENED), out),
            Command::CatchUp(catch_up) => catch_up.run(&here("catch-up")?, out),
            Command::Append(append) => append.run(&place()?, out),
            Command::Import(import) => import.run(&here("import")?, out),
            Command::Export(export) => export.run(&here("export")?, out),
            Command::Events(events) => events.run(&place()?, out),
            Command::Stream(stream) => stream.run(&place()?, out),
            Command::Catalog(catalog) => catalog.run(&place()?, out),
            Command::State(state) => state.run(&place()?, out),
            Command::Status(status) => status.run(&place()?, out),
            Command::Projection(ProjectionArgs {
                command: ProjectionCommand::Show(show),
            }) => show.run(&place()?, out),
            Command::Rebuild(rebuild) => rebuild.run(&place()?, out),
            Command::Pause(pause) => pause.run(&place()?, out),
            Command::Resume(resume) => resume.run(&place()?, out),
            Command::Cutover(cutover) => cutover.run(&place()?, out),
            Command::Rollback(rollback) => rollback.run(&place()?, out),
            Command::Diff(diff) => diff.run(&place()?, out),
            Command::DeadLetters(letters) => letters.run(&place()?, out),
            Command::Explain(explain) => explain.run(&place()?, out),
            Command::Rehearse(rehearse) => rehearse.run(&here("rehearse")?, out),
            Command::Query(query) => query.run(&here("query")?, out),
            Command::Token(token) => token.run(&here("token")?, out),
        };
        telemetry::traces::finish();
        result
    }
}

impl PluginCommand {
    fn run(self, globals: &Globals, out: &mut Output) -> Result<()> {
        match self {
            Self::New(new) => {
                here_only(globals, "plugin new")?;
                new.run(out)
            }
            Self::Build(build) => {
                here_only(globals, "plugin build")?;
                build.run(out)
            }
            Self::Test(test) => {
                here_only(globals, "plugin test")?;
                test.run(globals, out)
            }
            Self::Check(check) => {
                here_only(globals, "plugin check")?;
                check.run(globals, out)
            }
            Self::Push(push) => push.run(&Place::open(globals)?, out),
            Self::List(list) => list.run(&Place::open(globals)?, out),
            Self::Remove(remove) => remove.run(&Place::open(globals)?, out),
        }
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
