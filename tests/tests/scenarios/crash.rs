//! Crashes: the host killed at random moments of every phase, PostgreSQL stopped at once under it. Nothing
//! acknowledged is lost, nothing is applied twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lamphouse_tests::database::own_server;
use lamphouse_tests::host::of;
use lamphouse_tests::truth::Truth;
use lamphouse_tests::{Database, Project, log_check, log_file, long, on_each_database, wait};
use xtask::postgres::Stop;
use xtask::seeded::Seeded;

on_each_database!(killed_at_any_moment_the_host_loses_nothing_and_applies_nothing_twice);

const EVENTS: usize = 50_000;
const PHASES: [&str; 4] = ["import", "live", "rebuild", "cutover"];

/// A shop's log in pieces, and what its tables must hold at the end.
struct Pieces {
    files: Vec<PathBuf>,
    truth: Truth,
    random: Seeded,
}

impl Pieces {
    /// The first piece is two fifths of the log.
    fn new(project: &Project, count: usize) -> Self {
        let seed = std::env::var("LAMPHOUSE_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let seed = seed.unwrap_or(now.as_secs());
        println!("LAMPHOUSE_TEST_SEED={seed} gives the same moments again");
        let lines = log_file::lines(&log_file::generated(&project.path(""), EVENTS as u64, 5)).unwrap();
        let truth = Truth::of_lines(&lines);
        let first = EVENTS * 2 / 5;
        let each = (EVENTS - first).div_ceil(count);
        let pieces = std::iter::once(&lines[..first]).chain(lines[first..].chunks(each));
        let files = pieces.enumerate().map(|(number, piece)| {
            let file = project.path(&format!("piece-{number}.jsonl"));
            log_file::write(&file, piece);
            file
        });
        let mut files: Vec<PathBuf> = files.collect();
        files.reverse();
        Self {
            files,
            truth,
            random: Seeded::new(seed),
        }
    }

    fn next(&mut self) -> PathBuf {
        self.files.pop().expect("a piece that is left")
    }

    /// A random part of a duration.
    fn moment(&mut self, within: Duration) -> Duration {
        within.mul_f64(self.random.unit())
    }
}

fn killed_at_any_moment_the_host_loses_nothing_and_applies_nothing_twice(database: Database) {
    let kills = if long() { 60 } else { 8 };
    let project = Project::with_settings(
        database,
        "[projection]\nkeep_generations = 1\nfollow_retired = true\n",
    );
    let mut pieces = Pieces::new(&project, kills / 2);
    project.deploy("order-summary-1.0.0", "order-summary");
    let first = pieces.next();
    let began = Instant::now();
    project.import(&first);
    let import_time = began.elapsed() / 5;
    let began = Instant::now();
    project.catch_up();
    let build_time = began.elapsed();
    // A second generation, so that there is one to roll back to.
    project.ok(&["rebuild", "order-summary"]);
    project.catch_up();

    let mut fell: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..kills {
        let phase = PHASES[number % PHASES.len()];
        let seen = match phase {
            "import" => kill_an_import(&project, &mut pieces, import_time),
            "live" => kill_live(&project, &mut pieces, import_time),
            "rebuild" => kill_a_rebuild(&project, &mut pieces, build_time),
            _ => kill_a_cutover(&project, &mut pieces),
        };
        *fell.entry(format!("{phase}: {seen}")).or_default() += 1;
    }
    while let Some(file) = pieces.files.pop() {
        project.import(&file);
    }
    let host = project.serve();
    host.wait_level("order-summary");
    println!(
        "FIGURES: {kills} kills on {}: {fell:?}",
        project.database().kind()
    );
    log_check::assert_whole(&project, EVENTS);
    pieces
        .truth
        .version_1()
        .assert_equals(&project.tables(false), "after all kills");
    host.stop();
    for phase in PHASES {
        let in_it = fell
            .iter()
            .filter(|(name, _)| name.starts_with(phase) && !name.ends_with("too late"));
        let count: u32 = in_it.map(|(_, count)| count).sum();
        assert!(
            count >= if long() { 5 } else { 1 },
            "only {count} kills fell into {phase}: {fell:?}"
        );
    }
}

/// An import that nobody waits for.
fn start_import(project: &Project, file: &Path) -> Child {
    let mut import = project.command(&["import", file.to_str().unwrap()]);
    let import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    import.unwrap()
}

/// The command that imports is the one that is killed; running it again goes on.
fn kill_an_import(project: &Project, pieces: &mut Pieces, within: Duration) -> &'static str {
    let file = pieces.next();
    let mut import = start_import(project, &file);
    std::thread::sleep(pieces.moment(within));
    let running = import.try_wait().unwrap().is_none();
    let _ = import.kill();
    import.wait().unwrap();
    project.import(&file);
    if running { "while it ran" } else { "too late" }
}

