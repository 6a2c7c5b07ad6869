//! Python: an environment of the project's own, and componentize-py in it.

use super::packages::Packages;
use super::{BuildError, Progress, Project, Raw};

const NO_PYTHON: &str = "Python is not installed (`python3` is not on the PATH). Install Python 3.11 or later from \
    https://www.python.org or with your package manager; on Debian and Ubuntu: apt-get install python3 python3-venv; on \
    macOS: brew install python";
const NO_VENV: &str = "Python here cannot make an environment for the project: its module `venv` is not whole. On Debian \
    and Ubuntu: apt-get install python3-venv";

pub(super) fn build(project: &Project, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Raw, BuildError> {
    let packages = Packages {
        folder: project.folder.join(".venv"),
        lists: &["requirements.txt"],
        root: &project.folder,
    };
    let python = project.folder.join(".venv/bin/python");
    if packages.are_due() {
        packages.install(|| {
            tell(Progress::Step("making an environment (python3 -m venv .venv)"));
            let venv = project
                .tool("python3")
                .or_say(NO_PYTHON)
                .args(["-m", "venv", ".venv"]);
            venv.called("python3 -m venv .venv")
                .run(false, tell)
                .map_err(no_venv)?;
            tell(Progress::Step(
                "installing packages (pip install -r requirements.txt)",
            ));
            project
                .tool(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--disable-pip-version-check",
                    "--progress-bar=off",
                ])
                .args(["-r", "requirements.txt"])
                .called("pip install -r requirements.txt")
                .run(false, tell)
        })?;
    }
    tell(Progress::Step("componentizing (python -m lamphouse.build)"));
    let file = project.file();
    project
        .tool(&python)
        .or_say(".venv has no bin/python: remove .venv, and it is made anew by the next build")
        .args(["-m", "lamphouse.build", "--out"])
        .args([&file])
        .called("the build")
        .run(false, tell)?;
    Ok(Raw {
        file,
        warnings: String::new(),
    })
}

fn no_venv(error: BuildError) -> BuildError {
    match &error {
        BuildError::Failed { output, .. }
            if output.contains("ensurepip") || output.contains("No module named venv") =>
        {
            BuildError::Tool(NO_VENV.to_owned())
        }
        _ => error,
    }
}
