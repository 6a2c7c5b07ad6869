//! A project folder of a scenario's own, and the `lamphouse` commands on it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::database::Database;
use crate::host::Host;
use crate::truth::Truth;

/// A project folder; removed with the last clone.
#[derive(Clone)]
pub struct Project {
    folder: Arc<TempDir>,
    database: Database,
    /// A library that every command of the project is started with.
    preload: Option<PathBuf>,
}

impl Project {
    /// A project on this database with default settings.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new(database: Database) -> Self {
        Self::with_settings(database, "")
    }

    /// A project with more of `lamphouse.toml`, for example `"[pipeline]\nbatch_events_max = 7\n"`.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn with_settings(database: Database, settings: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lamphouse-e2e-")
            .tempdir()
            .expect("a folder");
        let project = Self {
            folder: Arc::new(folder),
            database,
            preload: None,
        };
        fs::create_dir(project.path("plugins")).expect("a plugin folder");
        project.set_settings(settings);
        project
    }

    /// Starts every command from now on with this library before all others.
    pub fn preload(&mut self, library: PathBuf) {
        self.preload = Some(library);
    }

    /// Writes `lamphouse.toml` anew.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn set_settings(&self, settings: &str) {
        let urls = match self.database.url() {
            None => "[log]\nurl = \"sqlite:log.db\"\n[tables]\nurl = \"sqlite:tables.db\"\n".to_owned(),
            Some(url) => format!("[log]\nurl = \"{url}\"\n[tables]\nurl = \"{url}\"\n"),
        };
        // Port 0: every scenario's host gets a free port of its own, and records it.
        let text = format!("{urls}[host]\nlisten = \"127.0.0.1:0\"\n{settings}");
        fs::write(self.path("lamphouse.toml"), text).expect("a configuration");
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Which database it is on.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Puts a built guest (`order-summary-1.0.0`) into the plugin folder as `FILE.wasm`, as a careful tool does: under
    /// another name first, then by a rename.
    ///
    /// # Panics
    /// When the guest has not been built.
    pub fn deploy(&self, guest: &str, file: &str) {
        let from = xtask::paths::guest(guest).unwrap_or_else(|error| panic!("{error:#}"));
        self.deploy_bytes(&fs::read(from).expect("the guest's bytes"), file);
    }

    /// Puts these bytes into the plugin folder as `FILE.wasm`, by a rename.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn deploy_bytes(&self, bytes: &[u8], file: &str) {
        let beside = self.path("plugins").join(format!(".{file}.part"));
        fs::write(&beside, bytes).expect("a plugin file");
        fs::rename(beside, self.path("plugins").join(format!("{file}.wasm"))).expect("a plugin file");
    }

    /// Takes `FILE.wasm` out of the plugin folder.
    ///
    /// # Panics
    /// When it is not there.
    pub fn undeploy(&self, file: &str) {
        fs::remove_file(self.path("plugins").join(format!("{file}.wasm"))).expect("a plugin file to remove");
    }

    /// The command, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_binary());
        command.arg("--project").arg(self.folder.path()).args(arguments);
        command
            .stdin(Stdio::null())
            .env_remove("LAMPHOUSE_LOG_URL")
            .env_remove("LAMPHOUSE_TABLES_URL");
        command.env_remove("LAMPHOUSE_LISTEN").env("NO_COLOR", "1");
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started at all, or one of its threads panics.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self
            .command(arguments)
            .output()
            .expect("the lamphouse binary runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        // With a thread's number: a guest's own panic has none.
        let mut lines = errors.lines();
        assert!(
            !lines.any(|line| line.starts_with("thread '") && line.contains(") panicked at ")),
            "a thread of `lamphouse {}` panicked:\n{errors}",
            arguments.join(" ")
        );
        output
    }

    /// Runs a command that must succeed; gives its standard output.
    ///
    /// # Panics
    /// When it fails, with its messages.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "lamphouse {} failed:\n{}",
            arguments.join(" "),
            said(&output)
        );
        String::from_utf8(output.stdout).expect("UTF-8 from lamphouse")
    }

    /// Runs a command that must fail with exit code 1 or 2; gives what it said on standard error.
    ///
    /// # Panics
    /// When it succeeds, or dies otherwise.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let code = output.status.code();
        assert!(
            matches!(code, Some(1 | 2)),
            "lamphouse {} should fail in order, but ended with {code:?}:\n{}",
            arguments.join(" "),
            said(&output)
        );
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!message.contains("panicked at"), "{message}");
        message
    }

    /// Runs a command with `--json` and reads its one document.
    ///
    /// # Panics
    /// When it fails or is no JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let text = self.ok(&all);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the answer of {all:?}: {text}"))
    }

    /// Runs a command with `--json` that gives JSON Lines.
    ///
    /// # Panics
    /// When it fails or a line is no JSON.
    #[track_caller]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = arguments.to_vec();
        all.push("--json");
        let text = self.ok(&all);
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().map(read).collect()
    }

    /// Imports a file.
    ///
    /// # Panics
    /// When the import fails.
    #[track_caller]
    pub fn import(&self, file: &Path) {
        self.ok(&["import", file.to_str().expect("a path of text")]);
    }

    /// Appends one event by the command, with any expected version.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn append(&self, stream: &str, event_type: &str, data: &Value) {
        self.ok(&self
            .append_arguments(stream, event_type, &data.to_string())
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>());
    }

    /// The arguments of an append of one event.
    pub fn append_arguments(&self, stream: &str, event_type: &str, data: &str) -> Vec<String> {
        let fixed = [
            "--stream-type",
            "test",
            "--reason",
            "Appended by an end-to-end scenario",
        ];
        let mut all: Vec<String> = ["append", "--stream", stream, "--type", event_type, "--data", data]
            .map(str::to_owned)
            .into();
        all.extend(fixed.map(str::to_owned));
        all
    }

    /// Imports these lines from a file of their own.
    ///
    /// # Panics
    /// When the import fails.
    #[track_caller]
    pub fn import_lines<L: AsRef<str>>(&self, name: &str, lines: impl IntoIterator<Item = L>) {
        let file = self.path(&format!("{name}.jsonl"));
        crate::log_file::write(&file, lines);
        self.import(&file);
    }

    /// Brings every projection to the head without a host, and cuts over.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn catch_up(&self) {
        self.ok(&["catch-up"]);
    }

    /// The status document; Err while the host cannot say.
    ///
    /// # Errors
    /// What the command said.
    pub fn status(&self) -> Result<Value, String> {
        let output = self.run(&["status", "--json"]);
        // A status that is not healthy may say so by its exit code too; the document is what counts.
        serde_json::from_slice(&output.stdout).map_err(|_| said(&output))
    }

    /// Starts `serve` and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn serve(&self) -> Host {
        let mut host = self.start();
        host.wait_running();
        host
    }

    /// Starts a host by this command of [`Self::command`], without waiting.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn start_command(&self, command: Command) -> Host {
        Host::start(self.clone(), command)
    }

    /// Starts `serve` without waiting.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn start(&self) -> Host {
        Host::start(self.clone(), self.command(&["serve"]))
    }

    /// Starts `dev` with this folder of a plugin's sources, whose tools get these settings. Does not wait.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn start_dev(&self, sources: &Path, settings: &[(&str, &OsStr)]) -> Host {
        let mut command = self.command(&["dev"]);
        command.arg(sources).envs(settings.iter().copied());
        Host::start(self.clone(), command)
    }

    /// Starts `serve` so that a limit on the size of its files (`prlimit --fsize`) makes its writes fail, as a full
    /// disk does, and does not end it; its own log goes on. Does not wait.
    ///
    /// # Panics
    /// When it cannot be started at all.
    pub fn start_under_file_limits(&self) -> Host {
        let host = self.command(&["serve"]);
        let mut command = Command::new("bash");
        // The log goes through a process that has no limit.
        let script = "trap '' XFSZ; exec \"$0\" \"$@\" > >(exec cat) 2>&1";
        command
            .args(["-c", script])
            .arg(host.get_program())
            .args(host.get_args())
            .stdin(Stdio::null());
        for (name, value) in host.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Host::start(self.clone(), command)
    }

    /// A user's connection to the read tables.
    ///
    /// # Panics
    /// When the database lets nobody in.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.try_client().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A user's connection to the read tables, or why not.
    ///
    /// # Errors
    /// The database's own.
    pub fn try_client(&self) -> Result<Client> {
        match self.database.url() {
            None => Client::sqlite(&self.path("tables.db")),
            Some(url) => Client::postgres(&url),
        }
    }

    /// A user's connection to the log's database.
    ///
    /// # Panics
    /// When the database lets nobody in.
    #[track_caller]
    pub fn log_client(&self) -> Client {
        let opened = match self.database.url() {
            None => Client::sqlite(&self.path("log.db")),
            Some(url) => Client::postgres(&url).and_then(|mut client| {
                client.execute("SET search_path = lamphouse, public")?;
                Ok(client)
            }),
        };
        opened.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// What the read tables hold now.
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    pub fn tables(&self, with_countries: bool) -> Truth {
        Truth::of_tables(&mut self.client(), with_countries).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Position of the log's last event.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[track_caller]
    pub fn head(&self) -> u64 {
        self.status().unwrap_or_else(|error| panic!("{error}"))["log"]["head"]
            .as_u64()
            .expect("a head")
    }
}

/// What a command printed, for messages.
pub fn said(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{err}(exit {:?})", output.status.code())
}

/// The binary, built once where it is missing. `cargo xtask test` builds it beforehand.
pub fn host_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary = xtask::paths::host();
        if binary.exists() {
            return binary;
        }
        xtask::paths::build_host().unwrap_or_else(|error| panic!("{error:#}"))
    })
}
