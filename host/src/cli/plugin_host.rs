//! `lamphouse plugin push`, `list` and `remove`: the plugin folder of a running host.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use super::UsageError;
use super::interrupt::Interrupt;
use super::operate::{LOOK_EVERY, Look, look};
use super::output::{Output, Style};
use super::place::Place;
use super::progress::Progress;
use super::table::{Cell, Look as Paint, lay_out, plain, plain_lines};
use crate::api::{Push as Pushed, RemoteOperator};
use crate::core::{PluginDigest, PluginName};
use crate::deploy::operator::{HostStatus, Operator, Verb};
use crate::deploy::plugins::{Condition, Installed, PluginStatus};

/// How long a host may take to see a file that was put into its folder.
const SEEN_TIME_MAX: Duration = Duration::from_secs(60);

/// Deploy a plugin file to a running host, and wait until it is live
///
/// The host checks it as 'plugin check' and the plugin folder do, and puts it into its plugin folder; what may not be
/// deployed changes nothing. Works on the running host of the project, or with --url on any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse plugin push build/orders.wasm
  lamphouse plugin push build/orders.wasm --name orders --reason 'totals with tax, TICKET-17' --url https://lamp.example:7117
  lamphouse plugin push build/orders.wasm --if-digest \"$(lamphouse plugin list --json | jq -r '.plugins[0].digest')\"")]
pub(super) struct Push {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the file in the plugin folder, without .wasm [default: as FILE is named, with - for _]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only in place of a file of this digest; 'none' where there must be no file yet
    #[arg(long, value_name = "DIGEST")]
    if_digest: Option<String>,
    /// Why; goes on record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return as soon as the host has taken it
    #[arg(long)]
    no_wait: bool,
}

/// List the plugins of a running host: the files of its plugin folder, and what is deployed without one
#[derive(Debug, clap::Args)]
pub(super) struct List {}

/// Remove a plugin file from a running host; its projection stops, and its tables stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse plugin remove order-summary --reason 'replaced by order-totals'")]
pub(super) struct Remove {
    /// Name of the file in the plugin folder, without .wasm
    #[arg(value_name = "NAME")]
    name: String,
    /// Only a file of this digest
    #[arg(long, value_name = "DIGEST")]
    if_digest: Option<String>,
    /// Why; goes on record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What `push --json` prints.
#[derive(Serialize)]
struct PushedAnswer<'a> {
    #[serde(flatten)]
    installed: &'a Installed,
    /// Whether it is live; else it goes on.
    done: bool,
}

/// What `list --json` prints.
#[derive(Serialize)]
struct Listed {
    plugins: Vec<PluginStatus>,
}

impl Push {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
                stem.replace('_', "-")
            }
        };
        let name = PluginName::new(&name)
            .map_err(|why| UsageError(format!("the file cannot be named so: {why}; give another --name")))?;
        let condition = condition(self.if_digest.as_deref())?;
        let bytes =
            std::fs::read(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
        let operator = place.running()?;
        let push = Pushed {
            name: &name,
            bytes: &bytes,
            reason: self.reason.as_deref(),
        };
        let mut installed = operator.push(push, &condition)?;
        let mut done = installed.state == "deployed";
        if installed.state == "deploying" && !self.no_wait {
            installed.message = wait(&operator, &installed, place)?;
            "deployed".clone_into(&mut installed.state);
            done = true;
        }
        if out.json {
            return out.document(&PushedAnswer {
                installed: &installed,
                done,
            });
        }
        out.line(plain_lines(&installed.message))
    }
}

