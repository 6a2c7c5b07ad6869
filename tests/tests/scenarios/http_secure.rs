//! Who may call the real host, how, and what is on record of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use lamphouse_tests::project::{host_binary, said};
use lamphouse_tests::puppet::puppet;
use lamphouse_tests::{Database, Host, Project, on_each_database, wait};
use serde_json::json;

on_each_database!(
    what_admins_do_is_on_record_and_seen_by_who_names_it,
    what_is_ordered_where_no_host_runs_is_on_record,
);

/// Where the commands reach the host; elsewhere, `public` is where everybody does.
fn address(project: &Project) -> String {
    let status = project.status().unwrap();
    let address = status["host"]["address"].as_str();
    address
        .unwrap_or_else(|| panic!("no address: {status:#}"))
        .to_owned()
}

/// The port that the host was told to listen at, from its log.
fn public_port(host: &Host) -> u16 {
    let log = host.log();
    let place = |text: &str| -> Option<u16> {
        let (_, rest) = text.split_once("address=")?;
        let address = rest.trim_start_matches('"').split(['"', ' ']).next()?;
        address.parse::<SocketAddr>().ok().map(|address| address.port())
    };
    let port = log
        .lines()
        .filter(|line| line.contains("listens") || line.contains("started"))
        .find_map(place);
    port.or_else(|| log.lines().find_map(place))
        .unwrap_or_else(|| panic!("no address in the log:\n{log}"))
}

fn add_token(project: &Project, arguments: &[&str]) -> String {
    let mut all = vec!["token", "add"];
    all.extend(arguments);
    let made = project.json(&all);
    made["token"].as_str().expect("a token").to_owned()
}

/// Status, version of HTTP, and the body; or why there was no answer.
type Said = Result<(u16, String, String), String>;

/// What curl says.
fn curl(arguments: &[&str]) -> Said {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "-w", "\n%{http_code} %{http_version}"])
        .args(arguments)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, last) = said.rsplit_once('\n').unwrap();
    let (status, version) = last.split_once(' ').unwrap();
    Ok((status.parse().unwrap(), version.to_owned(), body.to_owned()))
}

/// The status of a GET with this token.
#[track_caller]
fn get(url: &str, token: &str, more: &[&str]) -> u16 {
    let header = format!("Authorization: Bearer {token}");
    let mut arguments = vec!["-H", header.as_str(), url];
    arguments.extend(more);
    curl(&arguments)
        .unwrap_or_else(|error| panic!("{url}: {error}"))
        .0
}

