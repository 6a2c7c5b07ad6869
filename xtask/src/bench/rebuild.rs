//! `cargo xtask bench rebuild`: how fast tables are rebuilt, against a naive native projector, in one table.

mod memory;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::{generate, guests, paths};

use super::project::{On, configure, head, lamphouse, path, start_postgres, timed};
use report::{Measured, Way};

/// Events that the naive projector is given: it is too slow for more.
const NAIVE_EVENTS: usize = 100_000;

#[derive(clap::Args)]
pub(crate) struct Rebuild {
    /// Runs of each; the medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// The log, as JSON Lines compressed with zstd [default: the real shop's beside the repository, else a generated one]
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Also the peak memory of the host on a log of 5,000,000 generated events whose tables do not fit the cache
    #[arg(long)]
    memory: bool,
}

pub(crate) fn run(arguments: &Rebuild) -> Result<bool> {
    build()?;
    let folder = std::env::temp_dir().join(format!("lamphouse-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let done = measure(arguments, &folder);
    // The figures are what counts; a folder that cannot be removed is only untidy.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

fn build() -> Result<()> {
    paths::build_host()?;
    guests::run(&guests::Options {
        only: vec!["order-summary".to_owned()],
        quiet: true,
    })?;
    paths::build("naive-projector")?;
    Ok(())
}

fn measure(arguments: &Rebuild, folder: &Path) -> Result<bool> {
    let (file, source) = match (&arguments.events, paths::real_data("online_retail.jsonl.zst")) {
        (Some(file), _) => (file.clone(), file.display().to_string()),
        (None, Some(real)) => (real, "Online Retail".to_owned()),
        (None, None) => {
            let file = folder.join("generated.jsonl.zst");
            generate::write_file(
                generate::Plan {
                    events: 567_806,
                    seed: 7,
                },
                &file,
            )?;
            (file, "a generated log (the real one is absent)".to_owned())
        }
    };
    let server = start_postgres()?;
    let mut measured = Measured::new(source);
    let mut places = vec![("SQLite", On::Sqlite)];
    if let Some(server) = &server {
        places.push(("PostgreSQL", On::Postgres(server)));
    } else {
        println!("NOTE: no PostgreSQL server binaries are installed; its column is left out");
    }
    for (name, place) in &places {
        let project = folder.join(name);
        std::fs::create_dir_all(project.join("plugins"))?;
        let log = place.database("log")?;
        configure(&project, &log, &place.database("first")?, "")?;
        lamphouse(&project, &["import", path(&file)?])?;
        std::fs::copy(
            paths::guest("order-summary-1.0.0")?,
            project.join("plugins/order-summary.wasm"),
        )?;
        let events = head(&project)?;
        // Compiles the plugin, once for all runs.
        lamphouse(&project, &["catch-up"])?;
        for run in 0..arguments.runs {
            // One after the other, so that a noisy minute hits all.
            configure(&project, &log, &place.database(&format!("run_{run}"))?, "")?;
            let seconds = timed(&project, events, &[&["catch-up"]])?;
            measured.add(name, Way::FromEmpty, events as f64 / seconds);
            // Without a host, the first command may do a part of the work or all of it: both are timed.
            let seconds = timed(&project, events, &[&["rebuild", "order-summary"], &["catch-up"]])?;
            measured.add(name, Way::BesideLive, events as f64 / seconds);
            measured.add(name, Way::Naive, naive(place, folder, &file, run)?);
        }
    }
    measured.print();
    if arguments.memory {
        memory::measure(folder)?;
    }
    Ok(measured.good())
}

/// Events a second of the naive projector.
fn naive(place: &On<'_>, folder: &Path, events: &Path, run: u64) -> Result<f64> {
    let database = match place {
        On::Sqlite => path(&folder.join(format!("naive-{run}.db")))?.to_owned(),
        On::Postgres(server) => server.new_database(&format!("naive_{run}"))?,
    };
    let output = Command::new(paths::profile_dir().join("naive-projector"))
        .args([
            "--database",
            &database,
            "--events",
            path(events)?,
            "--limit",
            &NAIVE_EVENTS.to_string(),
        ])
        .output()
        .context("cannot run the naive projector")?;
    ensure!(
        output.status.success(),
        "the naive projector failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("the naive projector gave no JSON")?;
    let number = |name: &str| {
        said[name]
            .as_f64()
            .with_context(|| format!("the naive projector gave no {name}"))
    };
    Ok(number("events")? / number("seconds")?)
}
