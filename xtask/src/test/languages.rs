//! The SDKs of other languages and the example plugins in them: each language's own formatter, checks and tests.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use xtask::languages::{self, Language};
use xtask::paths;

use super::outcome::Outcome;

/// How the tests of a command's output are counted.
#[derive(Clone, Copy)]
enum Counts {
    /// It has none: a formatter, a check.
    None,
    /// `# pass 12` and `# fail 0`, of Node's own runner.
    Node,
    /// `12 passed, 1 failed in 0.3s`.
    Pytest,
    /// Events of `go test -json`.
    Go,
    /// One program, which fails or not.
    Program,
}

/// Runs everything of the languages whose tools are here; says which are not (in CI, that is an error).
pub(super) fn run(in_ci: bool, outcome: &mut Outcome) -> Result<()> {
    for language in Language::ALL {
        match language.environment() {
            Ok(_) => {}
            Err(why) if in_ci => return Err(why.context("in CI no language is skipped")),
            Err(why) => {
                outcome.note(&format!("{} is not tested here: {why:#}", language.name()));
                continue;
            }
        }
        println!("\n{}: SDK and plugins", language.name());
        let sdk = language.sdk();
        match language {
            Language::TypeScript => typescript(&sdk, outcome)?,
            Language::Python => python(&sdk, outcome)?,
            Language::Go => go(&sdk, outcome)?,
            Language::C => make(&sdk, outcome)?,
        }
    }
    Ok(())
}

fn typescript(sdk: &Path, outcome: &mut Outcome) -> Result<()> {
    let projects = std::iter::once(sdk.to_owned()).chain(Language::TypeScript.plugins()?);
    for project in projects {
        languages::install_packages(&project)?;
        for (script, counts) in [("check", Counts::None), ("test", Counts::Node)] {
            let mut npm = Command::new("npm");
            npm.args(["run", "--silent", script]).current_dir(&project);
            step(&mut npm, &project, counts, outcome)?;
        }
    }
    Ok(())
}

fn python(sdk: &Path, outcome: &mut Outcome) -> Result<()> {
    let python = languages::python_tools()?;
    let projects = std::iter::once(sdk.to_owned()).chain(Language::Python.plugins()?);
    for project in projects {
        let form = sdk.join("pyproject.toml").display().to_string();
        let mut steps: Vec<(Vec<&str>, Counts)> = vec![
            (
                vec!["ruff", "format", "--check", "--config", &form, "."],
                Counts::None,
            ),
            (vec!["mypy", "."], Counts::None),
            (vec!["pytest", "-q"], Counts::Pytest),
        ];
        if project == sdk {
            steps.push((vec!["ruff", "check", "."], Counts::None));
        }
        for (arguments, counts) in steps {
            let mut command = Command::new(&python);
            command
                .arg("-m")
                .args(arguments)
                .env("PYTHONPATH", sdk)
                .env("MYPYPATH", sdk)
                .current_dir(&project);
            step(&mut command, &project, counts, outcome)?;
        }
    }
    Ok(())
}

fn go(sdk: &Path, outcome: &mut Outcome) -> Result<()> {
    let projects = std::iter::once(sdk.to_owned()).chain(Language::Go.plugins()?);
    for project in projects {
        let mut format = Command::new("sh");
        format
            .args(["-c", "test -z \"$(gofmt -l . | tee /dev/stderr)\""])
            .current_dir(&project);
        step(&mut format, &project, Counts::None, outcome)?;
        for (arguments, counts) in [
            (vec!["vet", "./..."], Counts::None),
            (vec!["test", "-json", "./..."], Counts::Go),
        ] {
            let mut go = Command::new("go");
            go.args(arguments).current_dir(&project);
            step(&mut go, &project, counts, outcome)?;
        }
    }
    Ok(())
}

fn make(sdk: &Path, outcome: &mut Outcome) -> Result<()> {
    let projects = std::iter::once(sdk.to_owned()).chain(Language::C.plugins()?);
    for project in projects {
        let mut make = Command::new("make");
        make.args(["--silent", "test"]).current_dir(&project);
        step(&mut make, &project, Counts::Program, outcome)?;
    }
    Ok(())
}

/// Runs one command; shows what it said only if it failed.
fn step(command: &mut Command, project: &Path, counts: Counts, outcome: &mut Outcome) -> Result<()> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (passed, failed) = counts.of(&text, output.status.success());
    let place = project.strip_prefix(paths::root()).unwrap_or(project);
    if !output.status.success() {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    let tests = match counts {
        Counts::None => "",
        _ => &format!("{passed} passed, {failed} failed"),
    };
    let word = if output.status.success() { "ok" } else { "FAILED" };
    println!("{word:<6} {} in {} {tests}", shown, place.display());
    // A run without a test has not shown anything.
    let ran_none = !matches!(counts, Counts::None) && passed + failed == 0;
    outcome.add(passed, failed);
    outcome.end_of_run(output.status.success() && !ran_none);
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .collect();
    format!("{name} {}", arguments.join(" "))
}

impl Counts {
    /// How many tests passed and failed.
    fn of(self, output: &str, success: bool) -> (u64, u64) {
        let number_behind = |word: &str| -> u64 {
            let lines = output.lines().rev();
            let found = lines.filter_map(|line| {
                let line = line.trim_start_matches(['#', 'ℹ', ' ']);
                line.strip_prefix(word)?.trim().parse::<u64>().ok()
            });
            found.take(1).sum()
        };
        let number_before = |word: &str| -> u64 {
            let lines = output.lines().rev();
            let found = lines.filter_map(|line| {
                let before = line
                    .split(word)
                    .next()
                    .filter(|before| before.len() < line.len())?;
                before.split_whitespace().next_back()?.parse::<u64>().ok()
            });
            found.take(1).sum()
        };
        match self {
            Self::None => (0, 0),
            Self::Node => (number_behind("pass "), number_behind("fail ")),
            Self::Program => (u64::from(success), u64::from(!success)),
            Self::Pytest => (number_before(" passed"), number_before(" failed")),
            Self::Go => {
                let events = output
                    .lines()
                    .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
                events.fold((0, 0), |(passed, failed), event| {
                    match (&event["Test"], event["Action"].as_str()) {
                        (serde_json::Value::String(_), Some("pass")) => (passed + 1, failed),
                        (serde_json::Value::String(_), Some("fail")) => (passed, failed + 1),
                        _ => (passed, failed),
                    }
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runner_is_counted_by_its_own_words() {
        assert_eq!(
            Counts::Node.of("✔ one\nℹ tests 3\nℹ pass 2\nℹ fail 1\nℹ skipped 0", true),
            (2, 1)
        );
        assert_eq!(
            Counts::Node.of("ok 1 - pass 7\n# pass 12\n# fail 0", true),
            (12, 0)
        );
        assert_eq!(
            Counts::Pytest.of("..F\n1 failed, 2 passed in 0.12s\n", true),
            (2, 1)
        );
        assert_eq!(Counts::Pytest.of("40 passed in 0.12s\n", true), (40, 0));
        assert_eq!(Counts::Program.of("all tests passed\n", true), (1, 0));
        assert_eq!(Counts::Program.of("", false), (0, 1));
        let go = r#"{"Action":"pass","Test":"TestOne"}
{"Action":"fail","Test":"TestTwo"}
{"Action":"output","Test":"TestTwo","Output":"x"}
{"Action":"fail","Package":"lamphouse"}"#;
        assert_eq!(Counts::Go.of(go, false), (1, 1));
        assert_eq!(Counts::None.of("9 passed", true), (0, 0));
    }
}
