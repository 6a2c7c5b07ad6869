//! Rust: cargo, for a target without an operating system.

use std::path::{Path, PathBuf};

use super::{BuildError, Progress, Project, Raw};

const TARGET: &str = "wasm32-unknown-unknown";
const NO_CARGO: &str = "Rust is not installed (`cargo` is not on the PATH). Install it with rustup, as \
    https://rustup.rs says: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";

pub(super) fn build(project: &Project, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Raw, BuildError> {
    tell(Progress::Step("compiling (cargo build)"));
    let cargo = project.tool("cargo").or_say(NO_CARGO);
    let built = cargo
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format=json-render-diagnostics"])
        .called(&format!("cargo build --release --target {TARGET}"))
        .run(true, tell);
    let said = built.map_err(no_target)?;
    let file = artifact(&said.stdout, &project.folder).ok_or_else(|| {
        BuildError::NoProject(format!(
            "cargo built {} and made no .wasm file of it: its Cargo.toml needs [lib] with crate-type = [\"cdylib\", \
             \"rlib\"]",
            project.folder.display()
        ))
    })?;
    Ok(Raw {
        file,
        warnings: warnings(&said.shown),
    })
}

/// What is behind the compiler's first words where the target is not there.
fn no_target(error: BuildError) -> BuildError {
    match &error {
        BuildError::Failed { output, .. }
            if output.contains(&format!("the `{TARGET}` target may not be installed"))
                || (output.contains("error[E0463]") && output.contains(TARGET)) =>
        {
            BuildError::Tool(format!(
                "Rust has no standard library for WebAssembly here. Add it: rustup target add {TARGET}"
            ))
        }
        _ => error,
    }
}

/// The file of the project's own library, else the last one that there is.
fn artifact(messages: &str, folder: &Path) -> Option<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    let mut found = None;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    for message in messages.filter(|message| message["reason"] == "compiler-artifact") {
        let names = message["filenames"].as_array().into_iter().flatten();
        let mut names = names.filter_map(|name| name.as_str().map(PathBuf::from));
        let file = names.find(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        if let Some(file) = file {
            let own = message["manifest_path"].as_str().map(Path::new) == Some(&manifest);
            if own {
                return Some(file);
            }
            found = Some(file);
        }
    }
    found
}

/// What cargo said besides what it was doing.
fn warnings(said: &str) -> String {
    // Its own lines begin with a verb that ends in the twelfth column: `   Compiling serde v1.0`.
    let is_doing = |line: &&str| {
        let (Some(verb), Some(rest)) = (line.get(..12), line.get(12..)) else {
            return false;
        };
        let verb = verb.trim_start();
        rest.starts_with(' ')
            && verb.starts_with(|c: char| c.is_ascii_uppercase())
            && verb.chars().all(|c| c.is_ascii_alphabetic())
    };
    let lines: Vec<&str> = said.lines().filter(|line| !is_doing(line)).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_file_is_taken() {
        let messages = r#"{"reason":"compiler-artifact","manifest_path":"/p/dep/Cargo.toml","filenames":["/t/dep.wasm"]}
not json
{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","filenames":["/t/own.rlib","/t/own.wasm"]}
{"reason":"build-finished","success":true}"#;
        let of = |folder: &str| artifact(messages, Path::new(folder));
        assert_eq!(of("/p"), Some("/t/own.wasm".into()));
        assert_eq!(of("/p/dep"), Some("/t/dep.wasm".into()));
        assert_eq!(of("/q"), Some("/t/own.wasm".into()));
        assert_eq!(artifact("", Path::new("/p")), None);
    }

    #[test]
    fn warnings_are_what_is_left_of_cargos_words() {
        let said = "   Compiling serde v1.0.0\nwarning: unused variable: `x`\n --> src/lib.rs:3:9\n  |\n3 |     let x = 1;\n\n    Finished `release` profile\n";
        assert_eq!(
            warnings(said),
            "warning: unused variable: `x`\n --> src/lib.rs:3:9\n  |\n3 |     let x = 1;"
        );
        assert_eq!(warnings("    Finished `release` profile in 3 s\n"), "");
    }

    #[test]
    fn a_missing_target_is_told_how_to_get() {
        let failed = |output: &str| BuildError::Failed {
            command: "cargo".into(),
            status: "1".into(),
            output: output.into(),
        };
        let missing = "error[E0463]: can't find crate for `core`\n  = note: the `wasm32-unknown-unknown` target may not be installed";
        assert!(
            matches!(no_target(failed(missing)), BuildError::Tool(text) if text.contains("rustup target add"))
        );
        assert!(matches!(
            no_target(failed("error[E0308]")),
            BuildError::Failed { .. }
        ));
    }
}
