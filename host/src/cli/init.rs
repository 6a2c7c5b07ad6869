//! `lamphouse init`: a project folder that runs as it is.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::args::Globals;
use super::output::Output;
use crate::config::{FILE, template::TEMPLATE};

/// What the project's own repository should not keep.
const GITIGNORE: &str = "# The log and the tables, when they are SQLite files; and the host's own data.
*.db
*.db-shm
*.db-wal
*.db-journal
*.db-bell
.lamphouse/
";

/// Make a project folder that runs as it is
///
/// Writes lamphouse.toml with every key and its default, an empty folder for plugins, and a .gitignore. Overwrites
/// nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse init shop
  lamphouse init            in the current folder")]
pub(super) struct Init {
    /// The folder; made if it is not there [default: the project folder]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self, globals: &Globals, out: &mut Output) -> Result<()> {
        let dir = match (self.dir, &globals.project) {
            (Some(dir), None) => dir,
            // A relative folder is one in the project folder, as everywhere.
            (Some(dir), Some(project)) => project.join(dir),
            (None, Some(project)) => project.clone(),
            (None, None) => PathBuf::from("."),
        };
        let made = make(&dir)?;
        if out.json {
            return out.document(&serde_json::json!({ "project": std::path::absolute(&dir)?, "made": made }));
        }
        out.line(format!(
            "made a project in {} ({})",
            dir.display(),
            made.join(", ")
        ))?;
        out.line("")?;
        out.line("Next:")?;
        if dir != Path::new(".") {
            out.line(format!("  cd {}", dir.display()))?;
        }
        out.line("  lamphouse import events.jsonl.zst   fill the log, or: lamphouse append --help")?;
        out.line(
            "  lamphouse plugin new --help         begin a projector in Rust, TypeScript, Python, Go or C",
        )?;
        out.line("  cp my-plugin.wasm plugins/          deploy it")?;
        out.line("  lamphouse serve                     keep its tables level; in another terminal:")?;
        out.line("  lamphouse status")
    }
}

/// Makes what is missing; gives the names of what it made.
fn make(dir: &Path) -> Result<Vec<&'static str>> {
    fs::create_dir_all(dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
    let config = dir.join(FILE);
    match OpenOptions::new().write(true).create_new(true).open(&config) {
        Ok(mut file) => {
            file.write_all(TEMPLATE.as_bytes())
                .with_context(|| format!("{} cannot be written", config.display()))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; nothing was changed", config.display())
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be made", config.display())),
    }
    let mut made = vec![FILE];
    let plugins = dir.join("plugins");
    if !plugins.exists() {
        fs::create_dir(&plugins)
            .with_context(|| format!("the folder {} cannot be made", plugins.display()))?;
        made.push("plugins/");
    }
    let gitignore = dir.join(".gitignore");
    match OpenOptions::new().write(true).create_new(true).open(&gitignore) {
        Ok(mut file) => {
            file.write_all(GITIGNORE.as_bytes())
                .with_context(|| format!("{} cannot be written", gitignore.display()))?;
            made.push(".gitignore");
        }
        // A project within a repository has one already, which is the user's.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("{} cannot be made", gitignore.display())),
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_new_project_loads_and_is_not_made_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("shop");
        assert_eq!(make(&dir).expect("made"), [FILE, "plugins/", ".gitignore"]);
        let config = Config::load_with(&dir, |_| None).expect("it loads");
        assert!(config.plugins.is_dir());
        fs::write(dir.join(FILE), "[query]\nrows_max = 7\n").expect("written");
        let error = make(&dir).expect_err("refused").to_string();
        assert!(error.contains("is there already"), "{error}");
        assert_eq!(
            Config::load_with(&dir, |_| None)
                .expect("it loads")
                .query_rows_max,
            7
        );
    }

    #[test]
    fn what_is_the_users_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(".gitignore"), "target\n").expect("written");
        fs::create_dir(folder.path().join("plugins")).expect("made");
        assert_eq!(make(folder.path()).expect("made"), [FILE]);
        assert_eq!(
            fs::read_to_string(folder.path().join(".gitignore")).expect("read"),
            "target\n"
        );
    }
}
