//! A Rust that compiles to Wasm: the one of rustup, or, where rustup cannot add the target, Debian's with a standard
//! library built from source.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;

/// What guests are compiled to.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// How long rustup may try to add the target, on a machine whose network may swallow its requests.
const RUSTUP_WAIT: Duration = Duration::from_secs(120);

/// Set to 1, it takes the second way even where the first is open; for testing that.
const FALLBACK_VARIABLE: &str = "LAMPHOUSE_WASM_FALLBACK";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// How guests are compiled here.
pub(super) enum Toolchain {
    /// As everywhere: rustup's own target.
    Rustup,
    /// Debian's compiler, with our own sysroot.
    Debian {
        /// Where the standard library is.
        sysroot: PathBuf,
        /// `PATH` with rustup's linker behind it.
        path: OsString,
    },
}

impl Toolchain {
    /// Takes the first way that is open.
    pub(super) fn find() -> Result<Self> {
        if std::env::var_os(FALLBACK_VARIABLE).is_some_and(|value| value == "1") {
            eprintln!(
                "{FALLBACK_VARIABLE}=1: building guests with Debian's Rust and a standard library of our own"
            );
            return debian();
        }
        if has_target() {
            return Ok(Self::Rustup);
        }
        eprintln!("the Rust toolchain has no {TARGET}; trying `rustup target add {TARGET}`");
        match add_target() {
            Ok(()) if has_target() => return Ok(Self::Rustup),
            Ok(()) => eprintln!("rustup said it is done, but the target is not there"),
            Err(error) => eprintln!("rustup cannot add it here: {error:#}"),
        }
        eprintln!(
            "falling back to Debian's Rust and a standard library built from its sources (a minute, once)"
        );
        debian().with_context(|| {
            format!(
                "there is no way to compile guests here. On a machine with network: rustup target add {TARGET}. On \
                 Debian, as root: apt-get install rustc-web rust-web-src"
            )
        })
    }

    /// Tells one compiler from another: what one has built, another has to build again.
    pub(super) fn identity(&self) -> Result<String> {
        match self {
            Self::Rustup => said_by(&rustc(), &["-V"]),
            Self::Debian { .. } => {
                said_by(DEBIAN_RUSTC, &["-V"]).map(|version| format!("Debian's {version}"))
            }
        }
    }

    /// What cargo needs to find in its environment to compile somebody's plugin here.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Rustup => Vec::new(),
            Self::Debian { sysroot, path } => {
                let mut flags = OsString::from("--sysroot=");
                flags.push(sysroot);
                vec![
                    ("RUSTC", DEBIAN_RUSTC.into()),
                    ("PATH", path.clone()),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "rust-lld".into()),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags),
                ]
            }
        }
    }

    /// Sets what cargo needs to know.
    pub(super) fn prepare(&self, cargo: &mut Command) {
        // Guests come out the same wherever they are built, and name no folder of that machine.
        let home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        let mut flags = vec![format!("--remap-path-prefix={}=.", paths::root().display())];
        if let Some(home) = home {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        cargo
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Self::Debian { sysroot, path } = self {
            flags.push(format!("--sysroot={}", sysroot.display()));
            cargo
                .env("RUSTC", DEBIAN_RUSTC)
                .env("PATH", path)
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "rust-lld");
        }
        // A list, for a folder may have a space in its name.
        cargo
            .arg("--config")
            .arg(format!("target.{TARGET}.rustflags={flags:?}"));
    }
}

/// Whether the toolchain in use has a standard library for Wasm.
fn has_target() -> bool {
    let answer = Command::new(rustc())
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let Ok(answer) = answer else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    let Ok(files) = std::fs::read_dir(folder) else {
        return false;
    };
    files
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn add_target() -> Result<()> {
    let mut rustup = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run rustup")?;
    let started = Instant::now();
    loop {
        if let Some(status) = rustup.try_wait().context("cannot wait for rustup")? {
            if status.success() {
                return Ok(());
            }
            bail!("rustup failed ({status})");
        }
        if started.elapsed() > RUSTUP_WAIT {
            rustup
                .kill()
                .and_then(|()| rustup.wait())
                .context("cannot stop rustup")?;
            bail!("rustup gave no answer for {} s", RUSTUP_WAIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The second way: Debian's packages, and a sysroot kept in `target` for as long as that compiler stays.
fn debian() -> Result<Toolchain> {
    if !has_debian_sources() {
        install_debian_packages()?;
    }
    let version = said_by(DEBIAN_RUSTC, &["-V"])?;
    let name: String = version
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let folder = paths::root().join("target/wasm-sysroot");
    let sysroot = folder.join(name.trim_matches('-'));
    if !sysroot.join("lib/rustlib").join(TARGET).join("lib").exists() {
        eprintln!("building the standard library for {TARGET} with {version}");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let status = Command::new("sh")
            .arg(paths::root().join("xtask/wasm-sysroot.sh"))
            .arg(&sysroot)
            .env("RUSTC", DEBIAN_RUSTC)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .context("cannot run sh")?;
        if !status.success() {
            bail!("xtask/wasm-sysroot.sh failed; see above");
        }
    }
    // The linker comes with rustup's toolchain.
    let host = said_by(DEBIAN_RUSTC, &["-vV"])?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?
        .to_owned();
    let linkers = Path::new(&said_by(&rustc(), &["--print", "sysroot"])?)
        .join("lib/rustlib")
        .join(host)
        .join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([linkers]);
    Ok(Toolchain::Debian {
        sysroot,
        path: std::env::join_paths(folders).context("PATH cannot be extended")?,
    })
}

fn has_debian_sources() -> bool {
    let Ok(sysroot) = said_by(DEBIAN_RUSTC, &["--print", "sysroot"]) else {
        return false;
    };
    Path::new(&sysroot)
        .join("lib/rustlib/src/rust/library/std/Cargo.toml")
        .exists()
}

fn install_debian_packages() -> Result<()> {
    eprintln!("installing Debian's rustc-web and rust-web-src");
    for arguments in [
        &["update", "-q"][..],
        &[
            "install",
            "-q",
            "-y",
            "--no-install-recommends",
            "rustc-web",
            "rust-web-src",
        ],
    ] {
        let answer = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("cannot run apt-get")?;
        if !answer.status.success() {
            bail!(
                "apt-get {} failed ({}): {}",
                arguments.join(" "),
                answer.status,
                String::from_utf8_lossy(&answer.stderr).trim()
            );
        }
    }
    Ok(())
}

fn rustc() -> String {
    std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String> {
    let answer = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {program} {}", arguments.join(" ")))?;
    if !answer.status.success() {
        bail!(
            "{program} {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&answer.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}
