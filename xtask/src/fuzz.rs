//! `cargo xtask fuzz`: the targets of `tests/fuzz`, compiled with counters, each for a bounded time.
//!
//! The counters are LLVM's, by flags of the stable compiler, on the crates that are fuzzed and on no other: what the
//! ordinary build has compiled of their dependencies serves here too, and its own artefacts stay as they are (cargo keeps
//! those of a workspace wrapper apart).

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use xtask::paths;

const TARGETS: [&str; 4] = ["packed", "import-line", "descriptor", "fields"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// packed, import-line, descriptor or fields; all of them where none is named
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long, for each target
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The same seed tries the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Make the kept corpora of tests/fuzz/corpus anew, of what this run finds worth keeping
    #[arg(long)]
    keep: bool,
}

/// Runs the targets; false when one found something.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let wrapper = paths::root().join("tests/fuzz/instrumented-rustc.sh");
    let folder = paths::target_dir().join("fuzz");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // No `--package`: one set of features for the whole workspace, so that nothing compiles twice.
    let built = Command::new(paths::cargo())
        .args(["build", "--bin", "lamphouse-fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        .current_dir(paths::root())
        .status()
        .context("cannot run cargo")?;
    if !built.success() {
        bail!("the targets do not build; see above");
    }
    // Out of the way of an ordinary build, which has the same name for its own.
    let program = folder.join("lamphouse-fuzz");
    std::fs::rename(paths::profile_dir().join("lamphouse-fuzz"), &program)
        .with_context(|| format!("cannot move the program to {}", program.display()))?;
    let mut good = true;
    for target in TARGETS {
        if arguments.targets.is_empty() || arguments.targets.iter().any(|wanted| wanted == target) {
            good &= fuzz(&program, &folder, target, arguments)?;
        }
    }
    Ok(good)
}

fn fuzz(program: &Path, folder: &Path, target: &str, arguments: &Arguments) -> Result<bool> {
    let scratch = folder.join(format!("{target}.trying"));
    let mut command = Command::new(program);
    command
        .args([
            target,
            &arguments.seconds.to_string(),
            &arguments.seed.to_string(),
        ])
        .arg(&scratch)
        .args(arguments.keep.then_some("--keep"));
    let status = command.status().context("cannot run the program")?;
    if status.success() {
        return Ok(true);
    }
    let input = tried(&scratch).unwrap_or_default();
    let file = folder.join(format!("{target}.found"));
    std::fs::write(&file, &input).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!(
        "{target}: {} on {} bytes, which are in {}. Make a test of them beside the code that is wrong, mend it, and put \
         them into tests/fuzz/corpus/{target}",
        ended(status),
        input.len(),
        file.display()
    );
    Ok(false)
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(1) => "something does not hold".to_owned(),
        _ => format!("the process ended ({status})"),
    }
}

/// The input that was being tried: its length in 4 bytes, then itself.
fn tried(scratch: &Path) -> Option<Vec<u8>> {
    let record = std::fs::read(scratch).ok()?;
    let (length, rest) = record.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.get(..length).map(<[u8]>::to_vec)
}
