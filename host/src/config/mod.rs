//! `lamphouse.toml`: schema, loading, validation. Unknown keys are refused; all mistakes are reported at once, with
//! their lines.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::limits::{AppendLimits, PipelineLimits, PluginLimits};

/// A whole configuration, every default filled in, every path absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The project folder: where `lamphouse.toml` is, or was looked for.
    pub root: PathBuf,
    /// `[log] url`.
    pub log: DatabaseUrl,
    /// `[tables] url`.
    pub tables: DatabaseUrl,
    /// `[plugins] folder`.
    pub plugins: PathBuf,
    /// `[host] data`: token, code cache, lock. Mode 0700.
    pub data: PathBuf,
    /// `[host] listen`, an address on loopback.
    pub listen: String,
    /// `[append]`.
    pub append: AppendLimits,
    /// `[limits]`: what one plugin call may use.
    pub limits: PluginLimits,
    /// `[pipeline]`.
    pub pipeline: PipelineLimits,
    /// `[query]`: bounds of `lamphouse query`.
    pub query_rows_max: u64,
    /// `[query]`: bounds of `lamphouse query`.
    pub query_time_max: Duration,
    /// `[projection]`: defaults of every projection.
    pub projection: ProjectionConfig,
    /// `[projections.NAME]`: by projection, over the defaults.
    pub projections: BTreeMap<String, ProjectionConfig>,
}

/// How one projection is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionConfig {
    /// `cutover = "auto" | "manual"`.
    pub cutover: CutoverMode,
    /// Retired generations kept for rollback.
    pub keep_generations: u64,
    /// Keep the retired generation level with the head all the time, so that a rollback is instant.
    pub follow_retired: bool,
}

/// Who decides on a cutover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverMode {
    /// The host, as soon as the new generation has caught up and nothing is breaking.
    Auto,
    /// A person, by `lamphouse cutover`.
    Manual,
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`, absolute here.
    Sqlite(PathBuf),
    /// `postgres://…`.
    Postgres(String),
}

impl Config {
    /// The settings of one projection.
    pub fn projection(&self, name: &str) -> &ProjectionConfig {
        self.projections.get(name).unwrap_or(&self.projection)
    }
}
