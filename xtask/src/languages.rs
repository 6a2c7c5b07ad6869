//! Plugins in languages other than Rust: their tools on this machine, and what the example plugins make.

mod fetched;
mod plugins;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::paths;

pub use fetched::{asyncapi_schema, fetch_ahead, python_tools, venv};
pub use plugins::{build_plugins, install_packages};

/// A language with an SDK in `sdk/`, other than Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `sdk/typescript`.
    TypeScript,
    /// `sdk/python`.
    Python,
    /// `sdk/go`.
    Go,
    /// `sdk/c`.
    C,
}

/// The C compiler that is fetched where there is none for Wasm.
const ZIG: &str = "ziglang==0.17.1";

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::TypeScript, Self::Python, Self::Go, Self::C];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TypeScript => "TypeScript",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::C => "C",
        }
    }

    /// As `--lang` and folders have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::TypeScript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// Its SDK.
    pub fn sdk(self) -> PathBuf {
        paths::root().join("sdk").join(self.word())
    }

    /// The repository's plugins in this language: folders of `plugins/` that end in its name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn plugins(self) -> Result<Vec<PathBuf>> {
        let folder = paths::root().join("plugins");
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let ending = format!("-{}", self.word());
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir() && path.to_string_lossy().ends_with(&ending))
            .collect();
        found.sort();
        Ok(found)
    }

    /// What a command has to find in its environment to build such plugins here. C's compiler is put below `target`
    /// where the machine has none.
    ///
    /// # Errors
    /// When the language's tools are missing: says what to install.
    pub fn environment(self) -> Result<Vec<(&'static str, OsString)>> {
        match self {
            Self::TypeScript => {
                needs("node", "Node.js 20 or later")?;
                needs("npm", "npm, which comes with Node.js")?;
                Ok(vec![])
            }
            Self::Python => needs("python3", "Python 3.11 or later, with its venv module").map(|()| vec![]),
            Self::Go => needs("go", "Go 1.24 or later").map(|()| vec![]),
            Self::C => c_compiler(),
        }
    }
}

fn needs(tool: &str, what: &str) -> Result<()> {
    match on_path(tool) {
        Some(_) => Ok(()),
        None => bail!("{tool} is not on the path: install {what}"),
    }
}

/// A program on the path.
pub fn on_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// Tells `lamphouse plugin build` of Zig's compiler where it would find none by itself.
fn c_compiler() -> Result<Vec<(&'static str, OsString)>> {
    needs("make", "make and a C compiler")?;
    needs("cc", "a C compiler")?;
    let finds_one = std::env::var_os("CC_WASM").is_some()
        || std::env::var_os("WASI_SDK_PATH").is_some()
        || on_path("zig").is_some()
        || clang_for_wasm().is_some();
    if finds_one {
        return Ok(vec![]);
    }
    Ok(vec![("CC_WASM", zig()?.join(" ").into())])
}

/// A C compiler for Wasm, as a command and its first arguments: the machine's clang, or Zig's from PyPI.
///
/// # Errors
/// When there is neither: says what to install.
pub fn wasm_cc() -> Result<Vec<String>> {
    match clang_for_wasm() {
        Some(clang) => Ok(vec![
            clang.display().to_string(),
            "--target=wasm32-wasi".to_owned(),
        ]),
        None => zig(),
    }
}

fn zig() -> Result<Vec<String>> {
    needs(
        "python3",
        "clang with wasm-ld and wasi-libc, or Zig, or Python to fetch Zig with",
    )?;
    let python = venv("zig", &[ZIG])?.display().to_string();
    Ok([&python, "-m", "ziglang", "cc", "-target", "wasm32-wasi"]
        .map(str::to_owned)
        .into())
}

/// The newest clang here that knows Wasm. Debian's packages: `clang lld wasi-libc libclang-rt-…-dev-wasm32`.
fn clang_for_wasm() -> Option<PathBuf> {
    let versions = (14..40).rev().map(|version| format!("clang-{version}"));
    std::iter::once(String::from("clang"))
        .chain(versions)
        .filter_map(|name| on_path(&name))
        .find(|clang| links_wasm(clang))
}

/// Whether it makes a whole module: its linker and runtime are packages of their own.
fn links_wasm(clang: &Path) -> bool {
    let mut child = Command::new(clang);
    child
        .args([
            "--target=wasm32-wasi",
            "-mexec-model=reactor",
            "-x",
            "c",
            "-",
            "-o",
        ])
        .arg(if cfg!(windows) { "NUL" } else { "/dev/null" })
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child.status().is_ok_and(|status| status.success())
}

/// Runs a command that must succeed; what it says is shown only if it does not.
///
/// # Errors
/// When it cannot be run or fails, with what it said.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
