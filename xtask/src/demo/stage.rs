//! A project folder with a host in it, watched by its status.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use xtask::paths;

const PROJECTION: &str = "order-summary";

/// Waits for the end of its input, which comes when the demo is over or gone, then removes the folder.
const SWEEPER: &str = r#"read -r _; rm -rf "$1""#;

/// Removed with everything in it at the end, on Ctrl-C too, unless it is to be kept.
pub(super) struct Stage {
    binary: PathBuf,
    folder: PathBuf,
    keep: bool,
    host: Option<Child>,
    sweeper: Option<Child>,
}

impl Stage {
    pub(super) fn new(binary: PathBuf, folder: PathBuf, keep: bool) -> Result<Self> {
        let mut stage = Self {
            binary,
            folder,
            keep,
            host: None,
            sweeper: None,
        };
        if !keep {
            let mut sweeper = Command::new("sh");
            sweeper
                .args(["-c", SWEEPER, "lamphouse-demo"])
                .arg(&stage.folder)
                .stdin(Stdio::piped());
            // A group of its own, so that Ctrl-C does not end it before its work.
            stage.sweeper = Some(sweeper.process_group(0).spawn().context("cannot run sh")?);
        }
        let made = stage
            .command(&[])
            .args(["init"])
            .arg(&stage.folder)
            .stdout(Stdio::null())
            .status();
        if !made.context("cannot run lamphouse")?.success() {
            bail!("`lamphouse init` failed; its messages are above");
        }
        Ok(stage)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        if !arguments.is_empty() {
            command.arg("--project").arg(&self.folder).args(arguments);
        }
        // Any free port: another host may listen on the usual one.
        command
            .env("LAMPHOUSE_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command whose output the person sees.
    pub(super) fn shown(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status().context("cannot run lamphouse")?;
        if !status.success() {
            bail!(
                "`lamphouse {}` failed; its messages are above",
                arguments.join(" ")
            );
        }
        Ok(())
    }

    pub(super) fn status(&self) -> Result<Value> {
        let output = self
            .command(&["status", "--json"])
            .output()
            .context("cannot run lamphouse")?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`lamphouse status` said: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    pub(super) fn serve(&mut self) -> Result<()> {
        let log = File::create(self.path("serve.log")).context("cannot make serve.log")?;
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone()?).stderr(log);
        self.host = Some(command.spawn().context("cannot start the host")?);
        let end = Instant::now() + Duration::from_secs(60);
        while self.status()?["host"]["running"] != true {
            self.still_runs()?;
            if Instant::now() > end {
                bail!("the host does not answer");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn still_runs(&mut self) -> Result<()> {
        if let Some(host) = &mut self.host
            && let Some(ended) = host.try_wait().context("cannot look after the host")?
        {
            let log = fs::read_to_string(self.path("serve.log")).unwrap_or_default();
            bail!("the host ended by itself ({ended}):\n{log}");
        }
        Ok(())
    }

    /// Puts a guest into the plugin folder, under another name first.
    pub(super) fn deploy(&self, guest: &str) -> Result<()> {
        let beside = self.path("plugins").join(".part");
        fs::copy(paths::guest(guest)?, &beside).context("cannot copy the plugin")?;
        fs::rename(beside, self.path("plugins").join(format!("{PROJECTION}.wasm")))
            .context("cannot place the plugin")
    }

    /// Shows the build of a version until it is public; gives its time and, in words, its rate.
    pub(super) fn watch_build(&mut self, version: &str, limit: Duration) -> Result<(Duration, String)> {
        let began = Instant::now();
        let style = ProgressStyle::with_template("   {msg:24} {bar:40.cyan/blue} {percent:>3}% {prefix}")?;
        let bar = ProgressBar::new(1).with_style(style.progress_chars("━━╌"));
        bar.set_message(format!("{PROJECTION} {version}"));
        let mut best: f64 = 0.0;
        loop {
            self.still_runs()?;
            let status = self.status()?;
            let projection = status["projections"]
                .as_array()
                .and_then(|all| all.first())
                .cloned()
                .unwrap_or_default();
            let head = status["log"]["head"].as_u64().unwrap_or(0);
            let others = projection["others"].as_array().cloned().unwrap_or_default();
            let mut generations = std::iter::once(&projection["live"]).chain(&others);
            if let Some(generation) = generations.find(|generation| generation["version"] == version) {
                let checkpoint = generation["checkpoint"].as_u64().unwrap_or(0);
                bar.set_length(head);
                bar.set_position(checkpoint);
                if let Some(rate) = generation["events_per_second"].as_f64() {
                    best = best.max(rate);
                    let left = generation["time_left_ms"].as_u64().unwrap_or(0) as f64 / 1_000.0;
                    bar.set_prefix(format!("{} events/s, {left:.1} s left", thousands(rate as u64)));
                }
                if generation["state"] == "live" && checkpoint == head {
                    bar.finish_and_clear();
                    let words = if best > 0.0 {
                        format!(", up to {} a second", thousands(best as u64))
                    } else {
                        String::new()
                    };
                    return Ok((began.elapsed(), words));
                }
                if !generation["fault"].is_null() {
                    bail!(
                        "{PROJECTION} {version} is faulted: {}",
                        generation["fault"]["message"]
                    );
                }
            }
            if began.elapsed() > limit {
                bail!("{PROJECTION} {version} is not live after {limit:?}: {projection:#}");
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    /// SIGTERM, and waits for the end.
    pub(super) fn stop(&mut self) -> Result<()> {
        if let Some(mut host) = self.host.take() {
            let _ = Command::new("kill").arg(host.id().to_string()).status();
            host.wait().context("cannot wait for the host")?;
        }
        Ok(())
    }

    pub(super) fn say_how_to_look_further(&self) {
        if self.keep {
            let (binary, folder) = (self.binary.display(), self.folder.display());
            println!("The project is kept. To look further:");
            println!("   {binary} --project {folder} status");
            println!("   {binary} --project {folder} query 'SELECT * FROM orders LIMIT 5'");
            println!("   {binary} --project {folder} serve");
        } else {
            println!(
                "To look further: `cargo xtask demo --keep` leaves the project folder and says where it is."
            );
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(host) = &mut self.host {
            // It may have ended; then there is nothing to end.
            let _ = host.kill();
            let _ = host.wait();
        }
        if let Some(mut sweeper) = self.sweeper.take() {
            drop(sweeper.stdin.take());
            // It may be gone; then the folder stays in the temporary folder.
            let _ = sweeper.wait();
        }
    }
}

/// A headline.
pub(super) fn step(text: &str) {
    let (bold, plain) = if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    println!("\n{bold}── {text}{plain}");
}

/// `567,806`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
