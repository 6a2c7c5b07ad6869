//! What a host is watched by: metrics, readiness, health, and the files of `docs/monitoring`.

mod away;
mod files;
mod page;
mod prometheus;
mod scrape;
mod traces;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use lamphouse_tests::host::{Host, of};
use lamphouse_tests::puppet::puppet;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::{Value, json};

use self::page::Page;

on_each_database!(
    readiness_follows_the_tables_and_health_does_not,
    a_standby_is_not_ready_until_the_owner_is_gone,
    a_request_under_way_at_the_end_is_answered_and_what_is_applied_is_flushed,
    every_request_has_one_line_in_the_log_as_json,
);

/// A running host, and how it is asked.
struct Asked<'p> {
    address: String,
    token: &'p str,
}

/// An answer.
struct Answer {
    status: u16,
    header: String,
    body: String,
}

fn token(project: &Project) -> String {
    std::fs::read_to_string(project.path(".lamphouse/token"))
        .unwrap()
        .trim()
        .to_owned()
}

/// Where this process listens, as its log says: what is recorded is the owner's.
fn address(host: &Host) -> String {
    wait::until("the address in the log", wait::SHORT, || {
        let log = host.log();
        let line = log.lines().rev().find(|line| line.contains("The host is up"));
        let said = line.ok_or_else(|| log.clone())?;
        let rest = said
            .split("address=\"")
            .nth(1)
            .or_else(|| said.split("\"address\":\"").nth(1));
        let address = rest.and_then(|rest| rest.split('"').next());
        address.map(str::to_owned).ok_or_else(|| said.to_owned())
    })
}

impl<'p> Asked<'p> {
    fn of(host: &Host, token: &'p str) -> Self {
        Self {
            address: address(host),
            token,
        }
    }

