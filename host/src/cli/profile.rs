//! `catch-up --profile`: where the time went, for a person.

use super::output::Style;
use super::table::{Cell, lay_out, plain};
use super::units;
use crate::deploy::operator::HostStatus;
use crate::projection::Profile;

/// A block of lines for each generation that did something.
pub(super) fn lines(status: &HostStatus, width: Option<usize>, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for projection in &status.projections {
        for generation in projection.live.iter().chain(&projection.others) {
            let Some(profile) = generation.profile.filter(|profile| profile.read_events > 0) else {
                continue;
            };
            lines.push(String::new());
            lines.push(format!(
                "{} g{}, version {}: {} read, {} projected in {}",
                plain(&projection.name),
                generation.generation,
                plain(&generation.version),
                units::counted(profile.read_events, "event", "events"),
                units::count(profile.events),
                units::counted(profile.calls, "call", "calls"),
            ));
            lines.extend(stages(&profile, width, style));
            lines.extend(notes(&profile));
        }
    }
    lines
}

/// A line a stage: the time of its thread, its share of all stages, and what it comes to for an event.
fn stages(profile: &Profile, width: Option<usize>, style: Style) -> Vec<String> {
    let stages = [
        ("read", profile.read_ns, profile.read_events, "log into memory"),
        (
            "extract",
            profile.extract_ns,
            profile.read_events,
            "declared fields out of JSON",
        ),
        ("upcast", profile.upcast_ns, profile.read_events, "upcasters"),
        (
            "project",
            profile.plugin_ns,
            profile.events,
            "the plugin's own work",
        ),
        (
            "apply",
            profile.rows_ns,
            profile.events,
            "row cache, and reads of the tables",
        ),
        (
            "flush",
            profile.flush_ns,
            profile.events,
            "rows and checkpoint into the tables",
        ),
    ];
    let all: u64 = stages.iter().map(|(_, ns, ..)| ns).sum();
    let mut rows = Vec::new();
    for (stage, ns, events, what) in stages {
        if ns == 0 {
            continue;
        }
        rows.push(vec![
            Cell::text(stage),
            Cell::figure(units::duration(ns / 1_000_000)),
            Cell::figure(format!("{:.0} %", 100.0 * ns as f64 / all.max(1) as f64)),
            Cell::figure(format!("{} ns", units::count(ns / events.max(1)))),
            Cell::text(what),
        ]);
    }
    lay_out(
        &["stage", "time", "share", "an event", "what"],
        &rows,
        width,
        style,
    )
}

/// What was done to rows.
fn notes(profile: &Profile) -> Vec<String> {
    let wanted = profile.cache_hits + profile.cache_misses;
    let mut notes = vec![format!(
        "{} became {} in {}: {}",
        units::counted(profile.changes, "change", "changes"),
        units::counted(profile.rows_written, "written row", "written rows"),
        units::counted(profile.flushes, "flush", "flushes"),
        match profile.rows_written {
            0 => "nothing was to be written".to_owned(),
            rows => format!("{:.1} changes a row", profile.changes as f64 / rows as f64),
        }
    )];
    if wanted > 0 {
        notes.push(format!(
            "{:.1} % of {} were in memory",
            100.0 * profile.cache_hits as f64 / wanted as f64,
            units::counted(wanted, "wanted row", "wanted rows"),
        ));
    }
    if profile.rest_ns > 0 {
        notes.push(format!(
            "It rested for {}, as [pipeline] rebuild_share_percent has it.",
            units::duration(profile.rest_ns / 1_000_000)
        ));
    }
    notes.push("The stages run at the same time, so that their times overlap.".to_owned());
    notes
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::status::tests::{generation, projection, status};
    use super::*;

    #[test]
    fn the_time_is_shown_by_stage() {
        let mut done = generation(3, "1.0.0", "live", 567_806);
        done.profile = Some(Profile {
            read_events: 567_806,
            read_ns: 210_000_000,
            extract_ns: 100_000_000,
            upcast_ns: 0,
            events: 567_000,
            calls: 284,
            plugin_ns: 520_000_000,
            rows_ns: 130_000_000,
            changes: 1_073_455,
            cache_hits: 998_000,
            cache_misses: 2_000,
            flushes: 6,
            flush_ns: 240_000_000,
            rows_written: 61_203,
            rest_ns: 0,
        });
        let idle = generation(2, "0.9.0", "retired", 10);
        let mut one = projection("order-summary", "live", Some(done));
        one.others.push(idle);
        assert_snapshot!(lines(&status(vec![one]), None, Style { coloured: false }).join("\n"), @"

        order-summary g3, version 1.0.0: 567,806 events read, 567,000 projected in 284 calls
        stage      time  share  an event  what
        read     210 ms   18 %    369 ns  log into memory
        extract  100 ms    8 %    176 ns  declared fields out of JSON
        project  520 ms   43 %    917 ns  the plugin's own work
        apply    130 ms   11 %    229 ns  row cache, and reads of the tables
        flush    240 ms   20 %    423 ns  rows and checkpoint into the tables
        1,073,455 changes became 61,203 written rows in 6 flushes: 17.5 changes a row
        99.8 % of 1,000,000 wanted rows were in memory
        The stages run at the same time, so that their times overlap.
        ");
    }
}
