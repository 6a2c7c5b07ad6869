//! A whole host in this process, over SQLite: files in a folder, events in a log, rows in tables.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::{Host, Mode};
use super::operator::{HostStatus, Operator, Verb};
use crate::config::Config;
use crate::core::NewEvent;
use crate::log::{AppendRequest, ExpectedVersion, StreamAppend};
use crate::tables::QueryLimits;

mod patch {
    #![allow(unreachable_pub, reason = "the file is shared with tests outside this crate")]
    include!("../../../tests/guests/puppet/patch.rs");
}
use patch::patch_puppet;

struct Stage {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

pub(super) fn puppet(settings: &[(&str, &str)]) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/puppet.wasm");
    patch_puppet(&std::fs::read(file).unwrap(), settings)
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        std::fs::write(folder.path().join("lamphouse.toml"), "").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self { folder, runtime }
    }

    fn config(&self) -> Config {
        Config::load(self.folder.path()).unwrap()
    }

    fn drop_in(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("plugins").join(name), bytes).unwrap();
    }

    fn start(&self, mode: Mode) -> Arc<Host> {
        Host::start(self.config(), mode, self.runtime.handle().clone()).unwrap()
    }
}

fn append(host: &Host, stream: &str, event_type: &str, data: &str) {
    let event = NewEvent {
        id: None,
        event_type: event_type.to_owned(),
        schema_version: 1,
        data: serde_json::value::RawValue::from_string(data.to_owned()).unwrap(),
        metadata: serde_json::value::RawValue::from_string(r#"{"reason":"a test of the host"}"#.to_owned())
            .unwrap(),
        occurred_at: None,
    };
    let streams = vec![StreamAppend {
        stream_id: stream.to_owned(),
        stream_type: "thing".to_owned(),
        expected_version: ExpectedVersion::Any,
        events: vec![event],
    }];
    host.log()
        .append(AppendRequest {
            streams,
            idempotency: None,
        })
        .unwrap();
}

fn query(host: &Host, sql: &str) -> Vec<Vec<serde_json::Value>> {
    let limits = QueryLimits {
        rows_max: 100,
        time_max: Duration::from_secs(5),
    };
    host.store().query(sql, limits).unwrap().rows
}

/// Waits until the status is as wanted; panics with the last one after ten seconds.
fn wait(host: &Host, what: &str, wanted: impl Fn(&HostStatus) -> bool) -> HostStatus {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let status = host.status().unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(
            Instant::now() < until,
            "{what} did not come: {}",
            serde_json::to_string_pretty(&status).unwrap()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn live_version(status: &HostStatus) -> Option<String> {
    status
        .projections
        .first()?
        .live
        .as_ref()
        .map(|live| live.version.clone())
}

fn is_live(version: &'static str) -> impl Fn(&HostStatus) -> bool {
    move |status| {
        live_version(status).as_deref() == Some(version)
            && status.projections[0]
                .live
                .as_ref()
                .is_some_and(|live| live.lag_events == 0)
    }
}

#[test]
fn a_plugin_in_the_folder_becomes_a_table_that_follows_the_log() {
    let stage = Stage::new();
    stage.drop_in("puppet.wasm", &puppet(&[]));
    let host = stage.start(Mode::Serve);
    append(&host, "a", "Put", "\"one\"");
    wait(&host, "live", is_live("1.0.0"));
    append(&host, "b", "Put", "\"two\"");
    wait(&host, "the second event", |status| {
        is_live("1.0.0")(status) && status.projections[0].live.as_ref().unwrap().checkpoint == 2
    });
    assert_eq!(query(&host, "SELECT id FROM puppet ORDER BY id").len(), 2);
}

#[test]
fn whoever_finds_the_recorded_address_sees_the_owner_that_listens_there() {
    let stage = Stage::new();
    stage.drop_in("puppet.wasm", &puppet(&[]));
    let host = stage.start(Mode::Serve);
    host.announce("127.0.0.1:7117", "127.0.0.1:7117");
    let until = Instant::now() + Duration::from_secs(10);
    while host.store().owner_address().unwrap().is_none() {
        assert!(Instant::now() < until, "the address was not recorded");
    }
    let host = host.status().unwrap().host;
    assert_eq!(
        (host.address.as_deref(), host.role.as_str()),
        (Some("127.0.0.1:7117"), "owner")
    );
}

#[test]
fn a_new_version_is_built_beside_the_live_one_and_rolled_back_for_good() {
    let stage = Stage::new();
    stage.drop_in("puppet.wasm", &puppet(&[]));
    let host = stage.start(Mode::Serve);
    append(&host, "a", "Put", "\"one\"");
    wait(&host, "live", is_live("1.0.0"));
    let stamps = |host: &Host| query(host, "SELECT DISTINCT stamp FROM puppet");
    assert_eq!(stamps(&host), vec![vec![serde_json::json!("v1")]]);
    stage.drop_in("puppet.wasm", &puppet(&[("version", "2.0.0"), ("stamp", "v2")]));
    wait(&host, "version 2", is_live("2.0.0"));
    assert_eq!(stamps(&host), vec![vec![serde_json::json!("v2")]]);
    append(&host, "b", "Put", "\"two\"");
    host.operate("puppet", Verb::Rollback { breaking: false })
        .unwrap();
    wait(&host, "the rollback", is_live("1.0.0"));
    assert_eq!(stamps(&host), vec![vec![serde_json::json!("v1")]]);
    assert_eq!(
        query(&host, "SELECT id FROM puppet").len(),
        2,
        "the retired generation was brought level"
    );
    host.stop();
    drop(host);
    let host = stage.start(Mode::Serve);
    let status = wait(&host, "the file to be held", |status| {
        status.files.iter().any(|file| file.state == "held")
    });
    assert_eq!(live_version(&status).as_deref(), Some("1.0.0"));
    host.operate("puppet", Verb::Cutover { breaking: false }).unwrap();
    wait(&host, "forward again", is_live("2.0.0"));
    host.stop();
}

#[test]
fn a_version_that_fails_on_its_first_event_leaves_the_old_one_serving() {
    let stage = Stage::new();
    stage.drop_in("puppet.wasm", &puppet(&[]));
    let host = stage.start(Mode::Serve);
    append(&host, "a", "Put", "\"one\"");
    wait(&host, "live", is_live("1.0.0"));
    stage.drop_in(
        "puppet.wasm",
        &puppet(&[("version", "2.0.0"), ("project", "panic")]),
    );
    let status = wait(&host, "the fault", |status| !status.projections[0].healthy);
    let message = &status.projections[0].message;
    assert!(
        message.contains("position 1") && message.contains("puppet 2.0.0"),
        "{message}"
    );
    append(&host, "b", "Put", "\"two\"");
    wait(&host, "the old one to go on", |status| {
        live_version(status).as_deref() == Some("1.0.0")
            && status.projections[0].live.as_ref().unwrap().checkpoint == 2
    });
    host.stop();
    drop(host);
    let host = stage.start(Mode::Serve);
    wait(&host, "the old one after a restart", is_live("1.0.0"));
    host.stop();
}

#[test]
fn a_catch_up_waits_for_files_that_were_just_put_there() {
    let stage = Stage::new();
    stage.drop_in("puppet.wasm", &puppet(&[]));
    let host = stage.start(Mode::CatchUp);
    append(&host, "a", "Put", "\"one\"");
    let status = host.run_until_caught_up(|_| {}).unwrap();
    assert_eq!(live_version(&status).as_deref(), Some("1.0.0"));
    assert_eq!(query(&host, "SELECT id FROM puppet").len(), 1);
}
