//! TypeScript: Node.js and what npm installs into the project.

use super::packages::Packages;
use super::{BuildError, Progress, Project, Raw};

/// The oldest Node.js that the SDK's tools run with.
const NODE_MAJOR_MIN: u32 = 20;

pub(super) fn build(project: &Project, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Raw, BuildError> {
    check_node(project)?;
    let packages = Packages {
        folder: project.folder.join("node_modules"),
        lists: &["package.json", "lamphouse/package.json"],
        root: &project.folder,
    };
    if packages.are_due() {
        tell(Progress::Step("installing packages (npm install)"));
        packages.install(|| {
            let npm = project.tool("npm").or_say(
                "npm is not on the PATH, and a TypeScript plugin's packages are installed by it. It comes with Node.js \
                 from https://nodejs.org; on Debian and Ubuntu: apt-get install npm",
            );
            npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
                .called("npm install")
                .run(false, tell)
        })?;
    }
    let script = project.folder.join("node_modules/lamphouse/build.mjs");
    if !script.is_file() {
        return Err(BuildError::NoProject(
            "the package `lamphouse` is not among the project's packages: package.json needs \"lamphouse\": \
             \"file:./lamphouse\", then: npm install"
                .to_owned(),
        ));
    }
    tell(Progress::Step(
        "type-checking, bundling and componentizing (lamphouse/build.mjs)",
    ));
    let file = project.file();
    let said = project
        .tool("node")
        .args([script.as_os_str(), "--out".as_ref(), file.as_os_str()])
        .called("the build")
        .run(false, tell)?;
    drop(said);
    Ok(Raw {
        file,
        warnings: String::new(),
    })
}

fn check_node(project: &Project) -> Result<(), BuildError> {
    const HOW: &str = "Install Node.js 20 or later from https://nodejs.org or with your package manager; on Debian and \
        Ubuntu: apt-get install nodejs npm; on macOS: brew install node";
    let Some(version) = project.tool("node").args(["--version"]).answer() else {
        return Err(BuildError::Tool(format!(
            "Node.js is not installed (`node` is not on the PATH). {HOW}"
        )));
    };
    match major(&version) {
        Some(major) if major < NODE_MAJOR_MIN => Err(BuildError::Tool(format!(
            "Node.js here is {version}, which is too old. {HOW}"
        ))),
        _ => Ok(()),
    }
}

fn major(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nodes_version_is_read() {
        assert_eq!(super::major("v20.20.2"), Some(20));
        assert_eq!(super::major("nightly"), None);
    }
}
