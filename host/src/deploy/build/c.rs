//! C: whichever compiler for WebAssembly is there.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{BuildError, Progress, Project, Raw};

const NO_COMPILER: &str = "no C compiler for WebAssembly was found. Install the WASI SDK from \
    https://github.com/WebAssembly/wasi-sdk/releases and set WASI_SDK_PATH to its folder; or, on Debian and Ubuntu: \
    apt-get install clang lld wasi-libc libclang-rt-dev-wasm32; or Zig: pip install ziglang. CC_WASM may name another \
    compiler";
/// The versions of clang that are looked for besides `clang` itself, newest first.
const CLANG_VERSIONS: std::ops::RangeInclusive<u32> = 15..=24;

/// Everything that is needed for a module that may keep running after its start.
const FLAGS: [&str; 7] = [
    "-mexec-model=reactor",
    "-O2",
    "-Wall",
    "-std=c11",
    // Zig drops assertions of optimised code otherwise.
    "-UNDEBUG",
    // The usual 64 KiB are soon used up; the host's own limit is the one that should speak.
    "-Wl,-z,stack-size=1048576",
    // Newer compilers call the target wasm32-wasip1, which older C libraries do not know.
    "-Wno-deprecated",
];
/// Not for Zig, whose linker takes the functions' names away too.
const NAMES_ONLY: &str = "-Wl,--strip-debug";

pub(super) fn build(project: &Project, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Raw, BuildError> {
    tell(Progress::Step("looking for a compiler"));
    let compiler = find(project)?;
    let sdk = sdk(project)?;
    let mut sources = c_files(&project.folder)?;
    sources.extend(c_files(&sdk)?);
    let file = project.core_file();
    tell(Progress::Step(&format!("compiling ({})", compiler.shown())));
    let (program, first) = compiler
        .0
        .split_first()
        .expect("invariant: a compiler has a program");
    let said = project
        .tool(program)
        .args(first)
        .args(FLAGS)
        .args((!compiler.is_zig()).then_some(NAMES_ONLY))
        .args(["-I.", "-I"])
        .args([&sdk])
        .args(&sources)
        .args([OsStr::new("-o"), file.as_os_str()])
        .called(&compiler.shown())
        .run(false, tell)?;
    Ok(Raw {
        file,
        warnings: warnings(&said.shown),
    })
}

/// What the compiler said of the sources. That the target has a newer name is not the author's concern: not every C
/// library is found by it.
fn warnings(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("'--target=wasm32-wasi' is deprecated"))
        .collect();
    lines.join("\n").trim().to_owned()
}

/// The SDK's folder: `lamphouse/` in the project, or what the file `sdk.path` says.
fn sdk(project: &Project) -> Result<PathBuf, BuildError> {
    let said = project.folder.join("sdk.path");
    let folder = match std::fs::read_to_string(&said) {
        Ok(path) => project.folder.join(path.trim()),
        Err(_) => project.folder.join("lamphouse"),
    };
    if folder.join("lamphouse.h").is_file() {
        return Ok(folder);
    }
    Err(BuildError::NoProject(format!(
        "{} has no lamphouse.h: the C SDK belongs into the folder lamphouse/ of the project, or a file sdk.path says where \
         it is",
        folder.display()
    )))
}

fn c_files(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let unreadable =
        |error: std::io::Error| BuildError::File(format!("{} cannot be read: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension() == Some(OsStr::new("c")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A program and its first arguments.
struct Compiler(Vec<OsString>);

impl Compiler {
    fn of(words: &[&str]) -> Self {
        Self(words.iter().map(OsString::from).collect())
    }

    fn is_zig(&self) -> bool {
        self.0.iter().any(|word| word.to_string_lossy().contains("zig"))
    }

    fn shown(&self) -> String {
        let program = self.0.first().map(|program| {
            let name = Path::new(program).file_name();
            name.unwrap_or(program).to_string_lossy().into_owned()
        });
        program.unwrap_or_default()
    }
}

/// The first compiler that is there and knows WebAssembly.
fn find(project: &Project) -> Result<Compiler, BuildError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(compiler) = set("CC_WASM") {
        // It may bring flags along: `CC_WASM="zig cc -target wasm32-wasi"`.
        let compiler = compiler.to_string_lossy().into_owned();
        let mut words: Vec<&str> = compiler.split_whitespace().collect();
        if !words.iter().any(|word| word.contains("target")) {
            words.push("--target=wasm32-wasi");
        }
        return Ok(Compiler::of(&words));
    }
    if let Some(sdk) = set("WASI_SDK_PATH").map(PathBuf::from) {
        let clang = sdk.join("bin/clang");
        if !clang.is_file() {
            return Err(BuildError::Tool(format!(
                "WASI_SDK_PATH is {}, where there is no bin/clang; set it to the folder that the WASI SDK was unpacked to",
                sdk.display()
            )));
        }
        return Ok(Compiler(vec![
            clang.into(),
            format!("--target={}", target_of(&sdk)).into(),
        ]));
    }
    let versions = CLANG_VERSIONS.rev().map(|version| format!("clang-{version}"));
    for clang in std::iter::once("clang".to_owned()).chain(versions) {
        if is_able(project, &clang) {
            return Ok(Compiler::of(&[&clang, "--target=wasm32-wasi"]));
        }
    }
    for zig in [&["zig"][..], &["python3", "-m", "ziglang"]] {
        let version = project.tool(zig[0]).args(&zig[1..]).args(["version"]);
        if version.works() {
            return Ok(Compiler::of(&[zig, &["cc", "-target", "wasm32-wasi"]].concat()));
        }
    }
    Err(BuildError::Tool(NO_COMPILER.to_owned()))
}

/// What a WASI SDK calls WASI 0.1: newer ones do not know the old name any more.
fn target_of(sdk: &Path) -> &'static str {
    match sdk.join("share/wasi-sysroot/lib/wasm32-wasip1").is_dir() {
        true => "wasm32-wasip1",
        false => "wasm32-wasi",
    }
}

/// Whether a clang has all that it takes: the target, a linker, the C library and the compiler's own.
fn is_able(project: &Project, clang: &str) -> bool {
    if !project.tool(clang).args(["--version"]).works() {
        return false;
    }
    let build = project.folder.join("build");
    let (source, module) = (build.join(".probe.c"), build.join(".probe.wasm"));
    let text = "#include <stdlib.h>\nvoid *probe(size_t n) { return malloc(n); }\n";
    let works = std::fs::write(&source, text).is_ok()
        && project
            .tool(clang)
            .args(["--target=wasm32-wasi", "-mexec-model=reactor", "-o"])
            .args([&module, &source])
            .works();
    for file in [source, module] {
        // It may not have come about.
        let _ = std::fs::remove_file(file);
    }
    works
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_name_is_no_warning() {
        let said = "clang: warning: argument '--target=wasm32-wasi' is deprecated, use --target=wasm32-wasip1 instead\n";
        assert_eq!(warnings(said), "");
        let own = "plugin.c:3:5: warning: unused variable 'x'\n";
        assert_eq!(warnings(&format!("{said}{own}")), own.trim());
    }
}
