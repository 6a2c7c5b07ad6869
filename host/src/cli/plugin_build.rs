//! `lamphouse plugin build`: from sources to a plugin file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::output::Output;
use super::progress::{Spinner, say};
use super::table::plain_lines;
use super::units;
use crate::deploy::build::{BuildError, Built, Fingerprint, Language, Progress, Project};

/// Build a plugin from its sources
///
/// Finds the language by the project's files (Cargo.toml, package.json, pyproject.toml, go.mod or plugin.c), runs its
/// tools, and leaves build/NAME.wasm, where NAME is the folder's. Says what to install where a tool is missing; installs
/// a project's own packages itself, below the project (node_modules, .venv).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse plugin build
  lamphouse plugin build order-summary -o shop/plugins/order-summary.wasm

What is run:
  Rust        cargo build --release --target wasm32-unknown-unknown
  TypeScript  npm install where it is due, then the build of the package lamphouse
  Python      python3 -m venv and pip install where they are due, then python -m lamphouse.build
  Go          go build -buildmode=c-shared for wasip1
  C           the first of: $CC_WASM, $WASI_SDK_PATH/bin/clang, clang, zig cc, python3 -m ziglang cc")]
pub(super) struct Build {
    /// The folder of the plugin's sources
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Put the plugin file there
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: &'a Path,
    language: Language,
    kind: &'a str,
    bytes: u64,
    changed: bool,
    warnings: &'a str,
    time_ms: u64,
}

impl Build {
    pub(super) fn run(self, out: &mut Output) -> Result<()> {
        let project = Project::at(&self.dir)?;
        let to = self.output.as_deref().map(std::path::absolute).transpose()?;
        let began = Instant::now();
        let built = build(&project, to.as_deref())?;
        let time_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if out.json {
            return out.document(&Report {
                file: &built.file,
                language: project.language,
                kind: built.kind,
                bytes: built.bytes,
                changed: built.changed,
                warnings: &built.warnings,
                time_ms,
            });
        }
        out.line(format!(
            "built {}: {} {} in {}, {}, in {}",
            shown(&built.file),
            if built.kind == "upcaster" { "an" } else { "a" },
            built.kind,
            project.language,
            units::bytes(built.bytes),
            units::duration(time_ms)
        ))
    }
}

/// Builds a project, showing how it goes on standard error. The tools' own words come with the error.
pub(super) fn build(project: &Project, to: Option<&Path>) -> Result<Built, BuildError> {
    let mut spinner = Spinner::new(&project.name);
    let sources = Fingerprint::of(&project.folder);
    let built = project.build(to, &mut |progress| match progress {
        Progress::Step(step) => spinner.step(step),
        Progress::Line(line) => spinner.line(line),
    });
    drop(spinner);
    let built = built?;
    if to.is_none() {
        sources.keep(&inputs(project));
    }
    if !built.warnings.is_empty() {
        say(&plain_lines(&built.warnings));
    }
    Ok(built)
}

/// The project's plugin file, built first unless it is of these very sources.
pub(super) fn up_to_date(project: &Project) -> Result<PathBuf, BuildError> {
    let file = project.file();
    let is_same = || Fingerprint::kept(&inputs(project)) == Some(Fingerprint::of(&project.folder));
    if !project.language.rebuilds_cheaply() && file.is_file() && is_same() {
        return Ok(file);
    }
    Ok(build(project, None)?.file)
}

/// Remembers the sources of what lies in `build/`.
fn inputs(project: &Project) -> PathBuf {
    project.folder.join("build").join(".inputs")
}

/// A path as a person in this folder would name it.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inside = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    inside.unwrap_or(path).display().to_string()
}
