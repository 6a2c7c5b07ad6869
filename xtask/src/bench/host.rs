//! A host's own times: its start with five plugins, and a deploy while it runs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use xtask::paths;

use super::project::{Serving, configure, install, lamphouse, listening, path};
use super::report::Report;
use super::stage::Stage;
use super::workload::{Kind, Workload};
use super::{Options, probe};

/// The projectors of the cold start, with a table of each that an order is seen in.
const PLUGINS: [(&str, &str, &str); 5] = [
    ("shop-orders", "shop-orders", "shop_orders"),
    ("shop-orders-b", "shop-orders-b", "shop_orders_b"),
    ("shop-orders-c", "shop-orders-c", "shop_orders_c"),
    ("order-summary-1.0.0", "order-summary", "orders"),
    ("customer-names-1.0.0", "customer-names", "order_names"),
];
/// The version in the compiled file, in whose place others are written.
const VERSION: &str = "1.0.100001";
/// Events of the log beside which is deployed: enough for a build that takes a while.
const DEPLOY_EVENTS: u64 = 100_000;

/// Rows "start".
pub(super) fn measure_start(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    println!(
        "\ncold start: `serve` until an event is in the tables of all {} plugins",
        PLUGINS.len()
    );
    let mut projects = Vec::new();
    for on in stage.places() {
        let project = stage.project(&format!("start-{}", on.word()))?;
        let log = on.database("start_log")?;
        configure(&project, &log, &on.database("start_tables")?, &listening()?)?;
        for (guest, projection, _) in PLUGINS {
            install(&project, guest, projection)?;
        }
        let event = r#"{"customer_id":"somebody","country":"Norway"}"#;
        lamphouse(
            &project,
            &[
                "append",
                "--stream",
                "order-1",
                "--stream-type",
                "order",
                "--type",
                "OrderPlaced",
                "--data",
                event,
                "--reason",
                "The first of the benchmark",
            ],
        )?;
        // Compiles the plugins and makes their tables.
        lamphouse(&project, &["catch-up"])?;
        projects.push((on, project));
    }
    let tables = PLUGINS.map(|(_, _, table)| table).join(",");
    for _ in 0..options.runs {
        for (on, project) in &projects {
            let ms = ms(&[
                "start",
                "--host",
                path(&paths::host())?,
                "--project",
                path(project)?,
                "--tables",
                &tables,
            ])?;
            println!("   {}: {ms:.0} ms", on.name());
            report.add(&format!("{} serve to first event, 5 plugins", on.name()), ms);
        }
    }
    Ok(())
}

/// Rows "deploy".
pub(super) fn measure_deploy(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    println!("\ndeploy: a new version's file in place until its generation is in the status");
    let mut small = options.clone();
    small.events = small.events.min(DEPLOY_EVENTS);
    let folder = stage.project("deploy")?;
    let workload = Workload::new(Kind::Synthetic, &small, &folder)?;
    let mut hosts = Vec::new();
    for on in stage.places() {
        let project = stage.project(&format!("deploy-{}", on.word()))?;
        let log = on.database("deploy_log")?;
        configure(&project, &log, &on.database("deploy_tables")?, &listening()?)?;
        lamphouse(&project, &["import", path(&workload.file)?])?;
        install(&project, Kind::Synthetic.guest(), "shop-orders")?;
        let serving = Serving::start(&project)?;
        hosts.push((on, project, serving));
    }
    for run in 0..options.runs {
        let version = format!("1.0.{}", 100_002 + run);
        let file = folder.join(format!("{version}.wasm"));
        write_version(&paths::guest(Kind::Synthetic.guest())?, &version, &file)?;
        for (on, project, _) in &hosts {
            let ms = ms(&[
                "deploy",
                "--project",
                path(project)?,
                "--file",
                path(&file)?,
                "--projection",
                "shop-orders",
                "--version",
                &version,
            ])?;
            println!("   {}: {ms:.0} ms", on.name());
            report.add(&format!("{} file in place to building", on.name()), ms);
        }
    }
    Ok(())
}

fn ms(arguments: &[&str]) -> Result<f64> {
    let answer = probe::ask(arguments)?;
    answer["ms"]
        .as_f64()
        .with_context(|| format!("no time in {answer}"))
}

/// The same plugin with another version, of the same size: other digits in the compiled file.
fn write_version(plugin: &Path, version: &str, target: &Path) -> Result<()> {
    let mut bytes = std::fs::read(plugin).with_context(|| format!("cannot read {}", plugin.display()))?;
    let places: Vec<usize> = bytes
        .windows(VERSION.len())
        .enumerate()
        .filter_map(|(place, window)| (window == VERSION.as_bytes()).then_some(place))
        .collect();
    let [place] = places[..] else {
        bail!(
            "version {VERSION} is {} times in {}",
            places.len(),
            plugin.display()
        );
    };
    bytes[place..place + VERSION.len()].copy_from_slice(version.as_bytes());
    std::fs::write(target, bytes).with_context(|| format!("cannot write {}", target.display()))
}