fn what_admins_do_is_on_record_and_seen_by_who_names_it(database: Database) {
    let project = Project::new(database);
    let deploy = |name: &str, events: &str| {
        let settings = [
            ("name", name),
            ("table", name),
            ("project", "record"),
            ("events", events),
        ];
        project.deploy_bytes(&puppet(&settings), name);
    };
    deploy("everything", "");
    deploy(
        "watcher",
        "lamphouse.AdminActionRequested,lamphouse.ProjectionOperated",
    );
    project.append("order-1", "OrderPlaced", &json!({}));
    let host = project.serve();
    host.wait_level("everything");
    host.wait_level("watcher");

    let url = format!("http://{}/v1/projections/everything", address(&project));
    let token = std::fs::read_to_string(project.path(".lamphouse/token")).unwrap();
    let authorization = format!("Authorization: Bearer {token}");
    let verb = |verb: &str| {
        let reason = "Lamphouse-Reason: a look at the rows, G%C3%BCnther asked for it";
        let url = format!("{url}/{verb}");
        let json = "Content-Type: application/json";
        curl(&["-H", &authorization, "-H", json, "-H", reason, "-d", "{}", &url]).unwrap()
    };
    assert!(matches!(verb("pause").0, 200 | 202));
    assert_eq!(verb("rollback").0, 409, "it is paused");
    assert!(matches!(verb("resume").0, 200 | 202));
    project.append("order-2", "OrderPlaced", &json!({}));

    let events = project.json_lines(&["events", "--all", "--stream-type", "lamphouse.audit"]);
    let types: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event_type"].as_str())
        .collect();
    let requested = "lamphouse.AdminActionRequested";
    let operated = "lamphouse.ProjectionOperated";
    assert_eq!(
        types,
        [
            requested,
            operated,
            requested,
            "lamphouse.AdminActionFailed",
            requested,
            operated
        ]
    );
    for event in &events {
        assert_eq!(event["data"]["by"], "admin");
        assert_eq!(event["data"]["on"]["projection"], "everything");
        assert_eq!(
            event["metadata"]["reason"],
            "a look at the rows, Günther asked for it"
        );
    }

    // Live, through what all projections share; then rebuilt.
    let streams = |table: &str| -> Vec<String> {
        let rows = project.json_lines(&[
            "query",
            &format!("SELECT DISTINCT note FROM {table} ORDER BY note"),
        ]);
        let mut streams: Vec<String> = rows
            .iter()
            .filter_map(|row| row["note"].as_str()?.split(' ').next().map(str::to_owned))
            .collect();
        streams.dedup();
        streams
    };
    for round in ["live", "rebuilt"] {
        host.wait_level("everything");
        host.wait_level("watcher");
        assert_eq!(streams("everything"), ["order-1", "order-2"], "{round}");
        assert_eq!(streams("watcher"), ["lamphouse.audit"], "{round}");
        project.ok(&["rebuild", "everything"]);
        project.ok(&["rebuild", "watcher"]);
    }
    host.stop();

    // An export holds it all, and another log takes it when it is told to.
    let backup = project.path("backup.jsonl");
    let file = backup.to_str().unwrap();
    project.ok(&["export", "--output", file]);
    let other = Project::new(Database::sqlite());
    let refused = other.fails(&["import", file]);
    assert!(
        refused.contains("reserved") && refused.contains("--with-reserved"),
        "{refused}"
    );
    other.ok(&["import", "--with-reserved", file]);
    let all = |project: &Project| project.json_lines(&["events", "--all"]).len();
    assert_eq!(all(&other), all(&project));
    let refused = other.fails(&[
        "append",
        "--stream",
        "x",
        "--stream-type",
        "x",
        "--type",
        "lamphouse.Forged",
        "--reason",
        "forged by a test",
    ]);
    assert!(refused.contains("reserved"), "{refused}");
}

fn what_is_ordered_where_no_host_runs_is_on_record(database: Database) {
    let project = Project::new(database);
    project.deploy_bytes(&puppet(&[("name", "orders"), ("table", "orders")]), "orders");
    project.append("order-1", "OrderPlaced", &json!({}));
    project.ok(&["catch-up"]);
    let on_record = || project.json_lines(&["events", "--all", "--stream-type", "lamphouse.audit"]);
    assert!(on_record().is_empty(), "nobody has ordered anything");
    project.ok(&["rebuild", "orders"]);
    project.ok(&["pause", "orders", "--reason", "comparing with the ledger"]);
    project.fails(&["rollback", "orders"]);
    let events = on_record();
    let of = |pointer: &str| -> Vec<&str> {
        let texts = events.iter().map(|event| event.pointer(pointer));
        texts
            .map(|text| text.and_then(|text| text.as_str()).unwrap_or_default())
            .collect()
    };
    let [requested, operated] =
        ["AdminActionRequested", "ProjectionOperated"].map(|name| format!("lamphouse.{name}"));
    let (requested, operated) = (requested.as_str(), operated.as_str());
    assert_eq!(
        of("/event_type"),
        [
            requested,
            operated,
            requested,
            operated,
            requested,
            "lamphouse.AdminActionFailed"
        ]
    );
    assert_eq!(
        of("/data/action"),
        ["rebuild", "rebuild", "pause", "pause", "rollback", "rollback"]
    );
    assert_eq!(of("/metadata/reason")[2], "comparing with the ledger");
    assert!(of("/data/by").iter().all(|by| !by.is_empty()), "{events:#?}");
    assert!(!of("/data/message")[5].is_empty(), "{events:#?}");
}

