//! The example plugins in other languages, and the tools to build more of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;

use xtask::languages::{Language, build_plugins};

/// Held while plugins are built: scenarios run side by side, and a project has one build folder.
static BUILDING: Mutex<()> = Mutex::new(());

/// What commands need in their environment to build plugins in this language; None, with a loud line, where its tools
/// are missing.
///
/// # Panics
/// When they are missing although nothing may be skipped.
pub fn environment(language: Language) -> Option<Vec<(&'static str, OsString)>> {
    let _building = BUILDING.lock();
    match language.environment() {
        Ok(environment) => Some(environment),
        Err(why) => {
            assert!(!crate::strict(), "nothing may be skipped, and {why:#}");
            println!("SKIPPED ({why:#}): {}", language.name());
            None
        }
    }
}

/// The file of the plugin `NAME-LANGUAGE` in `plugins/`, built where its sources are newer; None, with a loud line, where
/// the language's tools are missing.
///
/// # Panics
/// When it does not build, or there is no such plugin.
pub fn plugin(name: &str, language: Language) -> Option<PathBuf> {
    environment(language)?;
    let _building = BUILDING.lock();
    let files = build_plugins(language).unwrap_or_else(|error| panic!("{error:#}"));
    let wanted = format!("{name}-{}", language.word());
    let file = files.into_iter().find(|file| {
        file.file_stem()
            .is_some_and(|stem| stem.to_string_lossy() == wanted)
    });
    Some(file.unwrap_or_else(|| panic!("there is no plugins/{wanted}")))
}

/// The projector that knows the contract alone (`tests/guests/bare-c`), built; None, with a loud line, where there is no C
/// compiler for Wasm.
///
/// # Panics
/// When it does not build.
pub fn build_bare() -> Option<Vec<u8>> {
    environment(Language::C)?;
    let compiler = xtask::languages::wasm_cc().unwrap_or_else(|error| panic!("{error:#}"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bare-c.wasm");
    let mut command = std::process::Command::new(&compiler[0]);
    command
        .args(&compiler[1..])
        .args(["-mexec-model=reactor", "-O2", "-o"])
        .arg(&file)
        .args(["guest.c", "generated/projector_plugin.c"])
        .current_dir(xtask::paths::root().join("tests/guests/bare-c"));
    xtask::languages::run(&mut command).unwrap_or_else(|error| panic!("{error:#}"));
    Some(std::fs::read(file).expect("the plugin's bytes"))
}

/// A plugin of `tests/guests/restless`.
pub struct Restless {
    /// The file.
    pub bytes: Vec<u8>,
    /// The name of its source, as failures give it.
    pub source: &'static str,
    /// Parts of what its language says when it breaks.
    pub last_words: [&'static str; 2],
}

/// Makes a project by `lamphouse plugin new`, puts the restless source into it, and builds it; None, with a loud line,
/// where the language's tools are missing. No language is Rust.
///
/// # Panics
/// When it does not build.
pub fn build_restless(language: Option<Language>) -> Option<Restless> {
    let environment = match language {
        Some(language) => environment(language)?,
        None => xtask::guests::environment().unwrap_or_else(|error| panic!("{error:#}")),
    };
    let (word, from, to, last_words) = match language {
        None => (
            "rust",
            "lib.rs",
            "src/lib.rs",
            ["a reading that is gone", "lib.rs"],
        ),
        Some(Language::TypeScript) => (
            "typescript",
            "plugin.ts",
            "src/plugin.ts",
            ["cannot read property", "plugin.ts"],
        ),
        Some(Language::Python) => (
            "python",
            "plugin.py",
            "plugin.py",
            ["KeyError: 'gone'", "plugin.py"],
        ),
        Some(Language::Go) => (
            "go",
            "plugin.go",
            "plugin.go",
            ["assignment to entry in nil map", "plugin.go"],
        ),
        // A trap has no words but the machine's; functions have their names.
        Some(Language::C) => ("c", "plugin.c", "plugin.c", ["unreachable", "deeper"]),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("restless");
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(crate::project::host_binary())
            .args(["plugin"])
            .args(arguments)
            .current_dir(folder.path())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the lamphouse binary runs");
        assert!(
            output.status.success(),
            "lamphouse plugin {} failed:\n{}",
            arguments.join(" "),
            crate::project::said(&output)
        );
    };
    run(&["new", "restless", "--kind", "projector", "--lang", word]);
    let source = xtask::paths::root().join("tests/guests/restless").join(from);
    std::fs::copy(source, project.join(to)).expect("the source is copied");
    let _building = BUILDING.lock();
    run(&["build", "restless", "--output", "restless.wasm"]);
    Some(Restless {
        bytes: std::fs::read(folder.path().join("restless.wasm")).expect("the plugin's bytes"),
        source: from,
        last_words,
    })
}
