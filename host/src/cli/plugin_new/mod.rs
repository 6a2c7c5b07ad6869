//! `lamphouse plugin new`: a plugin's project that builds and passes its test as it is.

mod embedded;
mod rust_workspace;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use lamphouse_contract::semantics;

use super::UsageError;
use super::output::Output;
use crate::deploy::build::Language;

/// Make a plugin project that builds and passes its tests as it is
///
/// Writes the plugin, a native test of it, cases for `plugin test`, and the SDK in the folder lamphouse/ of the project:
/// nothing else of Lamphouse has to be installed. Overwrites nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse plugin new orders --lang typescript
  lamphouse plugin new old-orders --kind upcaster --lang python --dir plugins-src/old-orders")]
pub(super) struct New {
    /// The plugin's name: lower-case letters, digits, '-' and '_'
    #[arg(value_name = "NAME")]
    name: String,
    /// What it does: a projector keeps tables from events, an upcaster lifts old events to newer schemas
    #[arg(long, value_enum, default_value_t = Kind::Projector, value_name = "KIND")]
    kind: Kind,
    /// What it is written in
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Language,
    /// The folder; made if it is not there [default: NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Projector,
    Upcaster,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Projector => "projector",
            Self::Upcaster => "upcaster",
        }
    }
}

impl New {
    pub(super) fn run(self, out: &mut Output) -> Result<()> {
        let Self {
            name,
            kind,
            lang,
            dir,
        } = self;
        let dir = dir.unwrap_or_else(|| PathBuf::from(&name));
        let written = project(&name, kind, lang)?;
        make(&dir, &written)?;
        let own: Vec<&str> = written
            .iter()
            .map(|(path, _)| path.as_str())
            .filter(|path| !path.starts_with("lamphouse/"))
            .collect();
        if out.json {
            return out.document(&serde_json::json!({
                "project": std::path::absolute(&dir)?,
                "language": lang,
                "kind": kind.key(),
                "made": own,
            }));
        }
        let article = match kind {
            Kind::Projector => "a",
            Kind::Upcaster => "an",
        };
        out.line(format!(
            "made {article} {} in {lang} in {}",
            kind.key(),
            dir.display()
        ))?;
        for path in &own {
            out.line(format!("  {path}"))?;
        }
        out.line("  lamphouse/   the SDK; not for editing")?;
        out.line("")?;
        out.line("Next:")?;
        out.line(format!("  cd {}", dir.display()))?;
        out.line("  lamphouse plugin build   make the plugin file; says which tools it needs")?;
        out.line("  lamphouse plugin test    run the cases in cases/ in the sandbox")?;
        out.line("and README.md for the native test, and how to deploy it.")
    }
}

/// Path and content of every file of a new project.
fn project(name: &str, kind: Kind, language: Language) -> Result<Vec<(String, Vec<u8>)>> {
    if let Some(problem) = semantics::plugin_name_error(name).or_else(|| reserved(name, language)) {
        return Err(UsageError(problem).into());
    }
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{snake}}", &name.replace('-', "_"))
            .replace("{{pascal}}", &pascal(name))
    };
    let filled = |content: &[u8]| match std::str::from_utf8(content) {
        Ok(text) => fill(text).into_bytes(),
        Err(_) => content.to_vec(),
    };
    let mut files: Vec<(String, Vec<u8>)> = embedded::of(language.key(), kind.key())
        .map(|(path, content)| (fill(path), filled(content)))
        .collect();
    files.extend(
        embedded::of("", kind.key()).map(|(path, content)| (fill(&format!("cases/{path}")), filled(content))),
    );
    files.extend(
        embedded::of(language.key(), "sdk")
            .map(|(path, content)| (format!("lamphouse/{path}"), content.to_vec())),
    );
    if language == Language::Rust {
        let manifest = rust_workspace::manifest();
        files.push(("lamphouse/Cargo.toml".to_owned(), manifest.into_bytes()));
    }
    files.sort();
    Ok(files)
}

