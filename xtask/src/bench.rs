//! `cargo xtask bench`: every target of speed, measured, in one table.
//!
//! Each figure is a median over runs. Whatever is compared takes its turns in the same minutes, so that a noisy one
//! hits all, and a ratio is made of figures of the same run. What each row means: `docs/PERFORMANCE.md`.

mod appends;
mod growth;
mod host;
mod languages;
mod live;
mod machine;
mod peers;
mod probe;
mod project;
mod rebuild;
mod rebuilds;
mod report;
mod stage;
mod targets;
mod workload;

use anyhow::Result;

use report::Report;
use stage::Stage;
use workload::Kind;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Subcommand)]
enum What {
    /// Rebuild order-summary on SQLite and PostgreSQL, against a naive native projector
    Rebuild(rebuild::Rebuild),
    /// The retail rebuilds, and what people use instead, each on the same log and in the same run
    Peers(Options),
    /// What a plugin costs in each language: an event, a fresh instance, its file, compiling it
    Languages(Options),
}

#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// Runs of each; medians, least and most are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Events of the synthetic log
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    events: u64,
    /// Only rows whose group or name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Small logs and few runs: to see that it works
    #[arg(long, conflicts_with_all = ["runs", "events"])]
    quick: bool,
    /// Also 10,000,000 events, which takes some minutes and 15 GB of disk
    #[arg(long)]
    long: bool,
    /// Keep the project folders, and say where they are
    #[arg(long)]
    keep: bool,
}

impl Options {
    fn settled(&self) -> Self {
        let mut settled = self.clone();
        if self.quick {
            (settled.runs, settled.events) = (2, 100_000);
        }
        settled
    }
}

pub(crate) fn run(bench: &Bench) -> Result<bool> {
    match &bench.what {
        Some(What::Rebuild(arguments)) => rebuild::run(arguments),
        Some(What::Peers(options)) => one_part(&options.settled(), "peers.json", peers::measure),
        Some(What::Languages(options)) => one_part(&options.settled(), "languages.json", languages::measure),
        None => table(&bench.options.settled()),
    }
}

type Part = fn(&Stage, &Options, &mut Report) -> Result<()>;

/// One part with a table and a file of its own.
fn one_part(options: &Options, file: &str, measure: Part) -> Result<bool> {
    let stage = Stage::set(options)?;
    let mut report = Report::new(options.only.clone());
    report.heading = machine::describe(&stage)?;
    println!("{}", report.heading);
    measure(&stage, options, &mut report)?;
    report.print();
    report.save(&stage.results(file))?;
    Ok(report.holds())
}

fn table(options: &Options) -> Result<bool> {
    let stage = Stage::set(options)?;
    let mut report = Report::new(options.only.clone());
    report.heading = machine::describe(&stage)?;
    println!("{}", report.heading);
    for kind in [Kind::Synthetic, Kind::Retail] {
        if report.wants(rebuilds::group(kind)) {
            rebuilds::measure(&stage, kind, options, &mut report)?;
        }
    }
    let parts: [(&str, Part); 5] = [
        ("live", live::measure),
        ("appends", appends::measure),
        ("start", host::measure_start),
        ("deploy", host::measure_deploy),
        ("beside", live::measure_beside),
    ];
    for (group, measure) in parts {
        if report.wants(group) {
            measure(&stage, options, &mut report)?;
        }
    }
    if report.wants("growth") {
        if options.long {
            growth::measure(&stage, options, &mut report)?;
        } else {
            println!("\nNOTE: the rows of 10,000,000 events are left out; give --long");
        }
    }
    report.print();
    report.save(&stage.results("results.json"))?;
    Ok(report.holds())
}
