//! Every row of the table: what it is called, its unit, and what it must and should be.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Better {
    More,
    Less,
}

/// One row.
#[derive(Debug)]
pub(super) struct Target {
    /// Measured together; `--only` takes it too.
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// None for rows that are there to be compared with.
    pub(super) must: Option<f64>,
    pub(super) aim: Option<f64>,
}

/// A ratio of two figures of one run.
pub(super) const RATIO: &str = "x";
const RATE: &str = "k events/s";
const APPENDS: &str = "appends/s";
const MS: &str = "ms";

const fn row(
    group: &'static str,
    name: &'static str,
    unit: &'static str,
    better: Better,
    must: f64,
    aim: f64,
) -> Target {
    Target {
        group,
        name,
        unit,
        better,
        must: Some(must),
        aim: Some(aim),
    }
}

const fn shown(group: &'static str, name: &'static str, unit: &'static str, better: Better) -> Target {
    Target {
        group,
        name,
        unit,
        better,
        must: None,
        aim: None,
    }
}

use Better::{Less, More};

/// All rows, in the order in which they are printed.
pub(super) const TARGETS: &[Target] = &[
    row(
        "synthetic",
        "SQLite rebuild / naive sqlx",
        RATIO,
        More,
        20.0,
        35.0,
    ),
    row(
        "synthetic",
        "SQLite rebuild / read + parse",
        RATIO,
        More,
        0.9,
        1.3,
    ),
    row("synthetic", "SQLite rebuild", RATE, More, 700.0, 1_000.0),
    row(
        "synthetic",
        "SQLite sandbox cost: native / Wasm",
        RATIO,
        Less,
        1.4,
        1.15,
    ),
    shown("synthetic", "SQLite naive sqlx", RATE, More),
    shown("synthetic", "SQLite read + parse, one thread", RATE, More),
    shown("synthetic", "SQLite read + parse, five columns", RATE, More),
    shown(
        "synthetic",
        "SQLite rebuild / read + parse, five columns",
        RATIO,
        More,
    ),
    row(
        "synthetic",
        "PostgreSQL rebuild / naive sqlx",
        RATIO,
        More,
        35.0,
        60.0,
    ),
    row(
        "synthetic",
        "PostgreSQL rebuild / row trigger",
        RATIO,
        More,
        8.0,
        15.0,
    ),
    row(
        "synthetic",
        "PostgreSQL rebuild / set-based SQL",
        RATIO,
        More,
        1.4,
        2.5,
    ),
    shown(
        "synthetic",
        "PostgreSQL rebuild / set-based SQL, tuned",
        RATIO,
        More,
    ),
    shown("synthetic", "PostgreSQL rebuild / read + parse", RATIO, More),
    row(
        "synthetic",
        "PostgreSQL sandbox cost: native / Wasm",
        RATIO,
        Less,
        1.4,
        1.15,
    ),
    shown("synthetic", "PostgreSQL rebuild", RATE, More),
    shown("synthetic", "PostgreSQL naive sqlx", RATE, More),
    shown("synthetic", "PostgreSQL row trigger", RATE, More),
    shown("synthetic", "PostgreSQL set-based SQL", RATE, More),
    shown("synthetic", "PostgreSQL set-based SQL, tuned", RATE, More),
    shown("synthetic", "PostgreSQL read + parse, one thread", RATE, More),
    shown("synthetic", "PostgreSQL read + parse, five columns", RATE, More),
    shown(
        "synthetic",
        "PostgreSQL rebuild / read + parse, five columns",
        RATIO,
        More,
    ),
    // Half of the ratios above: here 94 % of the events read a row first.
    row(
        "retail",
        "retail: SQLite rebuild / naive sqlx",
        RATIO,
        More,
        10.0,
        17.5,
    ),
    row(
        "retail",
        "retail: SQLite rebuild / read + parse",
        RATIO,
        More,
        0.45,
        0.65,
    ),
    shown(
        "retail",
        "retail: SQLite sandbox cost: native / Wasm",
        RATIO,
        Less,
    ),
    shown(
        "retail",
        "retail: PostgreSQL sandbox cost: native / Wasm",
        RATIO,
        Less,
    ),
    shown("retail", "retail: SQLite rebuild", RATE, More),
    shown("retail", "retail: SQLite naive sqlx", RATE, More),
    shown("retail", "retail: SQLite read + parse, one thread", RATE, More),
    shown("retail", "retail: SQLite read + parse, five columns", RATE, More),
    shown(
        "retail",
        "retail: SQLite rebuild / read + parse, five columns",
        RATIO,
        More,
    ),
    row(
        "retail",
        "retail: PostgreSQL rebuild / naive sqlx",
        RATIO,
        More,
        17.5,
        30.0,
    ),
    row(
        "retail",
        "retail: PostgreSQL rebuild / row trigger",
        RATIO,
        More,
        4.0,
        7.5,
    ),
    row(
        "retail",
        "retail: PostgreSQL rebuild / set-based SQL",
        RATIO,
        More,
        0.7,
        1.25,
    ),
    shown(
        "retail",
        "retail: PostgreSQL rebuild / set-based SQL, tuned",
        RATIO,
        More,
    ),
    shown("retail", "retail: PostgreSQL rebuild / read + parse", RATIO, More),
    shown("retail", "retail: PostgreSQL rebuild", RATE, More),
    shown("retail", "retail: PostgreSQL naive sqlx", RATE, More),
    shown("retail", "retail: PostgreSQL row trigger", RATE, More),
    shown("retail", "retail: PostgreSQL set-based SQL", RATE, More),
    shown("retail", "retail: PostgreSQL set-based SQL, tuned", RATE, More),
    shown(
        "retail",
        "retail: PostgreSQL read + parse, one thread",
        RATE,
        More,
    ),
    shown(
        "retail",
        "retail: PostgreSQL read + parse, five columns",
        RATE,
        More,
    ),
    shown(
        "retail",
        "retail: PostgreSQL rebuild / read + parse, five columns",
        RATIO,
        More,
    ),
    row("live", "SQLite append to visible, p50", MS, Less, 0.5, 0.25),
    row("live", "SQLite append to visible, p99", MS, Less, 2.0, 0.6),
    shown("live", "SQLite append alone, p50", MS, Less),
    row("live", "PostgreSQL append to visible, p50", MS, Less, 1.0, 0.5),
    row("live", "PostgreSQL append to visible, p99", MS, Less, 5.0, 1.3),
    shown("live", "PostgreSQL append alone, p50", MS, Less),
    row(
        "appends",
        "SQLite appends, 64 appenders / 1",
        RATIO,
        More,
        10.0,
        25.0,
    ),
    shown("appends", "SQLite appends, 1 appender", APPENDS, More),
    shown("appends", "SQLite appends, 64 appenders", APPENDS, More),
    row(
        "appends",
        "PostgreSQL appends, 64 appenders / 1",
        RATIO,
        More,
        10.0,
        25.0,
    ),
    shown("appends", "PostgreSQL appends, 1 appender", APPENDS, More),
    shown("appends", "PostgreSQL appends, 64 appenders", APPENDS, More),
    row(
        "growth",
        "rebuild time, 10 M events / 1 M",
        RATIO,
        Less,
        11.0,
        10.3,
    ),
    row(
        "growth",
        "peak memory, 10 M events, cache budget 256 MiB",
        "MiB",
        Less,
        600.0,
        400.0,
    ),
    shown("growth", "SQLite rebuild of 10 M events", RATE, More),
    row(
        "start",
        "SQLite serve to first event, 5 plugins",
        MS,
        Less,
        150.0,
        50.0,
    ),
    row(
        "start",
        "PostgreSQL serve to first event, 5 plugins",
        MS,
        Less,
        150.0,
        50.0,
    ),
    row(
        "deploy",
        "SQLite file in place to building",
        MS,
        Less,
        500.0,
        150.0,
    ),
    row(
        "deploy",
        "PostgreSQL file in place to building",
        MS,
        Less,
        500.0,
        150.0,
    ),
    row(
        "beside",
        "SQLite p99 beside a rebuild / max(5 quiet p99, 50 ms)",
        RATIO,
        Less,
        1.0,
        1.0,
    ),
    shown("beside", "SQLite p99 beside a rebuild", MS, Less),
    row(
        "beside",
        "PostgreSQL p99 beside a rebuild / max(5 quiet p99, 50 ms)",
        RATIO,
        Less,
        1.0,
        1.0,
    ),
    shown("beside", "PostgreSQL p99 beside a rebuild", MS, Less),
    shown("peers", "peers: Emmett 0.42", RATE, More),
    shown("peers", "peers: Emmett 0.42, batches of 1,000", RATE, More),
    shown("peers", "peers: Python eventsourcing 9.5", RATE, More),
    shown("peers", "peers: Axon Framework 4.11", RATE, More),
    shown(
        "peers",
        "peers: Axon Framework 4.11, batches of 1,000",
        RATE,
        More,
    ),
    shown(
        "peers",
        "peers: Lamphouse on PostgreSQL / Emmett, batches of 1,000",
        RATIO,
        More,
    ),
    shown(
        "peers",
        "peers: Lamphouse on PostgreSQL / Python eventsourcing",
        RATIO,
        More,
    ),
    shown(
        "peers",
        "peers: Lamphouse on PostgreSQL / Axon, batches of 1,000",
        RATIO,
        More,
    ),
];
