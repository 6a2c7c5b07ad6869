//! Lamphouse: a WebAssembly projection host.
//!
//! ```text
//!            cli                 a file per verb
//!             │
//!        api, deploy             HTTP surface │ control plane: watch, stage, plan, execute
//!             │
//!         projection             data plane: runner, row cache, flush, cutover
//!             │
//!  upcast, plugin, tables, log,  old events lifted │ the sandbox │ read tables │ event log
//!  schemas                       what appended events are held to
//!             │
//!           core                 ids, events, limits, clock
//! ```
//!
//! Arrows point down only, and a test holds them to it: `plugin`, `tables` and `log` do not know each other. `config`
//! and `telemetry` are read by the layers above `projection`, and stand on `core`, as `watch` does: a folder that somebody
//! puts files into. `wal` is what the SQLite files of `log` and `tables` share.

pub mod api;
pub mod cli;
pub mod config;
pub mod core;
pub mod deploy;
pub mod log;
pub mod plugin;
pub mod projection;
pub mod schemas;
pub mod tables;
pub mod telemetry;
pub mod upcast;
mod wal;
mod watch;
