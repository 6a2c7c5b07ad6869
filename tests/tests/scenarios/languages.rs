//! Plugins in every language, as a person writes them who knows only that one: `plugin new`, `build`, the native test,
//! `plugin test`, `plugin check`, deployed to a running host, changed, deployed hot, cut over.
//!
//! Where its tools are missing, the scenario says loudly that it was skipped, and fails where nothing may be skipped.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use lamphouse_tests::host::of;
use lamphouse_tests::project::{host_binary, said};
use lamphouse_tests::{Database, Project, log_file, long, strict, wait};
use serde_json::json;
use xtask::languages::Language;

#[test]
fn a_plugin_in_rust_goes_from_nothing_to_a_cutover() {
    goes_everywhere(&RUST);
}

#[test]
fn a_plugin_in_typescript_goes_from_nothing_to_a_cutover() {
    goes_everywhere(&TYPESCRIPT);
}

#[test]
fn a_plugin_in_python_goes_from_nothing_to_a_cutover() {
    goes_everywhere(&PYTHON);
}

#[test]
fn a_plugin_in_go_goes_from_nothing_to_a_cutover() {
    goes_everywhere(&GO);
}

#[test]
fn a_plugin_in_c_goes_from_nothing_to_a_cutover() {
    goes_everywhere(&C);
}

/// A language as its templates have it.
struct Template {
    /// On the command line.
    key: &'static str,
    /// Runs the native tests.
    native: &'static [&'static str],
    /// What makes version 0.2.0 of it, with one more column: `channel`, which is `web`. File, text, what it becomes.
    change: &'static [(&'static str, &'static str, &'static str)],
}

const RUST: Template = Template {
    key: "rust",
    native: &["cargo", "test"],
    change: &[
        ("Cargo.toml", "version = \"0.1.0\"", "version = \"0.2.0\""),
        (
            "src/lib.rs",
            "    pub placed_at: Timestamp,\n",
            "    pub placed_at: Timestamp,\n    pub channel: String,\n",
        ),
        (
            "src/lib.rs",
            "placed_at: event.occurred_at(),\n",
            "placed_at: event.occurred_at(),\n                    channel: \"web\".into(),\n",
        ),
    ],
};

const TYPESCRIPT: Template = Template {
    key: "typescript",
    native: &["npm", "test"],
    change: &[
        ("src/plugin.ts", "version: \"0.1.0\"", "version: \"0.2.0\""),
        (
            "src/plugin.ts",
            "placedAt: timestamp(),\n",
            "placedAt: timestamp(),\n  channel: text(),\n",
        ),
        (
            "src/plugin.ts",
            "placedAt: event.occurredAt,\n",
            "placedAt: event.occurredAt,\n        channel: \"web\",\n",
        ),
    ],
};

const PYTHON: Template = Template {
    key: "python",
    native: &[".venv/bin/python", "-m", "pytest", "-q"],
    change: &[
        ("plugin.py", "version = \"0.1.0\"", "version = \"0.2.0\""),
        (
            "plugin.py",
            "    placed_at: datetime\n",
            "    placed_at: datetime\n    channel: str\n",
        ),
        (
            "plugin.py",
            "placed_at=event.occurred_at,\n",
            "placed_at=event.occurred_at,\n                channel=\"web\",\n",
        ),
    ],
};

const GO: Template = Template {
    key: "go",
    native: &["go", "test", "./..."],
    change: &[
        ("plugin.go", "\"0.1.0\"", "\"0.2.0\""),
        (
            "plugin.go",
            "`lamphouse:\"placed_at\"`\n",
            "`lamphouse:\"placed_at\"`\n\tChannel string `lamphouse:\"channel\"`\n",
        ),
        (
            "plugin.go",
            "PlacedAt:   e.OccurredAt,\n",
            "PlacedAt:   e.OccurredAt,\n\t\tChannel: \"web\",\n",
        ),
    ],
};

const C: Template = Template {
    key: "c",
    native: &["make", "test"],
    change: &[
        ("plugin.c", "\"0.1.0\"", "\"0.2.0\""),
        ("plugin.c", "TOTAL, PLACED_AT };", "TOTAL, PLACED_AT, CHANNEL };"),
        (
            "plugin.c",
            "[PLACED_AT] = LH_TIMESTAMP(\"placed_at\"),\n",
            "[PLACED_AT] = LH_TIMESTAMP(\"placed_at\"),\n    [CHANNEL] = LH_TEXT(\"channel\"),\n",
        ),
        (
            "plugin.c",
            "lh_of_timestamp(event->occurred_at),\n",
            "lh_of_timestamp(event->occurred_at),\n        [CHANNEL] = lh_of_str(\"web\"),\n",
        ),
    ],
};

/// The files of the projector's two versions.
struct Built {
    first: Vec<u8>,
    second: Vec<u8>,
}

