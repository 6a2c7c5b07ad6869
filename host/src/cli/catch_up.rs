//! `lamphouse catch-up`: every projection to the head, then the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::output::Output;
use super::profile;
use super::progress::Progress;
use super::session::Session;
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::operator::{GenerationStatus, HostStatus, Operator, ProjectionStatus};

/// Between two looks at a running host.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Longer than a host takes to notice a new file in the plugin folder.
const LEVEL_TIME_MIN: Duration = Duration::from_millis(1_200);

/// Bring every projection level with the log, switch what is to be switched, and end
///
/// For scripts and CI. Fails when a projection stops at a fault or a plugin file is refused. Where a host is running,
/// waits until that one is level.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse import events.jsonl.zst && lamphouse catch-up && lamphouse query 'SELECT count(*) FROM orders'")]
pub(super) struct CatchUp {
    /// Also print where the time went: by stage, an event, and what was done to rows
    #[arg(long)]
    profile: bool,
}

impl CatchUp {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let mut progress = Progress::new("catch-up", "events");
        let mut show = |status: &HostStatus| {
            let (share, text) = moment(status);
            progress.at_text(share, &text);
        };
        let status = match session.reach_to_catch_up()? {
            Ok(remote) => wait(&remote, &mut show)?,
            Err(host) => {
                let status = host.run_until_caught_up(&mut show);
                host.stop();
                status?
            }
        };
        drop(progress);
        if out.json {
            return out.document(&status);
        }
        if status.projections.is_empty() {
            return out.line("there is no projection; nothing was to be done");
        }
        for projection in &status.projections {
            let name = plain(&projection.name);
            let Some(live) = &projection.live else {
                out.line(format!(
                    "{name}: {} {}",
                    plain(&projection.state),
                    plain_lines(&projection.message)
                ))?;
                continue;
            };
            let at = units::count(live.checkpoint);
            let lacks = match &projection.incomplete {
                Some(lacks) => format!(", but incomplete: {}", plain(lacks)),
                None => String::new(),
            };
            out.line(format!(
                "{name} {} is level at position {at}{lacks}",
                plain(&live.version)
            ))?;
            if projection.state == "waiting" {
                out.line(format!("{name}: {}", plain_lines(&projection.message)))?;
            }
        }
        if self.profile {
            profile::lines(&status, out.width(), out.style)
                .into_iter()
                .try_for_each(|line| out.line(line))?;
        }
        Ok(())
    }
}

/// Waits until a running host is level with the head that the log has now.
fn wait(host: &dyn Operator, show: &mut dyn FnMut(&HostStatus)) -> Result<HostStatus> {
    let head = host.status()?.log.head;
    let mut level_since = None;
    loop {
        let status = host.status()?;
        show(&status);
        // A plugin file that was put there just now is not seen yet: it must be level for a while.
        level_since = is_level(&status, head)?.then(|| level_since.unwrap_or_else(Instant::now));
        if level_since.is_some_and(|since: Instant| since.elapsed() >= LEVEL_TIME_MIN) {
            return Ok(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether nothing is to be done up to `head`; an error when something cannot get there.
fn is_level(status: &HostStatus, head: u64) -> Result<bool> {
    let running = || {
        status
            .projections
            .iter()
            .filter(|projection| !["paused", "removed"].contains(&&*projection.state))
    };
    let stopped = running().filter(|projection| ["faulted", "diverged"].contains(&&*projection.state));
    let refused = status.files.iter().filter(|file| file.state == "refused");
    let wrong: Vec<String> = stopped
        .map(|projection| format!("{}: {}", projection.name, projection.message))
        .chain(refused.map(|file| format!("{}: {}", file.file, file.message)))
        .collect();
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    let settling = status.files.iter().any(|file| file.state == "settling");
    // One that waits for a person's cutover is as level as it gets.
    let level = |projection: &ProjectionStatus| {
        let waits = projection.state == "waiting" || projection.state == "live";
        waits
            && projection
                .live
                .as_ref()
                .is_some_and(|live| live.checkpoint >= head)
    };
    Ok(!settling && running().all(level))
}

/// How far the generation is that is furthest behind.
fn moment(status: &HostStatus) -> (Option<f64>, String) {
    let moving =
        |generation: &&GenerationStatus| ["live", "building", "ready"].contains(&generation.state.as_str());
    let all = status.projections.iter().flat_map(|projection| {
        let generations = projection.live.iter().chain(&projection.others).filter(moving);
        generations.map(move |generation| (&projection.name, generation))
    });
    let Some((name, last)) = all.min_by_key(|(_, generation)| generation.checkpoint) else {
        return (None, "looking at the plugin folder".to_owned());
    };
    let head = status.log.head;
    let mut parts = vec![
        format!("{} g{}", plain(name), last.generation),
        format!(
            "{} of {} events",
            units::count(last.checkpoint),
            units::count(head)
        ),
    ];
    parts.extend(last.events_per_second.map(units::rate));
    parts.extend(
        last.time_left_ms
            .map(|ms| format!("{} left", units::duration(ms))),
    );
    (
        Some(last.checkpoint as f64 / head.max(1) as f64),
        parts.join(" · "),
    )
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{generation, projection, status};
    use super::*;

    #[test]
    fn the_one_furthest_behind_is_shown() {
        let level = projection("level", "live", Some(generation(1, "1.0.0", "live", 567_806)));
        let mut behind = projection(
            "behind",
            "building",
            Some(generation(2, "1.0.0", "live", 567_806)),
        );
        behind.others.push(generation(3, "1.1.0", "building", 283_903));
        behind.others.push(generation(1, "0.9.0", "retired", 10));
        let (share, text) = moment(&status(vec![level, behind]));
        assert_eq!(
            (share, text.as_str()),
            (Some(0.5), "behind g3 · 283,903 of 567,806 events")
        );
        assert_eq!(moment(&status(Vec::new())).0, None);
    }

    #[test]
    fn level_is_when_nothing_moves_and_nothing_is_wrong() {
        let with = |state: &str, checkpoint| {
            status(vec![projection(
                "orders",
                state,
                Some(generation(1, "1.0.0", "live", checkpoint)),
            )])
        };
        assert!(is_level(&with("live", 567_806), 567_806).expect("nothing is wrong"));
        assert!(is_level(&with("live", 567_000), 567_000).expect("what came since does not count"));
        assert!(!is_level(&with("live", 566_999), 567_000).expect("nothing is wrong"));
        assert!(!is_level(&with("building", 567_806), 567_806).expect("nothing is wrong"));
        assert!(is_level(&with("paused", 7), 567_806).expect("a pause is wanted"));
        assert!(is_level(&with("faulted", 567_806), 567_806).is_err());
    }
}
