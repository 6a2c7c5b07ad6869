//! `bench-probe` (`benches/src/probe`) asked for something.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xtask::paths;

/// What it answers.
pub(super) fn ask(arguments: &[&str]) -> Result<Value> {
    answer("bench-probe", arguments)
}

/// Events and seconds that it answers, as thousand events a second.
pub(super) fn rate(arguments: &[&str]) -> Result<f64> {
    rate_of(&ask(arguments)?)
}

/// The same of any program that says `{"events": …, "seconds": …}`.
pub(super) fn rate_of(answer: &Value) -> Result<f64> {
    let number = |name: &str| {
        answer[name]
            .as_f64()
            .with_context(|| format!("the answer has no {name}: {answer}"))
    };
    Ok(number("events")? / number("seconds")? / 1_000.0)
}

/// Runs a program of the build and reads the JSON that it prints; null where it prints nothing.
pub(super) fn answer(program: &str, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(paths::profile_dir().join(program))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{program} gave no JSON"))
}
