//! The database goes away under load and comes back: the projections resume by themselves, nothing is lost, and `status`
//! and the host's log told what went on.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lamphouse_tests::database::own_server;
use lamphouse_tests::host::{Host, of};
use lamphouse_tests::puppet::named;
use lamphouse_tests::{Database, Project, log_check, log_file, long, on_postgres_only, project, wait};
use serde_json::json;
use xtask::postgres::Stop;

on_postgres_only!(killed_connections_under_load_lose_nothing);

const STREAMS: usize = 10;
/// A rebuild that lasts some seconds, in many transactions.
const SLOW_REBUILD: &str = "[pipeline]\nrebuild_share_percent = 5\nrebuild_transaction_ms_max = 5\n\
                            batch_events_max = 50\nflush_events_max = 200\n";

fn line(number: usize) -> String {
    log_file::line(&format!("row-{}", number % STREAMS), "Count", &json!(number))
}

/// Appends without end, each line tried again until it is acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Load {
    /// From this event on, in files of 40 lines and by an append each.
    fn start(project: &Project, from: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (project, told) = (project.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut next = from;
            while !told.load(Ordering::Relaxed) {
                let file = project.path(&format!("load-{next}.jsonl"));
                log_file::write(&file, (next..next + 40).map(line));
                acknowledged(&project, &["import", file.to_str().unwrap()]);
                next += 40;
                let (key, stream) = (format!("key-{next}"), format!("row-{}", next % STREAMS));
                let mut arguments = project.append_arguments(&stream, "Count", "0");
                arguments.extend(["--idempotency-key".to_owned(), key]);
                acknowledged(
                    &project,
                    &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
                );
                next += 1;
            }
            next
        });
        Self { stop, thread }
    }

    /// Ends it; gives how many events there are now.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .expect("the load goes on until it is told to stop")
    }
}

/// Runs a command that may be run again, until it succeeds.
fn acknowledged(project: &Project, arguments: &[&str]) {
    wait::until("an append to be acknowledged", wait::LONG, || {
        let output = project.run(arguments);
        match output.status.success() {
            true => Ok(()),
            false => Err(project::said(&output)),
        }
    });
}

/// Each event once in the log, and once in the row of its stream.
#[track_caller]
fn assert_nothing_lost(project: &Project, events: usize) {
    log_check::assert_whole(project, events);
    let sql = "SELECT id, CAST(count AS text) FROM puppet ORDER BY id";
    let rows = project.client().query(sql).unwrap();
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..events {
        *wanted.entry(format!("row-{}", number % STREAMS)).or_default() += 1;
    }
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(id, count)| vec![Some(id), Some(count.to_string())])
        .collect();
    assert_eq!(rows, wanted);
}

/// Waits until the puppet goes on after an outage: level, healthy, and with nothing said of it any more.
#[track_caller]
fn wait_recovered(host: &Host, version: &str) {
    host.wait_status("the projection to resume by itself", wait::LONG, |status| {
        let one = of(status, "puppet");
        lamphouse_tests::host::is_level(status, "puppet")
            && one["live"]["version"] == version
            && one["healthy"] == true
            && status["problems"] == json!([])
    });
}

/// Waits until the status tells of an outage in these words; asked of the host, which has to answer all the while.
#[track_caller]
fn wait_told(project: &Project, words: &[&str]) -> String {
    wait::until(&format!("the status to say {words:?}"), wait::SHORT, || {
        let output = project.run(&["status", "--json"]);
        let said = project::said(&output);
        match words.iter().all(|word| said.contains(word)) {
            true => Ok(said),
            false => Err(said),
        }
    })
}

#[track_caller]
fn assert_log_tells(host: &Host, words: &[&str]) {
    let log = host.log();
    for word in words {
        assert!(log.contains(word), "the host's log should say '{word}':\n{log}");
    }
    // An outage is told now and then, not without end.
    assert!(
        log.lines().count() < 2_000,
        "{} lines of log",
        log.lines().count()
    );
}

fn serving(project: &Project) -> Host {
    project.import_lines("first", (0..4_000).map(line));
    project.deploy_bytes(&named("puppet", "1.0.0", "one"), "puppet");
    let host = project.serve();
    host.wait_version("puppet", "1.0.0");
    host
}