/// Why a name will not do in a language whose modules have the plugin's name.
fn reserved(name: &str, language: Language) -> Option<String> {
    const CRATES: [&str; 12] = [
        "alloc",
        "core",
        "proc_macro",
        "serde",
        "serde_json",
        "std",
        "test",
        "build",
        "deps",
        "examples",
        "incremental",
        "wit_bindgen",
    ];
    const WORDS: [&str; 42] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
        "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
        "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static",
        "struct", "trait", "true", "type", "use", "where",
    ];
    let snake = name.replace('-', "_");
    let is_taken = CRATES.contains(&&*snake) || WORDS.contains(&&*snake);
    (language == Language::Rust && is_taken).then(|| {
        format!("a Rust library cannot be called '{name}'; choose another name, such as '{name}-rows'")
    })
}

/// `order-summary` as `OrderSummary`.
fn pascal(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    words
        .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
        .collect()
}

/// Writes all files or none: beside the folder first, then in its place.
fn make(dir: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let absolute = std::path::absolute(dir)?;
    let is_free = match fs::read_dir(&absolute) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !absolute.exists(),
    };
    if !is_free {
        bail!("{} is there already; nothing was changed", dir.display());
    }
    let parent = absolute
        .parent()
        .with_context(|| format!("{} cannot be a project's folder", dir.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("the folder {} cannot be made", parent.display()))?;
    let name = absolute.file_name().unwrap_or_default().to_string_lossy();
    let half = parent.join(format!(".{name}.new-{}", std::process::id()));
    let written = write_all(&half, files).and_then(|()| {
        fs::rename(&half, &absolute).with_context(|| format!("the folder {} cannot be made", dir.display()))
    });
    if written.is_err() {
        // What is left of it is hidden, and said with the error.
        let _ = fs::remove_dir_all(&half);
    }
    written
}

fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (path, content) in files {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("the folder {} cannot be made", parent.display()))?;
        }
        fs::write(&file, content).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_as_each_language_writes_them() {
        assert_eq!(pascal("order-summary"), "OrderSummary");
        assert_eq!(pascal("a_2-x"), "A2X");
        for (name, said) in [
            ("Orders", "lower-case"),
            ("lamphouse-x", "reserved"),
            ("match", "Rust library"),
        ] {
            let error = project(name, Kind::Projector, Language::Rust).expect_err("refused");
            assert!(
                error.is::<UsageError>() && error.to_string().contains(said),
                "{error}"
            );
        }
    }

    #[test]
    fn every_language_has_what_a_project_needs() {
        for language in Language::ALL {
            for kind in [Kind::Projector, Kind::Upcaster] {
                let files = project("shop-orders", kind, language).expect("files");
                let has = |name: &str| files.iter().any(|(path, _)| path == name);
                for name in ["README.md", ".gitignore"] {
                    assert!(has(name), "{language}: {name}");
                }
                assert!(files.iter().any(|(path, _)| path.starts_with("cases/")));
                assert!(files.iter().any(|(path, _)| path.starts_with("lamphouse/")));
                let open = files.iter().find(|(path, content)| {
                    let is_open = |text: &str| {
                        ["{{name}}", "{{snake}}", "{{pascal}}"]
                            .iter()
                            .any(|slot| text.contains(slot))
                    };
                    is_open(path) || is_open(&String::from_utf8_lossy(content))
                });
                assert_eq!(
                    open.map(|(path, _)| path),
                    None,
                    "{language}: a slot was not filled"
                );
                let folder = tempfile::tempdir().expect("a folder");
                let dir = folder.path().join("deep/shop-orders");
                make(&dir, &files).expect("made");
                let found = crate::deploy::build::Project::at(&dir).expect("a project");
                assert_eq!(found.language, language);
            }
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_left_half_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("p");
        let files = [("a/b.txt".to_owned(), b"x".to_vec())];
        fs::create_dir(&dir).expect("made");
        make(&dir, &files).expect("an empty folder will do");
        let error = make(&dir, &files).expect_err("refused").to_string();
        assert!(error.contains("is there already"), "{error}");
        let clash = [("a".to_owned(), b"x".to_vec()), ("a/b".to_owned(), b"x".to_vec())];
        make(&folder.path().join("q"), &clash).expect_err("a file is no folder");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().collect();
        assert_eq!(left.len(), 1);
    }
}