fn kill_live(project: &Project, pieces: &mut Pieces, within: Duration) -> &'static str {
    let host = project.serve();
    let file = pieces.next();
    let mut import = start_import(project, &file);
    std::thread::sleep(pieces.moment(within));
    host.kill();
    import.wait().unwrap();
    // Whatever became of it, once more makes it whole.
    project.import(&file);
    "while events arrived"
}

fn kill_a_rebuild(project: &Project, pieces: &mut Pieces, within: Duration) -> &'static str {
    let mut within = within;
    for _ in 0..8 {
        let host = project.serve();
        host.wait_level("order-summary");
        // The command answers when it is under way; the moment begins before that.
        let mut ask = project.command(&["rebuild", "order-summary"]);
        let mut ask = ask.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20) + pieces.moment(within));
        host.kill();
        ask.wait().unwrap();
        let status = project.status().unwrap();
        let others = of(&status, "order-summary")["others"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if others
            .iter()
            .any(|one| matches!(one["state"].as_str(), Some("building" | "ready")))
        {
            return "while it was built";
        }
        // It fell before or after the build: once more, sooner.
        within = within.mul_f64(0.7);
    }
    "too late"
}

fn kill_a_cutover(project: &Project, pieces: &mut Pieces) -> &'static str {
    let host = project.serve();
    let status = host.wait_level("order-summary");
    let one = of(&status, "order-summary").clone();
    let verb = if one["held"].is_null() {
        "rollback"
    } else {
        "cutover"
    };
    let mut ask = project.command(&[verb, "order-summary"]);
    let mut ask = ask.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(pieces.moment(Duration::from_millis(250)));
    host.kill();
    ask.wait().unwrap();
    let after = project.status().unwrap();
    match of(&after, "order-summary")["live"]["generation"] == one["live"]["generation"] {
        true => "before its switch",
        false => "at or after its switch",
    }
}

#[test]
fn immediate_stops_of_postgres_lose_nothing_and_the_host_goes_on_by_itself() {
    let Some(mut server) = own_server("immediate stops") else {
        return;
    };
    let stops = if long() { 10 } else { 2 };
    let project = Project::new(Database::on_server(&server.url(), false));
    let mut pieces = Pieces::new(&project, stops + 1);
    project.deploy("order-summary-1.0.0", "order-summary");
    let mut host = project.serve();
    let first = pieces.next();
    project.import(&first);
    for _ in 0..stops {
        let file = pieces.next();
        let mut import = start_import(&project, &file);
        std::thread::sleep(pieces.moment(Duration::from_millis(600)));
        server.stop(Stop::Immediate).unwrap();
        std::thread::sleep(pieces.moment(Duration::from_secs(2)));
        server.start_again().unwrap();
        import.wait().unwrap();
        wait::until("an import after the stop", wait::LONG, || {
            let output = project.run(&["import", file.to_str().unwrap()]);
            if output.status.success() {
                Ok(())
            } else {
                Err(lamphouse_tests::project::said(&output))
            }
        });
        assert!(
            host.is_running(),
            "the host ended with its database:\n{}",
            host.log()
        );
    }
    while let Some(file) = pieces.files.pop() {
        project.import(&file);
    }
    host.wait_level("order-summary");
    log_check::assert_whole(&project, EVENTS);
    pieces
        .truth
        .version_1()
        .assert_equals(&project.tables(false), "after the stops");
    println!("FIGURES: {stops} immediate stops of PostgreSQL, nothing lost");
    host.stop();
}

