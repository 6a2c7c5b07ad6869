//! From a plugin's sources to its file: `lamphouse plugin build`, and `dev` whenever sources change.
//!
//! *Invariants:* the language is told by the project's own manifest; the compilers are the author's, who is told which
//! one is missing and how to get it; everything that is made lies below `build/` or where the language's tools keep
//! their own (`target`, `node_modules`, `.venv`); a plugin file is replaced whole or not at all. Deliberately not here:
//! whether the plugin's rows are right.

mod c;
mod go;
mod packages;
mod python;
mod rust;
mod sources;
mod tool;
mod typescript;

use std::fmt;
use std::path::{Path, PathBuf};

pub use sources::{Fingerprint, concerns};

use tool::Tool;

use crate::plugin::{PluginError, component_of, is_upcaster};

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Language {
    /// `Cargo.toml`.
    Rust,
    /// `package.json` and `src/plugin.ts`.
    TypeScript,
    /// `pyproject.toml` and `plugin.py`.
    Python,
    /// `go.mod`.
    Go,
    /// `plugin.c`.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rust, Self::TypeScript, Self::Python, Self::Go, Self::C];

    /// Its name on the command line, and its folder below `sdk/`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// The files that a project of this language has.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["Cargo.toml"],
            Self::TypeScript => &["package.json", "src/plugin.ts"],
            Self::Python => &["pyproject.toml", "plugin.py"],
            Self::Go => &["go.mod"],
            Self::C => &["plugin.c"],
        }
    }

    /// Whether its own tools see quickly that nothing changed.
    pub fn rebuilds_cheaply(self) -> bool {
        matches!(self, Self::Rust | Self::Go | Self::C)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rust => "Rust",
            Self::TypeScript => "TypeScript",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::C => "C",
        })
    }
}

/// Why there is no plugin file. The text is for the plugin's author.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder holds no plugin project.
    #[error("{0}")]
    NoProject(String),
    /// A tool is missing; the text says how to get it.
    #[error("{0}")]
    Tool(String),
    /// A tool did not like the sources; the text begins with its own words.
    #[error("{}{command} failed ({status})", said(output))]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// All that it wrote.
        output: String,
    },
    /// Reading or writing.
    #[error("{0}")]
    File(String),
    /// What was built is no plugin.
    #[error("{}: {error}", file.display())]
    Plugin {
        /// What was built.
        file: PathBuf,
        /// What is wrong with it.
        error: PluginError,
    },
}

fn said(output: &str) -> String {
    match output.trim() {
        "" => String::new(),
        output => format!("{output}\n\n"),
    }
}

/// How a build goes, for who waits for it.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A step began: `installing packages (npm install)`.
    Step(&'a str),
    /// A tool wrote a line.
    Line(&'a str),
}

/// A plugin file that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where it is.
    pub file: PathBuf,
    /// What it is: `projector` or `upcaster`.
    pub kind: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Whether it was not there before, or was another.
    pub changed: bool,
    /// What the compiler warns of; mostly empty.
    pub warnings: String,
}

/// A folder with a plugin's sources.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// The folder's own name, which is the file's too.
    pub name: String,
}

impl Project {
    /// Looks what a folder holds.
    ///
    /// # Errors
    /// It is not there, holds no plugin, or several.
    pub fn at(folder: &Path) -> Result<Self, BuildError> {
        let shown = folder.display();
        let absolute = folder
            .canonicalize()
            .map_err(|error| BuildError::NoProject(format!("{shown} cannot be opened: {error}")))?;
        if !absolute.is_dir() {
            return Err(BuildError::NoProject(format!(
                "{shown} is no folder; name the folder of the plugin's sources"
            )));
        }
        let there = |mark: &&str| absolute.join(mark).is_file();
        let of = |language: &Language| language.marks().iter().all(there);
        let found: Vec<Language> = Language::ALL.into_iter().filter(of).collect();
        let language = match found[..] {
            [language] => language,
            [] => return Err(BuildError::NoProject(no_project(&absolute))),
            _ => {
                let names: Vec<String> = found.iter().map(Language::to_string).collect();
                return Err(BuildError::NoProject(format!(
                    "{shown} looks like a plugin in {}; a plugin has a folder of its own",
                    names.join(" and in ")
                )));
            }
        };
        let name = absolute
            .file_name()
            .map_or("plugin".into(), |name| name.to_string_lossy().into_owned());
        Ok(Self {
            folder: absolute,
            language,
            name,
        })
    }

    /// Where its plugin file goes, unless somebody says otherwise.
    pub fn file(&self) -> PathBuf {
        self.folder.join("build").join(format!("{}.wasm", self.name))
    }

    /// Where the compiler of a core module puts it.
    fn core_file(&self) -> PathBuf {
        self.folder.join("build").join(format!("{}.core.wasm", self.name))
    }

