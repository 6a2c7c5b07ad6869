//! Go: the usual compiler, for WASI 0.1.

use super::{BuildError, Progress, Project, Raw};

const NO_GO: &str = "Go is not installed (`go` is not on the PATH). Install Go 1.24 or later from https://go.dev/dl or \
    with your package manager; on macOS: brew install go";

pub(super) fn build(project: &Project, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Raw, BuildError> {
    tell(Progress::Step("compiling (go build)"));
    let file = project.core_file();
    project
        .tool("go")
        .or_say(NO_GO)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            // Without -s: backtraces name functions then, for a fortieth of the size.
            "-ldflags=-w",
            "-o",
        ])
        .args([&file])
        .args(["."])
        .called("go build")
        .run(false, tell)?;
    Ok(Raw {
        file,
        warnings: String::new(),
    })
}
