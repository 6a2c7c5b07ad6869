//! A running `lamphouse serve`.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::project::Project;
use crate::wait;

/// A host process; killed when dropped.
pub struct Host {
    project: Project,
    child: Child,
}

impl Host {
    pub(crate) fn start(project: Project, mut command: Command) -> Self {
        let file = project.path("serve.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(file)
            .expect("a log file");
        command.stdout(log.try_clone().expect("a log file")).stderr(log);
        let child = command.spawn().expect("the lamphouse binary runs");
        Self { project, child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard output and error, over all its lives in this folder.
    pub fn log(&self) -> String {
        fs::read_to_string(self.project.path("serve.log")).unwrap_or_default()
    }

    /// Waits until this process owns the tables and answers.
    ///
    /// # Panics
    /// When it ends or stays silent; with its log.
    #[track_caller]
    pub fn wait_running(&mut self) {
        wait::until("the host to answer", wait::LONG, || {
            assert!(self.is_running(), "the host ended at once:\n{}", self.log());
            let status = self.project.status()?;
            let ours = status["host"]["pid"].as_u64() == Some(u64::from(self.pid()));
            let up = status["host"]["running"].as_bool() == Some(true);
            if ours && up {
                Ok(())
            } else {
                Err(format!("{status}\nits log:\n{}", self.log()))
            }
        });
    }

    /// Waits for a status.
    ///
    /// # Panics
    /// When the time is over; with the last status and the host's log.
    #[track_caller]
    pub fn wait_status(&self, what: &str, limit: Duration, good: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, limit, || {
            let status = self.project.status()?;
            if good(&status) {
                return Ok(status);
            }
            Err(format!(
                "{status:#}\nthe host's log ends:\n{}",
                end_of(&self.log(), 30)
            ))
        })
    }

    /// Waits until this projection's public generation is at the head of the log and nothing is being built.
    ///
    /// # Panics
    /// When the time is over.
    #[track_caller]
    pub fn wait_level(&self, projection: &str) -> Value {
        self.wait_status(
            &format!("{projection} to be level with the log"),
            wait::LONG,
            |status| is_level(status, projection),
        )
    }

    /// Waits until this version is public and level.
    ///
    /// # Panics
    /// When the time is over.
    #[track_caller]
    pub fn wait_version(&self, projection: &str, version: &str) -> Value {
        self.wait_status(
            &format!("{projection} {version} to be live"),
            wait::LONG,
            |status| is_level(status, projection) && of(status, projection)["live"]["version"] == version,
        )
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL: no last words, no clean-up.
    ///
    /// # Panics
    /// When it had ended before by itself: then the kill proves nothing.
    #[track_caller]
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("the host can be waited for");
        assert!(
            ended.is_none(),
            "the host ended by itself ({ended:?}):\n{}",
            self.log()
        );
        self.child.kill().expect("the host can be killed");
        let status = self.child.wait().expect("the host can be waited for");
        assert_eq!(
            status.signal(),
            Some(9),
            "the host ended in another way: {status}"
        );
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success(), "the host had ended before");
        let child = &mut self.child;
        wait::until("the host to end after SIGTERM", wait::SHORT, || {
            match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                other => Err(format!("{other:?}")),
            }
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.is_running() {
            // It may have ended between the two; then there is nothing to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// One projection of a status document; null where there is none.
pub fn of<'a>(status: &'a Value, projection: &str) -> &'a Value {
    let all = status["projections"].as_array();
    all.and_then(|all| all.iter().find(|one| one["name"] == projection))
        .unwrap_or(&Value::Null)
}

/// Whether the projection's public generation is at the head and none is being built.
pub fn is_level(status: &Value, projection: &str) -> bool {
    let one = of(status, projection);
    let building = one["others"].as_array().is_some_and(|others| {
        others
            .iter()
            .any(|other| matches!(other["state"].as_str(), Some("building" | "ready")))
    });
    !building && !one["live"].is_null() && one["live"]["checkpoint"] == status["log"]["head"]
}

fn end_of(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