/// `lamphouse` in a folder of plugins' sources.
fn lamphouse(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(host_binary());
    command.current_dir(folder).args(arguments);
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    command.envs(tools().iter().map(|(name, value)| (name, value)));
    // Rust's are compiled once for projector and upcaster, and kept for the next time.
    command.env("CARGO_TARGET_DIR", cargo_target());
    command.output().expect("the host's binary")
}

/// What lets `plugin build` find the compilers that were fetched for a machine that has none for Wasm.
fn tools() -> &'static [(&'static str, OsString)] {
    static TOOLS: OnceLock<Vec<(&'static str, OsString)>> = OnceLock::new();
    TOOLS.get_or_init(|| {
        // What cannot be fetched is told where it is missed.
        let rust = xtask::guests::environment().unwrap_or_default();
        let c = Language::C.environment().unwrap_or_default();
        [rust, c].concat()
    })
}

/// One for all: cargo takes projects of one name for one another, also where their folders differ, so that there is one
/// of each name.
fn cargo_target() -> PathBuf {
    xtask::paths::target_dir().join("languages").join("target")
}

/// An empty folder for sources, at the same path each time: cargo keeps what it compiled by path.
fn sources(name: &str) -> PathBuf {
    let folder = xtask::paths::target_dir().join("languages").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the last run's sources removed");
    }
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[track_caller]
fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = lamphouse(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// Everything before a host: None where the language's tools are not there.
fn built(language: &Template) -> Option<Built> {
    let folder = &sources(language.key);
    ok(folder, &["plugin", "new", "shop-orders", "--lang", language.key]);
    ok(
        folder,
        &[
            "plugin",
            "new",
            "shop-events",
            "--kind",
            "upcaster",
            "--lang",
            language.key,
        ],
    );
    let again = lamphouse(folder, &["plugin", "new", "shop-orders", "--lang", language.key]);
    assert!(said(&again).contains("nothing was changed"), "{}", said(&again));

    let first = lamphouse(folder, &["plugin", "build", "shop-orders"]);
    if !first.status.success() && is_missing(&first) {
        assert!(!strict(), "nothing may be skipped: {}", said(&first));
        eprintln!(
            "SKIPPED: no plugin in {} is built here: {}",
            language.key,
            said(&first)
        );
        return None;
    }
    assert!(first.status.success(), "{}", said(&first));
    passes(language, folder, "shop-orders");
    let upcaster = ok(folder, &["plugin", "build", "shop-events"]);
    assert!(upcaster.contains("an upcaster"), "{upcaster}");
    passes(language, folder, "shop-events");

    let file = folder.join("shop-orders/build/shop-orders.wasm");
    let first = fs::read(&file).expect("a plugin file");
    a_wrong_case_is_shown(folder);
    for (name, from, to) in language.change {
        let path = folder.join("shop-orders").join(name);
        let text = fs::read_to_string(&path).expect("a template's file");
        assert_eq!(text.matches(from).count(), 1, "{name} holds this once: {from}");
        fs::write(&path, text.replace(from, to)).expect("written");
    }
    ok(folder, &["plugin", "build", "shop-orders"]);
    let second = fs::read(&file).expect("a plugin file");
    Some(Built { first, second })
}

fn is_missing(output: &Output) -> bool {
    let said = said(output);
    let words = [
        "is not installed",
        "no C compiler for WebAssembly",
        "is not on the PATH",
        "cannot make an environment",
        "rustup target add",
    ];
    words.iter().any(|word| said.contains(word))
}

/// Its native tests, its cases, and the check.
#[track_caller]
fn passes(language: &Template, folder: &Path, name: &str) {
    let mut native = Command::new(folder.join(name).join(language.native[0]));
    if !language.native[0].contains('/') {
        native = Command::new(language.native[0]);
    }
    native.args(&language.native[1..]).current_dir(folder.join(name));
    native
        .env("CARGO_TARGET_DIR", cargo_target())
        .stdin(Stdio::null());
    let output = native.output().expect("the language's own test command");
    assert!(output.status.success(), "{}: {}", language.key, said(&output));
    let cases = ok(folder, &["plugin", "test", name]);
    assert!(cases.contains("all as they should be"), "{cases}");
    let checked = ok(folder, &["plugin", "check", &format!("{name}/build/{name}.wasm")]);
    assert!(checked.contains("it may be deployed"), "{checked}");
}

#[track_caller]
fn a_wrong_case_is_shown(folder: &Path) {
    let cases = "- case: too many lines\n  given:\n    - {stream_id: o-1, event_type: OrderPlaced, data: {customer_id: c}}\n  \
                 then:\n    shop_orders: [{order_id: o-1, lines: 9}]\n";
    fs::write(folder.join("wrong.yaml"), cases).expect("written");
    let file = "shop-orders/build/shop-orders.wasm";
    let output = lamphouse(folder, &["plugin", "test", file, "--cases", "wrong.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    for words in [
        "row order_id = 'o-1'",
        "is 0, should be 9",
        "1 of 1 case failed",
        "wrong.yaml, line 1",
    ] {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
}

/// From nothing to a cutover. The database does not know a plugin's language, so one that is not Rust goes on SQLite
/// alone where time is short.
fn goes_everywhere(language: &Template) {
    let Some(built) = built(language) else { return };
    goes(Database::sqlite(), &built);
    let is_due = language.key == RUST.key || long();
    if let Some(database) = is_due.then(Database::postgres).flatten() {
        goes(database, &built);
    }
}

/// Both versions on a running host.
fn goes(database: Database, built: &Built) {
    let project = Project::new(database);
    project.import_lines(
        "orders",
        [
            log_file::line("order-1", "OrderPlaced", &json!({"customer_id": "c-7"})),
            log_file::line(
                "order-1",
                "LineAdded",
                &json!({"quantity": 3, "unit_price": "2.50"}),
            ),
            log_file::line("order-2", "OrderPlaced", &json!({"customer_id": null})),
            log_file::line(
                "order-1",
                "LineAdded",
                &json!({"quantity": 1, "unit_price": "0.99"}),
            ),
        ],
    );
    fs::write(project.path("checked.wasm"), &built.first).expect("written");
    let checked = project.ok(&[
        "plugin",
        "check",
        &project.path("checked.wasm").display().to_string(),
    ]);
    assert!(
        checked.contains("4 events in batches of 1, 7 and 1000"),
        "{checked}"
    );

    let host = project.serve();
    project.deploy_bytes(&built.first, "shop-orders");
    host.wait_version("shop-orders", "0.1.0");
    project.append("order-2", "OrderShipped", &json!({}));
    host.wait_level("shop-orders");
    let row = |values: [Option<&str>; 5]| values.map(|value| value.map(str::to_owned)).to_vec();
    let rows = [
        row([
            Some("order-1"),
            Some("c-7"),
            Some("placed"),
            Some("2"),
            Some("8.49"),
        ]),
        row([Some("order-2"), None, Some("shipped"), Some("0"), Some("0.00")]),
    ];
    let sql = "SELECT order_id, customer_id, status, lines, total FROM shop_orders ORDER BY order_id";
    assert_eq!(project.client().query(sql).expect("rows"), rows);

    project.deploy_bytes(&built.second, "shop-orders");
    let status = host.wait_version("shop-orders", "0.2.0");
    assert_eq!(of(&status, "shop-orders")["healthy"], true, "{status:#}");
    let mut client = project.client();
    assert_eq!(client.query(sql).expect("rows"), rows);
    let channels = client.query("SELECT channel, count(*) FROM shop_orders GROUP BY channel");
    assert_eq!(
        channels.expect("rows"),
        [vec![Some("web".to_owned()), Some("2".to_owned())]]
    );
    host.stop();
}

#[test]
fn dev_builds_and_deploys_when_sources_change() {
    follows_sources(Database::sqlite());
    if let Some(database) = long().then(Database::postgres).flatten() {
        follows_sources(database);
    }
}

fn follows_sources(database: Database) {
    let name = format!("dev-{}", database.kind());
    let folder = sources(&name);
    ok(&folder, &["plugin", "new", "till-orders", "--lang", "rust"]);
    let sources = folder.join("till-orders");
    let project = Project::new(database);
    let order = log_file::line("order-1", "OrderPlaced", &json!({"customer_id": "c-7"}));
    project.import_lines("orders", [order]);
    let target = cargo_target();
    let mut settings: Vec<_> = tools()
        .iter()
        .map(|(name, value)| (*name, value.as_os_str()))
        .collect();
    settings.push(("CARGO_TARGET_DIR", target.as_os_str()));
    let mut host = project.start_dev(&sources, &settings);
    host.wait_running();
    host.wait_version("till-orders", "0.1.0");

    // What does not build leaves what runs, and the compiler's words are in the host's log.
    let file = sources.join("src/lib.rs");
    let right = fs::read_to_string(&file).expect("the source");
    fs::write(&file, right.replace("fn describe()", "fn describes()")).expect("written");
    wait::until("the compiler's words", wait::LONG, || {
        match host.log().contains("describes") {
            true => Ok(()),
            false => Err(host.log()),
        }
    });
    host.wait_version("till-orders", "0.1.0");

    fs::write(&file, &right).expect("written");
    for (name, from, to) in RUST.change {
        let path = sources.join(name);
        let text = fs::read_to_string(&path).expect("a file");
        fs::write(&path, text.replace(from, to)).expect("written");
    }
    host.wait_version("till-orders", "0.2.0");
    let channels = project.client().query("SELECT channel FROM till_orders");
    assert_eq!(channels.expect("rows"), [vec![Some("web".to_owned())]]);
    // Builds write beside the sources, and start no other.
    let builds = || host.log().matches("A plugin is being built").count();
    let before = builds();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(builds(), before, "{}", host.log());
    host.stop();
}
