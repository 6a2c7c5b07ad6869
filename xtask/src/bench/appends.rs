//! Durable single-event appends: 64 appenders in one process against one.

use anyhow::Result;

use super::project::{configure, path};
use super::report::Report;
use super::stage::Stage;
use super::{Options, probe};

const APPENDERS: u64 = 64;

pub(super) fn measure(stage: &Stage, options: &Options, report: &mut Report) -> Result<()> {
    println!("\ndurable appends of one event each");
    let seconds = if options.quick { "1" } else { "4" };
    let mut projects = Vec::new();
    for on in stage.places() {
        let project = stage.project(&format!("appends-{}", on.word()))?;
        let log = on.database("appends_log")?;
        configure(&project, &log, &on.database("appends_tables")?, "")?;
        projects.push((on, project));
    }
    for _ in 0..options.runs {
        for (on, project) in &projects {
            let rate = |writers: u64| -> Result<f64> {
                let answer = probe::rate(&[
                    "appends",
                    "--project",
                    path(project)?,
                    "--writers",
                    &writers.to_string(),
                    "--seconds",
                    seconds,
                ])?;
                Ok(answer * 1_000.0)
            };
            let (one, many) = (rate(1)?, rate(APPENDERS)?);
            let name = on.name();
            println!("   {name}: 1 appender {one:.0} a second, {APPENDERS} appenders {many:.0}");
            report.add(&format!("{name} appends, 1 appender"), one);
            report.add(&format!("{name} appends, 64 appenders"), many);
            report.add(&format!("{name} appends, 64 appenders / 1"), many / one);
        }
    }
    Ok(())
}