/// Waits until a rebuild is under way.
#[track_caller]
fn wait_building(host: &Host) {
    host.wait_status("a rebuild to be under way", wait::LONG, |status| {
        let others = of(status, "puppet")["others"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        others.iter().any(|other| {
            let at = other["checkpoint"].as_u64().unwrap_or(0);
            other["state"] == "building" && at > 0 && Some(at) < status["log"]["head"].as_u64()
        })
    });
}

#[test]
fn a_server_that_restarts_under_load_loses_nothing() {
    let Some(mut server) = own_server("a restart of the database under load") else {
        return;
    };
    let project = Project::with_settings(Database::on_server(&server.url(), false), SLOW_REBUILD);
    let mut host = serving(&project);
    let mut events = 4_000;
    let rounds = if long() { 6 } else { 2 };
    for round in 0..rounds {
        let how = [Stop::Immediate, Stop::Fast][round % 2];
        let rebuilding = round >= rounds / 2;
        let load = Load::start(&project, events);
        let version = format!("{}.0.0", round + 2);
        if rebuilding {
            project.deploy_bytes(&named("puppet", &version, "two"), "puppet");
            wait_building(&host);
        } else {
            std::thread::sleep(Duration::from_secs(1));
        }
        server.stop(how).unwrap();
        let began = Instant::now();
        wait_told(&project, &["127.0.0.1", "refused"]);
        std::thread::sleep(Duration::from_secs(3).saturating_sub(began.elapsed()));
        assert!(
            host.is_running(),
            "the host ended with its database:\n{}",
            host.log()
        );
        server.start_again().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        events = load.end();
        wait_recovered(&host, if rebuilding { &version } else { "1.0.0" });
        assert_nothing_lost(&project, events);
    }
    // Whether a projection notices by itself before the host stops them all is a matter of milliseconds.
    assert_log_tells(
        &host,
        &[
            "terminating connection due to immediate shutdown command",
            "The ownership of the tables database was lost; every projection is stopped until it is back",
            "This host owns the tables database",
        ],
    );
    host.stop();
}

fn killed_connections_under_load_lose_nothing(database: Database) {
    let project = Project::with_settings(database, SLOW_REBUILD);
    let mut host = serving(&project);
    let load = Load::start(&project, 4_000);
    let mut killer = project.client();
    let rounds = if long() { 60 } else { 12 };
    let mut killed = 0;
    for round in 0..rounds {
        if round == rounds / 2 {
            project.deploy_bytes(&named("puppet", "2.0.0", "two"), "puppet");
            wait_building(&host);
        }
        killed += killer
            .number(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + 70 * (round % 7)));
    }
    assert!(
        killed > 2 * i64::try_from(rounds).unwrap(),
        "only {killed} connections were there to be killed"
    );
    let events = load.end();
    wait_recovered(&host, "2.0.0");
    assert_nothing_lost(&project, events);
    assert!(host.is_running());
    assert_log_tells(&host, &["terminating connection"]);
    host.stop();
}

/// Limits the size of files that a process may write: what is beyond fails, as on a disk that is full.
fn limit_files(pid: u32, bytes: Option<u64>) {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let done = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--fsize={limit}:")])
        .status()
        .expect("prlimit runs");
    assert!(done.success());
}

#[test]
fn a_full_disk_under_the_tables_stops_them_until_there_is_room() {
    let project = Project::with_settings(Database::sqlite(), SLOW_REBUILD);
    project.import_lines("first", (0..4_000).map(line));
    project.deploy_bytes(&named("puppet", "1.0.0", "one"), "puppet");
    let mut host = project.start_under_file_limits();
    host.wait_running();
    host.wait_version("puppet", "1.0.0");
    let mut events = 4_000;
    for version in [None, Some("2.0.0")] {
        if let Some(version) = version {
            project.deploy_bytes(&named("puppet", version, "two"), "puppet");
            wait_building(&host);
        }
        limit_files(host.pid(), Some(4_096));
        // The log's file is another, and other processes write it: events go in, and are not in the tables yet.
        let load = Load::start(&project, events);
        wait_told(&project, &["retrying", "tables.db", "disk"]);
        std::thread::sleep(Duration::from_secs(3));
        assert!(host.is_running(), "{}", host.log());
        let status = project.status().unwrap();
        assert_eq!(of(&status, "puppet")["healthy"], false, "{status:#}");
        assert_ne!(of(&status, "puppet")["live"]["checkpoint"], status["log"]["head"]);
        // What was there is still there to be read.
        assert_eq!(
            project.client().number("SELECT count(*) FROM puppet").unwrap(),
            STREAMS as i64
        );
        limit_files(host.pid(), None);
        events = load.end();
        wait_recovered(&host, version.unwrap_or("1.0.0"));
        assert_nothing_lost(&project, events);
    }
    assert_log_tells(
        &host,
        &[
            "tables.db",
            "disk",
            "A projection waits and tries again",
            "A projection goes on",
        ],
    );
    host.stop();
}