#[test]
fn a_token_is_good_from_its_making_to_its_removal() {
    let project = Project::new(Database::sqlite());
    std::fs::write(project.path("tokens.toml"), "# Ask Ada before you change this.\n").unwrap();
    let host = project.serve();
    let events = format!("http://{}/v1/events", address(&project));
    let token = add_token(
        &project,
        &[
            "reports",
            "--role",
            "read",
            "--table",
            "orders",
            "--expires",
            "2127-01-01",
        ],
    );
    assert!(token.starts_with("lamphouse_"), "{token}");
    let file = std::fs::read_to_string(project.path("tokens.toml")).unwrap();
    assert!(file.starts_with("# Ask Ada") && !file.contains(&token), "{file}");
    let wait_for = |wanted: u16| {
        wait::until(
            "the host to follow the file",
            Duration::from_secs(10),
            || match get(&events, &token, &[]) {
                status if status == wanted => Ok(()),
                status => Err(status.to_string()),
            },
        );
    };
    wait_for(200);
    let refused = project.fails(&["token", "add", "reports", "--role", "read"]);
    assert!(refused.contains("token remove reports"), "{refused}");
    let list = project.json(&["token", "list"]);
    assert_eq!(list["tokens"][0]["name"], "reports");
    assert_eq!(list["tokens"][0]["tables"], json!(["orders"]));
    assert!(!list.to_string().contains("sha256"), "{list}");
    let append = format!("http://{}/v1/append", address(&project));
    assert_eq!(
        get(
            &append,
            &token,
            &["-H", "Content-Type: application/json", "-d", "{}"]
        ),
        403
    );

    // Somebody's slip of the hand locks nobody out, and is told.
    std::fs::write(project.path("tokens.toml"), format!("{file}\n[tokens.oops\n")).unwrap();
    host.wait_status("the slip to be told", wait::SHORT, |status| {
        status["problems"].to_string().contains("not TOML")
    });
    assert_eq!(get(&events, &token, &[]), 200);
    std::fs::write(project.path("tokens.toml"), &file).unwrap();

    project.ok(&["token", "remove", "reports"]);
    wait_for(401);
    assert!(
        project
            .fails(&["token", "remove", "reports"])
            .contains("holds no token")
    );
    let log = host.log();
    assert!(!log.contains(&token), "the log holds a token:\n{log}");
    host.stop();

    // A broken file refuses a start, with every mistake and its line.
    std::fs::write(
        project.path("tokens.toml"),
        "[tokens.a]\nroles = [\"writer\"]\nhsah = \"x\"\n",
    )
    .unwrap();
    let refused = project.fails(&["serve"]);
    for words in [
        "line 1",
        "has no hash",
        "line 2",
        "'writer' is no role",
        "line 3",
        "'hsah'",
    ] {
        assert!(refused.contains(words), "'{words}' is not in: {refused}");
    }
}