/// The machine loses power under SQLite: what no file was synced for is gone, the host's own memory too.
#[cfg(target_os = "linux")]
#[test]
fn power_losses_take_nothing_that_was_acknowledged() {
    use lamphouse_tests::power;

    let cuts = if long() { 12 } else { 4 };
    let mut project = Project::new(Database::sqlite());
    power::keep_what_is_synced(&mut project);
    let mut pieces = Pieces::new(&project, cuts + 1);
    project.deploy("order-summary-1.0.0", "order-summary");
    project.import(&pieces.next());
    let (mut acknowledged, mut poorer) = (Vec::new(), 0);
    for cut in 0..cuts {
        let host = project.serve();
        let file = pieces.next();
        let before = project.head();
        if cut % 2 == 0 {
            // As soon as it is acknowledged: no later command may have synced on its behalf.
            project.import(&file);
            host.kill();
            poorer += power::lose(&project);
            // Asked by a command: a connection of ours would write files that nobody keeps copies of.
            let lines = log_file::lines(&file).unwrap().len() as u64;
            assert_eq!(project.head(), before + lines, "the head after cut {cut}");
            continue;
        }
        let mut import = start_import(&project, &file);
        let cut_at = Duration::from_millis(400) + pieces.moment(Duration::from_millis(800));
        let stop = AtomicBool::new(false);
        let appended: Vec<String> = std::thread::scope(|scope| {
            let client = |number| {
                let (project, stop) = (&project, &stop);
                scope.spawn(move || append_until(project, &format!("kept-{cut}-{number}"), stop))
            };
            let clients = [client(1), client(2)];
            std::thread::sleep(cut_at);
            // First, for a host that has ended by itself ends the test here, which then waits for the clients.
            stop.store(true, Ordering::Relaxed);
            host.kill();
            let _ = import.kill();
            import.wait().unwrap();
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap())
                .collect()
        });
        assert!(!appended.is_empty(), "nothing was acknowledged before cut {cut}");
        acknowledged.extend(appended);
        poorer += power::lose(&project);
        // Whatever became of it, once more makes it whole.
        project.import(&file);
    }
    assert!(poorer > 0, "no cut took anything away, so this shows nothing");
    while let Some(file) = pieces.files.pop() {
        project.import(&file);
    }
    let host = project.serve();
    host.wait_level("order-summary");
    let mut log = project.log_client();
    for stream in &acknowledged {
        let found = log.number(&format!(
            "SELECT count(*) FROM events WHERE stream_id = '{stream}'"
        ));
        assert_eq!(found.unwrap(), 1, "events of {stream}, which was acknowledged");
    }
    let all = log
        .number("SELECT count(*) FROM events WHERE stream_id LIKE 'kept-%'")
        .unwrap();
    log_check::assert_whole(&project, EVENTS + all as usize);
    pieces
        .truth
        .version_1()
        .assert_equals(&project.tables(false), "after the power losses");
    host.stop();
    println!(
        "FIGURES: {cuts} power losses on SQLite, {poorer} files poorer, {} acknowledged appends there",
        acknowledged.len()
    );
}

/// Appends one event to each of many streams, command by command, and kills the last one; gives the streams that were
/// acknowledged.
#[cfg(target_os = "linux")]
fn append_until(project: &Project, prefix: &str, stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let stream = format!("{prefix}-{number}");
        let arguments = project.append_arguments(&stream, "Kept", "{}");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut append = project.command(&arguments);
        let mut append = append
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ended = loop {
            if stop.load(Ordering::Relaxed) {
                let _ = append.kill();
                break append.wait().unwrap();
            }
            match append.try_wait().unwrap() {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if ended.success() {
            acknowledged.push(stream);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}
