//! The real shop's log with 1 of 10,000 events made poisonous, and hosts that are killed at random moments of it: what is
//! not poisoned equals the truth, what is holds the state before its poison, and once mended all of it equals the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use lamphouse_tests::host::of;
use lamphouse_tests::truth::Truth;
use lamphouse_tests::{Database, Host, Project, log_check, log_file, long, on_each_database, wait};
use serde_json::{Value, json};
use xtask::seeded::Seeded;

use super::{DEAD_LETTER, says, seed};

on_each_database!(
    a_mended_version_brings_the_poisoned_real_log_back_to_its_control_totals,
    a_retry_brings_the_poisoned_real_log_back_to_its_control_totals,
);

const NAME: &str = "order-summary";
const EVENTS: usize = 567_806;
/// Too small for a country of [`LONG_COUNTRY`].
const NARROW: &str = "[limits]\nbytes_per_change_max = 4_096\n";
/// What a spoilt header's country ends with.
const LONG_COUNTRY: &str = " (far away)";

/// The real log with poison in it.
struct Poisoned {
    lines: Vec<String>,
    /// Places in the log, from 0.
    poison: BTreeSet<usize>,
}

/// Position, stream, and the position that it waits behind.
type Letter = (u64, String, Option<u64>);

impl Poisoned {
    /// Spoils one event of every 10,000: from a random place on, the first that `spoil` takes.
    fn new(file: &Path, spoil: impl Fn(&mut Value) -> bool) -> Self {
        let mut lines = log_file::lines(file).unwrap();
        assert_eq!(lines.len(), EVENTS);
        let mut random = Seeded::new(10_000);
        let mut poison = BTreeSet::new();
        for (block, first) in lines.chunks_mut(10_000).zip((0..).step_by(10_000)) {
            let from = random.below(block.len() as u64) as usize;
            let place = (from..block.len()).chain(0..from).find(|&place| {
                let mut event: Value = serde_json::from_str(&block[place]).unwrap();
                let is_spoilt = spoil(&mut event);
                if is_spoilt {
                    block[place] = event.to_string();
                }
                is_spoilt
            });
            poison.insert(first + place.expect("an event that can be spoilt"));
        }
        assert_eq!(poison.len(), 57);
        Self { lines, poison }
    }

    /// What must be parked once the whole log was read: per stream everything from its first poisoned event on.
    fn expected(&self) -> Vec<Letter> {
        let mut poisoned: BTreeMap<String, u64> = BTreeMap::new();
        let mut expected = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let (stream, position) = (stream_of(line), place as u64 + 1);
            let behind = poisoned.get(stream).copied();
            if behind.is_none() && self.poison.contains(&place) {
                poisoned.insert(stream.to_owned(), position);
            }
            if behind.is_some() || self.poison.contains(&place) {
                expected.push((position, stream.to_owned(), behind));
            }
        }
        expected
    }

    /// A plain fold over all events but these positions.
    fn truth_without(&self, left_out: &BTreeSet<u64>) -> Truth {
        let lines = self.lines.iter().zip(1..);
        let kept = lines.filter(|(_, position)| !left_out.contains(position));
        Truth::of_lines(kept.map(|(line, _)| line)).version_1()
    }

    /// The tables hold everything but what the host says is parked, to the penny: poisoned streams stand before their
    /// poison. Gives the parked events.
    #[track_caller]
    fn assert_tables_and_letters_agree(&self, project: &Project, when: &str) -> Vec<Letter> {
        let letters = letters(project);
        let parked = letters.iter().map(|(position, ..)| *position).collect();
        self.truth_without(&parked)
            .assert_equals(&project.tables(false), when);
        letters
    }

    /// Everything is read, exactly what was expected is parked, and no stream without poison differs from the real
    /// shop's totals.
    #[track_caller]
    fn assert_only_the_poisoned_wait(&self, project: &Project, truth: &Truth) {
        let parked = self.assert_tables_and_letters_agree(project, "with poison in the log");
        let expected = self.expected();
        assert_eq!(parked.len(), expected.len());
        for (parked, expected) in parked.iter().zip(&expected) {
            assert_eq!(parked, expected);
        }
        let poisoned: BTreeSet<&String> = expected.iter().map(|(_, stream, _)| stream).collect();
        let found = project.tables(false).orders;
        let free = truth
            .orders
            .iter()
            .filter(|(stream, _)| !poisoned.contains(stream));
        let mut compared = 0;
        for (stream, row) in free {
            assert_eq!(found.get(stream), Some(row), "{stream}");
            compared += 1;
        }
        assert_eq!(compared, truth.orders.len() - poisoned.len());
    }
}