/// Waits until what was pushed is live, or cannot be.
fn wait(operator: &RemoteOperator, installed: &Installed, place: &Place) -> Result<String> {
    let advice =
        "no longer waiting; the host goes on, and 'lamphouse status' shows how (Ctrl-C again ends at once)";
    let interrupt = Interrupt::listen(place.runtime(), advice);
    let mut progress = Progress::new(installed.plugin.clone(), "events");
    let began = std::time::Instant::now();
    loop {
        let status = operator.status()?;
        match stands(&status, installed) {
            Look::Done(message) => return Ok(message),
            Look::Failed(message) => return Err(anyhow!(message)),
            Look::Going { share, text } => {
                if share.is_none() && began.elapsed() > SEEN_TIME_MAX {
                    bail!(
                        "{} is in the plugin folder, and the host has not begun with it ({text}); 'lamphouse status' \
                         says how it stands",
                        installed.file
                    );
                }
                progress.at_text(share, &text);
            }
        }
        if interrupt.is_set() {
            bail!("interrupted; {}", installed.message);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// How what was pushed stands.
fn stands(status: &HostStatus, installed: &Installed) -> Look {
    let going = |text: &str| Look::Going {
        share: None,
        text: text.to_owned(),
    };
    let Some(file) = status.files.iter().find(|file| file.file == installed.file) else {
        return going("the host looks at it");
    };
    if file.digest.as_ref() != Some(&installed.digest) {
        return match file.state.as_str() {
            "settling" => going("the host looks at it"),
            "refused" => Look::Failed(file.message.clone()),
            _ => Look::Failed(format!(
                "{} was replaced in the meantime by {} (digest {})",
                file.file,
                file.version.as_deref().unwrap_or("another file"),
                file.digest.as_deref().unwrap_or("not known")
            )),
        };
    }
    match (file.state.as_str(), installed.kind.as_str()) {
        ("settling", _) => going("the host looks at it"),
        ("refused", _) => Look::Failed(file.message.clone()),
        ("held", _) => Look::Done(file.message.clone()),
        (_, "upcaster") => {
            let concerned = match installed.projections.as_slice() {
                [] => "no projection takes what it gives".to_owned(),
                names => format!(
                    "{} {} built anew with it",
                    names.join(", "),
                    if names.len() == 1 { "is" } else { "are" }
                ),
            };
            Look::Done(format!(
                "{} {} is deployed; {concerned}",
                installed.plugin, installed.version
            ))
        }
        _ => {
            let projection = status.projections.iter().find(|one| one.name == installed.plugin);
            let generations = projection
                .iter()
                .flat_map(|one| one.live.iter().chain(&one.others));
            // The newest of these bytes; an older one may have been retired.
            let ours = generations.filter(|one| one.digest == installed.digest && one.state != "retired");
            match ours.map(|one| one.generation).max() {
                Some(generation) => look(status, &installed.plugin, &Verb::Rebuild, Some(generation)),
                None => going("the host begins with it"),
            }
        }
    }
}

impl List {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let plugins = place.running()?.plugins()?;
        if out.json {
            return out.document(&Listed { plugins });
        }
        if plugins.is_empty() {
            return out.line("no plugin yet: 'lamphouse plugin push FILE' deploys one");
        }
        render(&plugins, out.width(), out.style)
            .iter()
            .try_for_each(|line| out.line(line))
    }
}

fn render(plugins: &[PluginStatus], width: Option<usize>, style: Style) -> Vec<String> {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows: Vec<Vec<Cell>> = plugins
        .iter()
        .map(|plugin| {
            let look = match plugin.state.as_str() {
                "deployed" => Paint::Good,
                "refused" => Paint::Bad,
                _ => Paint::Busy,
            };
            let digest = or_empty(&plugin.digest).chars().take(12).collect::<String>();
            vec![
                Cell::text(&plugin.name).look(Paint::Bold),
                Cell::text(&plugin.state).look(look),
                Cell::text(or_empty(&plugin.kind)),
                Cell::text(or_empty(&plugin.version)),
                Cell::text(digest).look(Paint::Dim),
                Cell::text(plugin.projections.join(", ")),
            ]
        })
        .collect();
    let headings = ["plugin", "state", "kind", "version", "digest", "projections"];
    let mut lines = lay_out(&headings, &rows, width, style);
    let wrong = plugins
        .iter()
        .filter(|plugin| plugin.state == "refused" || plugin.state == "held");
    lines.extend(wrong.map(|plugin| {
        style.bad(&format!(
            "{}: {}",
            plain(&plugin.name),
            plain_lines(&plugin.message)
        ))
    }));
    lines
}

impl Remove {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let condition = condition(self.if_digest.as_deref())?;
        if condition == Condition::Absent {
            bail!(UsageError(
                "what is not there cannot be removed: give a digest".to_owned()
            ));
        }
        let operator = place.running()?;
        let removed = operator.remove(&self.name, self.reason.as_deref(), &condition)?;
        if out.json {
            return out.document(&removed);
        }
        out.line(plain_lines(&removed.message))
    }
}

fn condition(if_digest: Option<&str>) -> Result<Condition> {
    match if_digest {
        None => Ok(Condition::None),
        Some("none") => Ok(Condition::Absent),
        Some(text) => match PluginDigest::parse(text) {
            Some(digest) => Ok(Condition::OneOf(vec![digest])),
            None => bail!(UsageError(format!(
                "--if-digest takes the 64 hexadecimal digits of a digest ({}'lamphouse plugin list --json' shows them), or \
                 'none'",
                if text.len() == 12 {
                    "not the 12 that are shown; "
                } else {
                    ""
                }
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{generation, projection, status};
    use super::*;
    use crate::deploy::operator::FileStatus;

    fn pushed() -> Installed {
        Installed {
            name: "orders".to_owned(),
            file: "orders.wasm".to_owned(),
            kind: "projector".to_owned(),
            plugin: "orders".to_owned(),
            version: "2.0.0".to_owned(),
            digest: "cd".repeat(32),
            bytes: 7,
            state: "deploying".to_owned(),
            message: String::new(),
            projections: vec!["orders".to_owned()],
        }
    }

    fn file(state: &str, digest: Option<&str>) -> FileStatus {
        FileStatus {
            file: "orders.wasm".to_owned(),
            kind: None,
            state: state.to_owned(),
            plugin: None,
            version: Some("2.0.0".to_owned()),
            digest: digest.map(|digest| digest.repeat(32)),
            message: "it is as it is".to_owned(),
        }
    }

    #[test]
    fn a_push_is_done_when_its_bytes_are_live() {
        let old = generation(3, "1.0.0", "live", 567_806);
        let mut new = generation(4, "2.0.0", "building", 283_903);
        new.digest = "cd".repeat(32);
        let mut orders = projection("orders", "building", Some(old.clone()));
        let mut all = status(vec![orders.clone()]);
        let told = |all: &HostStatus| stands(all, &pushed());
        assert!(
            matches!(told(&all), Look::Going { share: None, .. }),
            "not seen yet"
        );
        all.files = vec![file("settling", None)];
        assert!(matches!(told(&all), Look::Going { share: None, .. }));
        all.files = vec![file("deployed", Some("cd"))];
        assert!(
            matches!(told(&all), Look::Going { share: None, .. }),
            "no generation yet"
        );
        orders.others = vec![new.clone()];
        all.projections = vec![orders.clone()];
        assert!(matches!(told(&all), Look::Going { share: Some(_), .. }));
        new.state = "live".to_owned();
        orders.live = Some(new);
        orders.others = Vec::new();
        all.projections = vec![orders];
        assert!(matches!(told(&all), Look::Done(text) if text.contains("g4")));
    }

    #[test]
    fn what_is_refused_or_replaced_ends_the_wait() {
        let mut all = status(Vec::new());
        all.files = vec![file("refused", None)];
        assert_eq!(stands(&all, &pushed()), Look::Failed("it is as it is".to_owned()));
        all.files = vec![file("deployed", Some("ef"))];
        assert!(
            matches!(stands(&all, &pushed()), Look::Failed(text) if text.contains("replaced in the meantime"))
        );
        all.files = vec![file("held", Some("cd"))];
        assert_eq!(stands(&all, &pushed()), Look::Done("it is as it is".to_owned()));
    }
}