    /// Builds the plugin file, at [`Project::file`] or at `to`, and looks at it from outside: its world and its imports.
    ///
    /// # Errors
    /// [`BuildError`], for the plugin's author.
    pub fn build(&self, to: Option<&Path>, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Built, BuildError> {
        let to = to.map_or_else(|| self.file(), Path::to_owned);
        make_folder(&self.folder.join("build"))?;
        let raw = match self.language {
            Language::Rust => rust::build(self, tell)?,
            Language::TypeScript => typescript::build(self, tell)?,
            Language::Python => python::build(self, tell)?,
            Language::Go => go::build(self, tell)?,
            Language::C => c::build(self, tell)?,
        };
        let bytes = std::fs::read(&raw.file).map_err(|error| {
            BuildError::File(format!(
                "what was built, {}, cannot be read: {error}",
                raw.file.display()
            ))
        })?;
        let component = component_of(&bytes).map_err(|error| BuildError::Plugin {
            file: raw.file.clone(),
            error,
        })?;
        // Rust's module is a plugin file as it is, and the one that cargo itself leaves.
        let bytes = match (component, self.language) {
            (Some(component), Language::Go | Language::C) => component,
            _ => bytes,
        };
        Ok(Built {
            kind: if is_upcaster(&bytes) {
                "upcaster"
            } else {
                "projector"
            },
            bytes: bytes.len() as u64,
            changed: put(&bytes, &to)?,
            file: to,
            warnings: raw.warnings,
        })
    }

    /// A tool that works in this project.
    fn tool(&self, program: impl AsRef<std::ffi::OsStr>) -> Tool {
        Tool::new(program, &self.folder)
    }
}

/// What a language's own tools made.
struct Raw {
    file: PathBuf,
    warnings: String,
}

fn no_project(folder: &Path) -> String {
    let half = Language::ALL.into_iter().find_map(|language| {
        let missing = language
            .marks()
            .iter()
            .find(|mark| !folder.join(mark).is_file())?;
        folder
            .join(language.marks()[0])
            .is_file()
            .then_some((language, *missing))
    });
    match half {
        Some((language, missing)) => format!(
            "{} has a {}, and not the {missing} of a plugin in {language}",
            folder.display(),
            language.marks()[0]
        ),
        None => format!(
            "{} is no plugin project: it has no Cargo.toml (Rust), package.json (TypeScript), pyproject.toml (Python), \
             go.mod (Go) or plugin.c (C). `lamphouse plugin new NAME --lang …` makes one",
            folder.display()
        ),
    }
}

fn make_folder(folder: &Path) -> Result<(), BuildError> {
    std::fs::create_dir_all(folder)
        .map_err(|error| BuildError::File(format!("the folder {} cannot be made: {error}", folder.display())))
}

/// Puts a file in its place whole; whether it is another than before.
pub(super) fn put(bytes: &[u8], to: &Path) -> Result<bool, BuildError> {
    if std::fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let said =
        |error: std::io::Error| BuildError::File(format!("{} cannot be written: {error}", to.display()));
    let name = to
        .file_name()
        .ok_or_else(|| BuildError::File(format!("{} names no file", to.display())))?;
    // Renamed into place, so that a host that watches never sees half a file.
    let half = to.with_file_name(format!(".{}.new", name.to_string_lossy()));
    std::fs::write(&half, bytes).map_err(said)?;
    std::fs::rename(&half, to).map_err(said)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_told_by_the_manifest() {
        let folder = tempfile::tempdir().expect("a folder");
        let wrong = |folder: &Path| Project::at(folder).expect_err("no project").to_string();
        assert!(wrong(folder.path()).contains("is no plugin project"));
        for language in Language::ALL {
            let project = folder.path().join(language.key());
            for (place, mark) in language.marks().iter().enumerate() {
                if place > 0 {
                    let text = wrong(&project);
                    assert!(text.contains(&format!("not the {mark}")), "{text}");
                }
                let file = project.join(mark);
                std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
                std::fs::write(&file, "").expect("written");
            }
            let found = Project::at(&project).expect("a project");
            assert_eq!((found.language, found.name.as_str()), (language, language.key()));
            assert!(found.file().ends_with(format!("build/{}.wasm", language.key())));
        }
        std::fs::write(folder.path().join("rust/go.mod"), "").expect("written");
        assert!(wrong(&folder.path().join("rust")).contains("in Rust and in Go"));
        assert!(wrong(&folder.path().join("rust/go.mod")).contains("is no folder"));
    }

    #[test]
    fn a_file_is_put_in_its_place_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.wasm");
        assert!(put(b"one", &file).expect("put"));
        assert!(!put(b"one", &file).expect("put"));
        assert!(put(b"two", &file).expect("put"));
        assert_eq!(std::fs::read(&file).expect("read"), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }
}
