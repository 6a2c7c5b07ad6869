//! A host's own times: from its start to the first event projected, and from a file in place to a new generation.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lamphouse::api::{RemoteOperator, Token};
use lamphouse::deploy::operator::{HostStatus, Operator as _, ProjectionStatus};
use serde::Serialize;

use crate::live::Watch;
use crate::project::{Project, append, order};

/// Longest wait for a host.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at a host's status.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// Milliseconds.
#[derive(Serialize)]
pub(crate) struct Time {
    ms: f64,
}

/// Appends an order, starts `serve`, and waits until every one of these tables has the order's row; then ends the host.
/// Fails unless that many projections run.
pub(crate) fn start(host: &Path, folder: &Path, tables: &[String]) -> Result<Time> {
    let project = Project::open(folder)?;
    let mut watch = Watch::new(project.tables()?);
    let stream = format!("start-{}", std::process::id());
    append(&*project.log, &stream, "OrderPlaced", order())?;
    let statements: Vec<&'static str> = tables
        .iter()
        .map(|table| {
            // Few and short; a statement that stays prepared is known by its text.
            let sql = format!("SELECT CAST(1 AS BIGINT) FROM {table} WHERE order_id = $1");
            &*Box::leak(sql.into_boxed_str())
        })
        .collect();
    let began = Instant::now();
    let mut serving = Command::new(host)
        .arg("--project")
        .arg(folder)
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the host cannot be started")?;
    let seen = statements
        .iter()
        .try_for_each(|statement| watch.until_at_least(statement, &stream, 1).map(drop));
    let ms = began.elapsed().as_secs_f64() * 1_000.0;
    end(&mut serving)?;
    seen?;
    Ok(Time { ms })
}

fn end(serving: &mut Child) -> Result<()> {
    let told = Command::new("kill")
        .args(["-TERM", &serving.id().to_string()])
        .status()
        .context("kill cannot be run")?;
    ensure!(told.success(), "the host had ended before");
    let ended = serving.wait().context("the host cannot be waited for")?;
    ensure!(ended.success(), "the host ended with {ended}");
    Ok(())
}

/// Puts `file` in the place of a running host's plugin and waits until its status shows the new version being built;
/// after that, until it is live.
pub(crate) fn deploy(folder: &Path, file: &Path, projection: &str, version: &str) -> Result<Time> {
    let project = Project::open(folder)?;
    let token = Token::load(&project.config.data)?;
    let host = RemoteOperator::new(&project.config.listen, token);
    let target = project.config.plugins.join(format!("{projection}.wasm"));
    // Written elsewhere and moved, as tools that deploy do.
    let beside = folder.join("to-be-deployed.wasm");
    std::fs::copy(file, &beside).with_context(|| format!("cannot copy {}", file.display()))?;
    let began = Instant::now();
    std::fs::rename(&beside, &target).with_context(|| format!("cannot write {}", target.display()))?;
    let known = |status: &HostStatus| of(status, projection).is_some_and(|one| is_there(one, version));
    wait("a new generation", &host, known)?;
    let ms = began.elapsed().as_secs_f64() * 1_000.0;
    let live = |status: &HostStatus| {
        let one = of(status, projection).and_then(|one| one.live.as_ref());
        one.is_some_and(|live| live.version == version)
    };
    wait("the new version to be live", &host, live)?;
    Ok(Time { ms })
}

fn of<'a>(status: &'a HostStatus, projection: &str) -> Option<&'a ProjectionStatus> {
    status.projections.iter().find(|one| one.name == projection)
}

/// Whether a generation of this version is there, being built or further.
fn is_there(projection: &ProjectionStatus, version: &str) -> bool {
    let mut all = projection.live.iter().chain(&projection.others);
    all.any(|one| one.version == version)
}

fn wait(for_what: &str, host: &RemoteOperator, good: impl Fn(&HostStatus) -> bool) -> Result<()> {
    let began = Instant::now();
    loop {
        match host.status() {
            Ok(status) if good(&status) => return Ok(()),
            Ok(_) => {}
            Err(error) => bail!("the host does not answer: {error}"),
        }
        if began.elapsed() > WAIT_MAX {
            bail!("waited {WAIT_MAX:?} for {for_what}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
