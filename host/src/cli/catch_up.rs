//! `lamphouse catch-up`: every projection to the head, then the end.

use anyhow::Result;

use super::output::Output;
use super::progress::Progress;
use super::session::Session;
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::operator::{GenerationStatus, HostStatus};

/// Bring every projection level with the log, switch what is to be switched, and end
///
/// For scripts and CI. Fails when a projection stops at a fault or a plugin file is refused. Where a host is running,
/// waits until that one is level.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse import events.jsonl.zst && lamphouse catch-up && lamphouse query 'SELECT count(*) FROM orders'")]
pub(super) struct CatchUp {}

impl CatchUp {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let mut progress = Progress::new("catch-up", "events");
        let status = session.catch_up(&mut |status| {
            let (share, text) = moment(status);
            progress.at_text(share, &text);
        })?;
        drop(progress);
        if out.json {
            return out.document(&status);
        }
        if status.projections.is_empty() {
            return out.line("there is no projection; nothing was to be done");
        }
        status.projections.iter().try_for_each(|projection| {
            let name = plain(&projection.name);
            let Some(live) = &projection.live else {
                return out.line(format!(
                    "{name}: {} {}",
                    plain(&projection.state),
                    plain_lines(&projection.message)
                ));
            };
            let at = units::count(live.checkpoint);
            out.line(format!(
                "{name} {} is level at position {at}",
                plain(&live.version)
            ))
        })
    }
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
}