/// Of an import line, without reading all of it half a million times.
fn stream_of(line: &str) -> &str {
    let (_, rest) = line.split_once("\"stream_id\":").expect("a stream");
    rest.trim_start()[1..].split('"').next().expect("a stream")
}

fn letters(project: &Project) -> Vec<Letter> {
    let listed = project.json(&["dead-letters", "list", NAME, "--limit", "1000000"]);
    let letter = |letter: &Value| {
        let stream = letter["stream_id"].as_str().unwrap().to_owned();
        (
            letter["position"].as_u64().unwrap(),
            stream,
            letter["behind"].as_u64(),
        )
    };
    listed["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(letter)
        .collect()
}

/// Kills at random moments, and where they fell.
struct Kills {
    random: Seeded,
    fell: BTreeMap<&'static str, u32>,
}

impl Kills {
    fn new() -> Self {
        Self {
            random: Seeded::new(seed()),
            fell: BTreeMap::new(),
        }
    }

    /// Sleeps for a random part of this.
    fn sleep(&mut self, within: Duration) {
        std::thread::sleep(within.mul_f64(self.random.unit()));
    }

    fn note(&mut self, what: &'static str) {
        *self.fell.entry(what).or_default() += 1;
    }

    /// Where there are many kills, one of them at least fell there.
    fn assert_hit(&self, phase: &str) {
        assert!(!long() || self.fell.contains_key(phase), "{:?}", self.fell);
    }

    /// Imports the log under a running host. So many times the import is killed, so many times the host.
    fn import(&mut self, project: &Project, lines: &[String], imports: usize, hosts: usize) -> Host {
        let mut host = project.serve();
        let pieces = lines.chunks(lines.len().div_ceil(imports + hosts + 1));
        for (number, piece) in pieces.enumerate() {
            let file = project.path(&format!("piece-{number}.jsonl"));
            log_file::write(&file, piece);
            // An import takes about 5 s a million events here, and up to three times as much elsewhere.
            let within = Duration::from_micros(8 * piece.len() as u64);
            if number < imports {
                let mut import = start(project, &["import", file.to_str().unwrap()]);
                self.sleep(within);
                let runs = import.try_wait().unwrap().is_none();
                let _ = import.kill();
                import.wait().unwrap();
                self.note(if runs { "import" } else { "after an import" });
            } else if number < imports + hosts {
                let mut import = start(project, &["import", file.to_str().unwrap()]);
                self.sleep(within);
                host.kill();
                import.wait().unwrap();
                self.note("live");
                host = project.serve();
            }
            // Once more makes it whole, whatever became of the first.
            project.import(&file);
        }
        host.wait_level(NAME);
        log_check::assert_whole(project, lines.len());
        host
    }

    /// Kills the host while it builds a new generation; asks for another one where that is over already.
    fn rebuild(&mut self, project: &Project, mut host: Host, kills: usize) -> Host {
        let mut within = Duration::from_millis(2_000);
        for _ in 0..kills {
            if !is_building(project) {
                project.ok(&["rebuild", NAME]);
            }
            self.sleep(within);
            host.kill();
            if is_building(project) {
                self.note("rebuild");
            } else {
                self.note("after a rebuild");
                within = within.mul_f64(0.7);
            }
            host = project.serve();
        }
        host
    }

    /// Kills the host that replays, or the command where it does so itself; what is not parked any more is in the
    /// tables, and nothing else is. The moments come later and later, until something was replayed: what is replayed once
    /// cannot be killed again.
    fn retry(&mut self, project: &Project, log: &Poisoned, kills: usize) {
        let mut within = Duration::from_millis(if kills > 1 { 80 } else { 200 });
        for number in 0..kills {
            let before = letters(project).len();
            let host = (number % 2 == 0).then(|| project.serve());
            let mut retry = start(project, &["dead-letters", "retry", NAME, "--accept-reorder"]);
            self.sleep(within);
            match host {
                Some(host) => host.kill(),
                None => retry.kill().unwrap(),
            }
            retry.wait().unwrap();
            let left = log.assert_tables_and_letters_agree(project, "after a kill in a retry");
            let what = match left.len() {
                0 => "after a retry",
                left if left == before => "before a retry",
                _ => "retry",
            };
            self.note(what);
            if what == "before a retry" {
                within = within.mul_f64(1.3);
            }
        }
    }
}

impl Drop for Kills {
    fn drop(&mut self) {
        println!("FIGURES: kills by phase: {:?}", self.fell);
    }
}

fn start(project: &Project, arguments: &[&str]) -> Child {
    let mut command = project.command(arguments);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn is_building(project: &Project) -> bool {
    let status = project.status().unwrap();
    let others = of(&status, NAME)["others"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    others.iter().any(|one| one["state"] == "building")
}

/// Public, level, with nothing parked: by the status, the list, and a retry, which has nothing to do.
#[track_caller]
fn assert_nothing_is_parked(project: &Project, status: &Value) {
    assert_eq!(of(status, NAME)["incomplete"], json!(null));
    assert_eq!(letters(project), []);
    says(
        &project.ok(&["dead-letters", "retry", NAME]),
        &["has no dead letters"],
    );
}

fn a_mended_version_brings_the_poisoned_real_log_back_to_its_control_totals(database: Database) {
    let (Some(file), Some(truth)) = (log_file::real(), Truth::real().unwrap()) else {
        return;
    };
    let log = Poisoned::new(&file, |event| {
        event["data"] = json!({"payload": event["data"]});
        true
    });
    let (imports, hosts, rebuilds) = if long() { (4, 6, 8) } else { (1, 1, 1) };
    let mut kills = Kills::new();
    let project = Project::with_settings(database, DEAD_LETTER);
    project.deploy("order-summary-1.0.0", NAME);
    let host = kills.import(&project, &log.lines, imports, hosts);
    log.assert_only_the_poisoned_wait(&project, &truth);
    let first = log.poison.first().unwrap() + 1;
    says(
        &project.ok(&["dead-letters", "show", NAME, &first.to_string()]),
        &[
            "order-summary 1.0.0",
            "missing field",
            "payload",
            "tried     1 time",
        ],
    );
    let mended = xtask::paths::guest("order-summary-1.0.1").unwrap();
    let rehearsed = project.json(&["rehearse", mended.to_str().unwrap()]);
    assert_eq!(rehearsed[0]["passed"], log.expected().len());

    project.deploy("order-summary-1.0.1", NAME);
    host.wait_status("the mended version to be built", wait::LONG, |_| {
        is_building(&project)
    });
    let host = kills.rebuild(&project, host, rebuilds);
    kills.assert_hit("rebuild");
    let status = host.wait_version(NAME, "1.0.1");
    truth.assert_equals(&project.tables(false), "by the mended version");
    assert_nothing_is_parked(&project, &status);
    host.stop();
}

fn a_retry_brings_the_poisoned_real_log_back_to_its_control_totals(database: Database) {
    let (Some(file), Some(truth)) = (log_file::real(), Truth::real().unwrap()) else {
        return;
    };
    let log = Poisoned::new(&file, |event| {
        let is_header = matches!(
            event["event_type"].as_str(),
            Some("OrderPlaced" | "OrderCancelled")
        );
        if is_header {
            let country = event["data"]["country"].as_str().unwrap();
            event["data"]["country"] = json!(format!("{country}{}", LONG_COUNTRY.repeat(1_000)));
        }
        is_header
    });
    let (imports, hosts, retries) = if long() { (2, 2, 8) } else { (0, 1, 1) };
    let mut kills = Kills::new();
    let project = Project::with_settings(database, &format!("{DEAD_LETTER}{NARROW}"));
    project.deploy("order-summary-1.0.0", NAME);
    let host = kills.import(&project, &log.lines, imports, hosts);
    log.assert_only_the_poisoned_wait(&project, &truth);
    // Nothing was mended yet.
    let told = project.fails(&["dead-letters", "retry", NAME, "--accept-reorder"]);
    says(&told, &["57 streams have an event that still fails"]);
    host.stop();

    project.set_settings(DEAD_LETTER);
    kills.retry(&project, &log, retries);
    kills.assert_hit("retry");
    let host = project.serve();
    project.ok(&["dead-letters", "retry", NAME, "--accept-reorder"]);
    let status = host.wait_level(NAME);
    let assert_true = |when: &str| {
        let mut found = project.tables(false);
        log.truth_without(&BTreeSet::new()).assert_equals(&found, when);
        let long_ones = found.orders.values_mut().filter_map(|row| {
            let end = row[1].find(LONG_COUNTRY)?;
            row[1].truncate(end);
            Some(())
        });
        assert_eq!(long_ones.count(), 57);
        truth.assert_equals(&found, when);
    };
    assert_true("after the retry");
    assert_nothing_is_parked(&project, &status);
    assert_eq!(of(&status, NAME)["reordered"], true);
    project.ok(&["rebuild", NAME]);
    let status = host.wait_status("the rebuild to be public", wait::LONG, |status| {
        lamphouse_tests::host::is_level(status, NAME) && of(status, NAME)["reordered"] == false
    });
    assert_true("after a rebuild");
    assert_nothing_is_parked(&project, &status);
    host.stop();
}