    fn send(&self, request: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let length = body.len();
        let rest = format!(
            "Host: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        );
        stream.write_all(format!("{request}{rest}").as_bytes()).unwrap();
        read(&mut stream)
    }

    fn get(&self, path: &str) -> Answer {
        let token = self.token;
        self.send(
            &format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"),
            "",
        )
    }

    fn get_without_token(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    fn append(&self, header: &str, streams: &[Value]) -> Answer {
        let token = self.token;
        let request = format!("POST /v1/append HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{header}");
        self.send(&request, &json!({ "streams": streams }).to_string())
    }

    fn scrape(&self) -> Page {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.body);
        page::read(&answer.body).unwrap_or_else(|why| panic!("{why}\n{}", answer.body))
    }
}

fn read(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (header, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    let status = header.split(' ').nth(1).unwrap().parse().unwrap();
    let body = match header.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => unchunked(body),
        false => body.to_owned(),
    };
    Answer {
        status,
        header: header.to_ascii_lowercase(),
        body,
    }
}

fn unchunked(mut rest: &str) -> String {
    let mut all = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        all.push_str(&tail[..size]);
        rest = tail[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    all
}

fn event(event_type: &str, data: u64) -> Value {
    json!({"event_type": event_type, "data": data, "metadata": {"reason": "Appended by an end-to-end scenario"}})
}

fn stream(id: &str, events: &[Value]) -> Value {
    json!({"stream_id": id, "stream_type": "test", "events": events})
}

fn import(project: &Project, name: &str, count: u64) {
    let line = |number| log_file::line(&format!("s-{}", number % 50), "Put", &json!(number));
    project.import_lines(name, (0..count).map(line));
}

/// The puppet without an index, so that its cache is simple.
fn named(version: &str) -> Vec<u8> {
    puppet(&[("version", version), ("index", "none")])
}

/// A sample by its name and labels; 0 where there is none yet.
fn value(page: &Page, name: &str, labels: &[(&str, &str)]) -> f64 {
    page.value(name, labels).unwrap_or(0.0)
}

/// A metric without labels, of a host that runs.
pub(super) fn metric(project: &Project, host: &Host, name: &str) -> f64 {
    value(&Asked::of(host, &token(project)).scrape(), name, &[])
}

const OF_PUPPET: (&str, &str) = ("projection", "puppet");

fn readiness_follows_the_tables_and_health_does_not(database: Database) {
    // [host] is the last section before these. So small a share of the time that a build is seen.
    let settings =
        "ready_lag_events_max = 5\n[pipeline]\nbatch_events_max = 100\nrebuild_share_percent = 2\n";
    let project = Project::with_settings(database, settings);
    import(&project, "log", 4_000);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let mut host = project.start();
    let asked = wait::until("a token", wait::SHORT, || {
        std::fs::read_to_string(project.path(".lamphouse/token")).map_err(|error| error.to_string())
    });
    let token = asked.trim().to_owned();
    let asked = Asked::of(&host, &token);
    // From its first answer on until the tables are there.
    let mut said = BTreeMap::new();
    wait::until("the host to be ready", wait::LONG, || {
        assert!(host.is_running(), "{}", host.log());
        let (full, bare) = (asked.get("/readyz"), asked.get_without_token("/readyz"));
        assert_eq!(asked.get_without_token("/healthz").status, 200);
        if full.status == 200 {
            assert_eq!(full.body, "ready\n");
            return Ok(());
        }
        assert!(
            bare.status == 200 || !bare.body.contains("puppet"),
            "{}",
            bare.body
        );
        said.insert(full.body.clone(), bare.body);
        Err(full.body)
    });
    let status = project.status().unwrap();
    assert!(!of(&status, "puppet")["live"].is_null(), "{status:#}");
    let first_build = said
        .keys()
        .any(|full| full.contains("puppet has no public tables yet"));
    assert!(first_build, "{said:?}");

    // A later build is beside the tables.
    project.deploy_bytes(&named("1.1.0"), "puppet");
    host.wait_status("a build beside", wait::LONG, |status| {
        of(status, "puppet")["others"]
            .as_array()
            .is_some_and(|others| others.iter().any(|other| other["state"] == "building"))
    });
    assert_eq!(asked.get("/readyz").status, 200, "{}", asked.get("/readyz").body);
    host.wait_version("puppet", "1.1.0");

    // A fault: the tables stay, and are fresh enough, until more has come than may wait.
    assert_eq!(asked.append("", &[stream("p", &[event("Panic", 1)])]).status, 200);
    host.wait_status("the fault", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    assert_eq!(asked.get("/readyz").status, 200);
    let more: Vec<Value> = (0..6).map(|number| event("Put", number)).collect();
    assert_eq!(asked.append("", &[stream("r", &more)]).status, 200);
    let answer = wait::until("the host not to be ready", wait::SHORT, || {
        let answer = asked.get("/readyz");
        match answer.status {
            503 => Ok(answer.body),
            _ => Err(answer.body),
        }
    });
    // What admins did is in the log too.
    assert!(
        answer.starts_with("puppet is ") && answer.contains("ready_lag_events_max is 5"),
        "{answer}"
    );
    let page = asked.scrape();
    assert_eq!(value(&page, "lamphouse_ready", &[]), 0.0);
    assert_eq!(
        value(
            &page,
            "lamphouse_projection_faults_total",
            &[OF_PUPPET, ("class", "fault")]
        ),
        1.0
    );
    assert_eq!(
        value(
            &page,
            "lamphouse_projection_state",
            &[OF_PUPPET, ("state", "faulted")]
        ),
        1.0
    );
    assert!(value(&page, "lamphouse_projection_lag_seconds", &[OF_PUPPET]) > 0.0);
    assert_eq!(
        asked.get_without_token("/healthz").status,
        200,
        "a plugin's fault is no host's"
    );
    // Who pauses it has decided so.
    project.ok(&["pause", "puppet", "--reason", "A look at it"]);
    wait::until("a paused projection to be left out", wait::SHORT, || {
        is_ready(&asked)
    });
    host.stop();
}

fn is_ready(asked: &Asked) -> Result<(), String> {
    match asked.get("/readyz") {
        Answer { status: 200, .. } => Ok(()),
        answer => Err(answer.body),
    }
}

fn a_standby_is_not_ready_until_the_owner_is_gone(database: Database) {
    let project = Project::new(database);
    let owner = project.serve();
    let token = token(&project);
    let asked = Asked::of(&owner, &token);
    wait::until("the owner to be ready", wait::SHORT, || is_ready(&asked));
    let owners = asked.address;
    let standby = project.start();
    let asked = wait::until("the standby to listen", wait::SHORT, || {
        match Asked::of(&standby, &token) {
            other if other.address != owners => Ok(other),
            same => Err(same.address),
        }
    });
    let answer = wait::until("the standby to know the owner", wait::SHORT, || {
        let answer = asked.get("/readyz");
        match answer.body.contains("this one stands by") {
            true => Ok(answer),
            false => Err(answer.body),
        }
    });
    assert_eq!(answer.status, 503);
    assert_eq!(asked.get_without_token("/healthz").status, 200);
    let page = asked.scrape();
    assert_eq!(
        (
            value(&page, "lamphouse_owner", &[]),
            value(&page, "lamphouse_ready", &[])
        ),
        (0.0, 0.0)
    );
    owner.stop();
    wait::until("the standby to be ready", wait::LONG, || is_ready(&asked));
    assert_eq!(value(&asked.scrape(), "lamphouse_owner", &[]), 1.0);
    standby.stop();
}

fn a_request_under_way_at_the_end_is_answered_and_what_is_applied_is_flushed(database: Database) {
    let project = Project::new(database);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let host = project.serve();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);
    let events: Vec<Value> = (0..500).map(|number| event("Put", number)).collect();
    let body = json!({"streams": [stream("late", &events)]}).to_string();
    let (sent, rest) = body.split_at(body.len() / 2);
    let rest = rest.to_owned();
    let mut open = TcpStream::connect(&asked.address).unwrap();
    open.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let head = format!(
        "POST /v1/append HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{sent}",
        asked.address,
        body.len()
    );
    open.write_all(head.as_bytes()).unwrap();
    wait::until("the request to be under way", wait::SHORT, || {
        // Beside the scrape itself.
        match value(&asked.scrape(), "lamphouse_http_requests_in_flight", &[]) {
            count if count >= 2.0 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    let (pid, address) = (host.pid(), asked.address.clone());
    let late = std::thread::spawn(move || {
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        // Nobody new is let in; what is under way goes on.
        wait::until("the port to close", wait::SHORT, || {
            match TcpStream::connect(&address) {
                Err(_) => Ok(()),
                Ok(_) => Err("still open".to_owned()),
            }
        });
        open.write_all(rest.as_bytes()).unwrap();
        read(&mut open)
    });
    let answer = late.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut host = host;
    wait::until("the host to end", wait::SHORT, || match host.is_running() {
        false => Ok(()),
        true => Err(host.log()),
    });
    // The tables are where the checkpoint is, and nothing that was answered is lost.
    let status = project.status().unwrap();
    assert_eq!(status["log"]["head"], 500);
    let live = &of(&status, "puppet")["live"];
    let rows = project
        .client()
        .number("SELECT count(*) FROM puppet WHERE id = 'late'")
        .unwrap();
    let flushed = live["checkpoint"].as_u64().unwrap();
    assert_eq!(rows, i64::from(flushed > 0), "{status:#}");
    project.catch_up();
    assert_eq!(
        of(&project.status().unwrap(), "puppet")["live"]["checkpoint"],
        500
    );
}

fn every_request_has_one_line_in_the_log_as_json(database: Database) {
    let project = Project::new(database);
    project.deploy_bytes(&named("1.0.0"), "puppet");
    let mut host = project.start_command(project.command(&["serve", "--log-format", "json", "-v"]));
    host.wait_running();
    host.wait_level("puppet");
    let token = token(&project);
    let asked = Asked::of(&host, &token);
    let answer = asked.append(
        "X-Request-Id: the-append-1\r\n",
        &[stream("s", &[event("Put", 1)])],
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.header.contains("x-request-id: the-append-1"),
        "{}",
        answer.header
    );
    asked.get("/v1/streams/a-secret-stream?limit=7");
    asked.get_without_token("/v1/status");
    host.wait_level("puppet");
    assert_eq!(asked.append("", &[stream("s", &[event("Panic", 1)])]).status, 200);
    host.wait_status("the fault", wait::LONG, |status| {
        of(status, "puppet")["state"] == "faulted"
    });
    let log = host.log();
    host.stop();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
    }
    let answered = |route: &str| -> Vec<&Value> {
        let fits = |line: &&Value| line["message"] == "A request was answered" && line["route"] == route;
        lines.iter().filter(fits).collect()
    };
    let appends = answered("/v1/append");
    assert_eq!(appends.len(), 2, "one line for one request: {log}");
    let append = appends[0];
    assert_eq!(
        [
            &append["request_id"],
            &append["method"],
            &append["token"],
            &append["level"]
        ],
        ["the-append-1", "POST", "admin", "DEBUG"]
    );
    assert_eq!(append["status"], 200);
    assert!(append["time_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{append}");
    let stream = answered("/v1/streams/{stream_id}");
    assert_eq!(stream.len(), 1);
    let refused = answered("/v1/status");
    assert!(
        refused
            .iter()
            .any(|line| line["status"] == 401 && line["token"].is_null()),
        "{refused:?}"
    );
    // What a projection does names it, its generation and where it is.
    let flush = lines.iter().rfind(|line| line["span"]["name"] == "flush");
    let flush = flush.unwrap_or_else(|| panic!("no flush in {log}"));
    assert!(flush["span"]["to"].is_u64(), "{flush}");
    let around = &flush["spans"][0];
    assert_eq!(
        [&around["name"], &around["projection"], &around["generation"]],
        ["projection", "puppet", "g1"]
    );
    let fault = lines
        .iter()
        .find(|line| line["level"] == "ERROR" && line["projection"] == "puppet");
    let fault = fault.unwrap_or_else(|| panic!("no fault in {log}"));
    assert_eq!(fault["message"], "A projection stopped; its tables stay readable");
    assert_eq!(fault["position"], 2, "{fault}");
    assert!(
        fault["generation"] == "g1"
            && fault["fault"]
                .as_str()
                .is_some_and(|fault| fault.contains("panics")),
        "{fault}"
    );
    assert!(!log.contains("a-secret-stream") && !log.contains(&token), "{log}");
}
