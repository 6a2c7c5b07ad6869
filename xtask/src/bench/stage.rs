//! What a run of the benchmark stands on: programs, guests, a folder, a PostgreSQL server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::postgres::Server;
use xtask::{guests, paths};

use super::Options;
use super::project::{On, start_postgres};

/// Removed with all that is in it, unless it is to be kept.
pub(super) struct Stage {
    folder: PathBuf,
    keep: bool,
    server: Option<Server>,
}

impl Stage {
    /// Builds everything and starts the server.
    pub(super) fn set(options: &Options) -> Result<Self> {
        for binary in ["lamphouse", "naive-projector", "bench-probe"] {
            paths::build(binary)?;
        }
        guests::run(&guests::Options {
            only: vec![
                "order-summary".to_owned(),
                "shop-orders".to_owned(),
                "customer-names".to_owned(),
            ],
            quiet: true,
        })?;
        let folder = std::env::temp_dir().join(format!("lamphouse-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let server = start_postgres()?;
        if server.is_none() {
            println!("NOTE: no PostgreSQL server binaries are installed; its rows are left out");
        }
        Ok(Self {
            folder,
            keep: options.keep,
            server,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// SQLite, and PostgreSQL where it is installed.
    pub(super) fn places(&self) -> Vec<On<'_>> {
        let mut places = vec![On::Sqlite];
        places.extend(self.server.as_ref().map(On::Postgres));
        places
    }

    /// The PostgreSQL server, where one is installed.
    pub(super) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Where the figures go.
    pub(super) fn results(&self, file: &str) -> PathBuf {
        paths::target_dir().join("bench").join(file)
    }

    /// A new project folder.
    pub(super) fn project(&self, name: &str) -> Result<PathBuf> {
        let project = self.folder.join(name);
        std::fs::create_dir_all(project.join("plugins"))
            .with_context(|| format!("cannot make {}", project.display()))?;
        Ok(project)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.keep {
            println!("kept: {}", self.folder.display());
            return;
        }
        // The figures are what counts; a folder that cannot be removed is only untidy.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