/// A certificate of these names, and its key, as files of a project.
fn certificate(project: &Project, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(project.path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(project.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

const NAME: &str = "lamphouse.example.com";
const TLS: &str = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";

/// A project that listens at `address`.
fn listening(address: &str, rest: &str) -> Project {
    let project = Project::new(Database::sqlite());
    let text = format!("[host]\nlisten = \"{address}\"\nnames = [\"{NAME}\"]\n{rest}");
    std::fs::write(project.path("lamphouse.toml"), text).unwrap();
    project
}

#[test]
fn tls_serves_the_network_and_the_commands_go_on() {
    let project = listening("0.0.0.0:0", TLS);
    certificate(&project, &[NAME]);
    let token = add_token(&project, &["ops", "--role", "admin"]);
    let host = project.serve();
    let port = public_port(&host);
    let resolve = format!("{NAME}:{port}:127.0.0.1");
    let trust = project.path("cert.pem");
    let trust = trust.to_str().unwrap();
    let url = format!("https://{NAME}:{port}/v1/status");
    let authorization = format!("Authorization: Bearer {token}");
    let ask = |version: &str| {
        curl(&[
            "--cacert",
            trust,
            "--resolve",
            &resolve,
            version,
            "-H",
            &authorization,
            &url,
        ])
    };
    let (status, version, body) = ask("--http1.1").unwrap();
    assert_eq!((status, version.as_str()), (200, "1.1"), "{body}");
    let (status, version, body) = ask("--http2").unwrap();
    assert_eq!((status, version.as_str()), (200, "2"), "{body}");
    // In HTTP/2 the name is in the address: another one is refused there too.
    let evil = format!("Host: evil.example:{port}");
    let (status, ..) = curl(&[
        "--cacert",
        trust,
        "--resolve",
        &resolve,
        "--http2",
        "-H",
        &authorization,
        "-H",
        &evil,
        &url,
    ])
    .unwrap();
    assert_eq!(status, 403);
    // The commands reach it without any certificate, and the owner's token is good for them alone.
    assert_eq!(address(&project), format!("https://0.0.0.0:{port}"));
    let owner = std::fs::read_to_string(project.path(".lamphouse/token")).unwrap();
    let header = format!("Authorization: Bearer {owner}");
    let (status, ..) = curl(&["--cacert", trust, "--resolve", &resolve, "-H", &header, &url]).unwrap();
    assert_eq!(status, 401);
    // Plain HTTP gets no answer there.
    assert!(curl(&[&format!("http://127.0.0.1:{port}/healthz")]).is_err());

    // Another certificate, without a restart.
    certificate(&project, &[NAME]);
    wait::until("the new certificate", Duration::from_secs(15), || {
        match ask("--http1.1") {
            Ok((200, ..)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // A bad one leaves it, and is told.
    std::fs::write(project.path("key.pem"), "nothing").unwrap();
    host.wait_status("the bad key to be told", wait::SHORT, |status| {
        status["problems"].to_string().contains("private key")
    });
    assert_eq!(ask("--http1.1").unwrap().0, 200);
    host.stop();
    let refused = project.fails(&["serve"]);
    assert!(refused.contains("key.pem holds no private key"), "{refused}");
    certificate(&project, &[NAME]);
    let other = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    std::fs::write(project.path("key.pem"), other.signing_key.serialize_pem()).unwrap();
    let refused = project.fails(&["serve"]);
    assert!(
        refused.contains("is not the key of the first certificate"),
        "{refused}"
    );
}

#[test]
fn commands_reach_a_host_with_a_certificate_of_ones_own() {
    let project = listening("127.0.0.1:0", TLS);
    certificate(&project, &["localhost"]);
    let token = add_token(&project, &["ops", "--role", "admin"]);
    let host = project.serve();
    let url = format!("https://localhost:{}", public_port(&host));
    let visitor = tempfile::tempdir().unwrap();
    let command = |arguments: &[&str]| {
        let output = Command::new(host_binary())
            .args(arguments)
            .args(["--url", &url])
            .current_dir(visitor.path())
            .env("LAMPHOUSE_TOKEN", &token)
            .env_remove("LAMPHOUSE_PROJECT")
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    };
    let trust = project.path("cert.pem");
    let (is_good, shown) = command(&["status", "--ca", trust.to_str().unwrap()]);
    assert!(
        is_good && shown.contains(&url.replace("localhost", "127.0.0.1")),
        "{shown}"
    );
    let (is_good, refused) = command(&["status"]);
    assert!(!is_good && refused.contains("--ca"), "{refused}");
    host.stop();
}

/// Takes the eight places that there are, until somebody else is turned away, and gives them back.
fn places_are_bounded(
    host: &Host,
    port: u16,
    health: impl Fn() -> Said,
    is_turned_away: impl Fn(&Said) -> bool,
) {
    let become_so = |what: &str, is_so: &dyn Fn(&Said) -> bool| {
        wait::until(what, Duration::from_secs(5), || {
            let answer = health();
            if is_so(&answer) {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        });
    };
    let held: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    become_so("the places to be taken", &is_turned_away);
    assert!(host.log().contains("turned away"), "{}", host.log());
    drop(held);
    become_so("a place to be free", &|answer| matches!(answer, Ok((200, ..))));
}

#[test]
fn more_tls_connections_than_there_may_be_are_closed() {
    let project = listening("127.0.0.1:0", &format!("connections_max = 8\n{TLS}"));
    certificate(&project, &["localhost"]);
    let host = project.serve();
    let port = public_port(&host);
    let trust = project.path("cert.pem");
    let url = format!("https://localhost:{port}/healthz");
    let health = || curl(&["--cacert", trust.to_str().unwrap(), &url]);
    assert_eq!(health().unwrap().0, 200);
    places_are_bounded(&host, port, health, |turned_away| turned_away.is_err());
    host.stop();
}

#[test]
fn beyond_loopback_there_must_be_tokens() {
    let exposed = listening("0.0.0.0:0", "");
    let refused = exposed.fails(&["serve"]);
    assert!(
        refused.contains("reachable from other machines") && refused.contains("plain_http"),
        "{refused}"
    );

    let project = listening("0.0.0.0:0", "plain_http = true\n");
    let refused = project.fails(&["serve"]);
    assert!(
        refused.contains("holds no token") && refused.contains("lamphouse token add"),
        "{refused}"
    );
    let token = add_token(&project, &["ops", "--role", "admin"]);
    let host = project.serve();
    assert!(host.log().contains("in the clear"), "{}", host.log());
    let port = public_port(&host);
    let url = format!("http://127.0.0.1:{port}/v1/status");
    assert_eq!(get(&url, &token, &[]), 200);
    assert_eq!(get(&url, &token, &["-H", &format!("Host: {NAME}")]), 200);
    assert_eq!(get(&url, &token, &["-H", "Host: evil.example"]), 403);
    assert_eq!(get(&url, &token, &["-H", "Origin: http://evil.example"]), 403);
    assert_eq!(get(&url, "lamphouse_wrong", &[]), 401);
    assert_eq!(get(&format!("{url}?token={token}"), &token, &[]), 400);
    assert!(!host.log().contains(&token), "{}", host.log());
    host.stop();
    // The last token gone, and it does not start again.
    project.ok(&["token", "remove", "ops"]);
    assert!(project.fails(&["serve"]).contains("holds no token"));
}

/// Reads until the other side closes; gives what came.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn a_slow_client_is_cut_while_others_are_served() {
    let project = Project::new(Database::sqlite());
    let host = project.serve();
    let address = address(&project);
    let slow = |text: &'static str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        std::thread::spawn(move || {
            let began = Instant::now();
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            for byte in text.bytes().cycle() {
                // A byte now and then keeps no connection open.
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
                match stream.read(&mut [0; 256]) {
                    Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
                    // What an answer says is the same to us: closed, or told and closed.
                    _ => break,
                }
                assert!(began.elapsed() < Duration::from_secs(60), "it may go on for ever");
            }
            began.elapsed()
        })
    };
    let silent = TcpStream::connect(&address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let began = Instant::now();
    let silent = std::thread::spawn(move || {
        assert!(rest(&silent).is_empty());
        began.elapsed()
    });
    let clients = [
        silent,
        slow("x-a: b\r\n"),
        slow("GET /v1/status HTTP/1.1\r\n"),
        slow("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ];
    while clients.iter().any(|client| !client.is_finished()) {
        let (status, ..) = curl(&[&format!("http://{address}/healthz")]).unwrap();
        assert_eq!(status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    for client in clients {
        let took = client.join().unwrap();
        assert!(took < Duration::from_secs(40), "{took:?}");
    }
    host.stop();
}

#[test]
fn more_connections_than_there_may_be_are_turned_away() {
    let project = Project::with_settings(Database::sqlite(), "connections_max = 8\n");
    let host = project.serve();
    let address = address(&project);
    let health = || curl(&[&format!("http://{address}/healthz")]);
    let port = public_port(&host);
    places_are_bounded(
        &host,
        port,
        health,
        |turned_away| matches!(turned_away, Ok((503, _, body)) if body.contains("connections_max")),
    );
    host.stop();
}
