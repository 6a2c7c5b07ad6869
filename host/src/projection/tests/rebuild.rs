//! Whole rebuilds, with native code in the place of a guest's: what a call is given, and how a rebuild rests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use lamphouse_contract::packed;
use serde_json::value::RawValue;

use crate::config::DatabaseUrl;
use crate::core::bell::Bell;
use crate::core::clock::Clock;
use crate::core::limits::{AppendLimits, FaultPolicy, PipelineLimits, PluginLimits};
use crate::core::{NewEvent, PluginName};
use crate::log::{AppendRequest, EventLog, ExpectedVersion, ImportCursor, ImportEvent, StreamAppend};
use crate::plugin::Sandbox;
use crate::projection::{Profile, Runner, RunnerEvent, RunnerNews, RunnerSpec, Surroundings, Tail};
use crate::tables::{PluginRecord, ProjectionRecord, TableStore};
use crate::upcast::Upcasters;

/// More than what the end of the log, read once for all, holds.
const EVENTS: u64 = 2_400;
const WAIT_MAX: Duration = Duration::from_secs(60);

const LINE: &str =
    r#"{"line_no":1,"sku":"A","description":null,"quantity":2,"unit_price":"1.50","invoice_date":null}"#;
const HEADER: &str = r#"{"customer_id":"c-1","country":"France"}"#;
/// Not as it is declared: a country is a text.
const ODD_HEADER: &str = r#"{"customer_id":"c-1","country":33}"#;

/// What a call was given of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    position: u64,
    event_type: String,
    has_fields: bool,
    data: String,
}

struct Bench {
    log: Arc<dyn EventLog>,
    store: Arc<dyn TableStore>,
    sandbox: Arc<Sandbox>,
    _folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// A rebuild that is under way, and what it tells.
struct Rebuild {
    runner: Runner,
    news: Receiver<RunnerEvent>,
    given: Receiver<Given>,
    tail: Arc<Tail>,
}

fn new_event(event_type: &str, data: &str) -> NewEvent {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    NewEvent {
        id: None,
        event_type: event_type.to_owned(),
        schema_version: 1,
        data: raw(data),
        metadata: raw(r#"{"reason":"a test of rebuilds"}"#),
        occurred_at: None,
    }
}

fn guest(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/guests")
        .join(file);
    std::fs::read(path).expect("target/guests: run `cargo xtask guests`")
}

impl Bench {
    /// A log of lines, with a header that is as declared and one that is not.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let at = |name: &str| DatabaseUrl::Sqlite(folder.path().join(name));
        let limits = AppendLimits::default();
        let handle = runtime.handle().clone();
        let log = crate::log::open(&at("log.db"), &limits, Clock::system(), handle.clone()).unwrap();
        let store = crate::tables::open(&at("tables.db"), handle).unwrap();
        let bench = Self {
            log,
            store,
            sandbox: Sandbox::new(PluginLimits::default(), None).unwrap(),
            _folder: folder,
            _runtime: runtime,
        };
        bench.import("all", EVENTS, |line| match line {
            10 => new_event("OrderCancelled", HEADER),
            20 => new_event("OrderPlaced", ODD_HEADER),
            _ => new_event("LineAdded", LINE),
        });
        bench
    }

    /// Appends so many events at once.
    fn import(&self, digest: &str, lines: u64, event: impl Fn(u64) -> NewEvent) {
        let cursor = ImportCursor {
            digest: digest.to_owned(),
            bytes: 1,
            lines,
        };
        let lines = (1..=lines).map(|line| ImportEvent {
            line,
            stream_id: format!("order-{}", line % 40),
            stream_type: "order".to_owned(),
            idempotency_key: None,
            event: event(line),
        });
        self.log.import(lines.collect(), None, &cursor).unwrap();
    }

    fn append_line(&self, stream_id: &str) {
        let request = AppendRequest {
            streams: vec![StreamAppend {
                stream_id: stream_id.to_owned(),
                stream_type: "order".to_owned(),
                expected_version: ExpectedVersion::NoStream,
                events: vec![new_event("LineAdded", LINE)],
            }],
            idempotency: None,
        };
        self.log.append(request).unwrap();
    }

    /// Begins to build what this guest declares, by code that changes nothing, takes so long for a call, and tells what
    /// it was given.
    fn rebuild(
        &self,
        file: &str,
        upcasters: Option<Arc<Upcasters>>,
        limits: PipelineLimits,
        call: Duration,
    ) -> Rebuild {
        self.start(file, upcasters, limits, call, false)
    }

    /// The same, of a generation that is public already or not.
    fn start(
        &self,
        file: &str,
        upcasters: Option<Arc<Upcasters>>,
        limits: PipelineLimits,
        call: Duration,
        live: bool,
    ) -> Rebuild {
        let (tell, given) = unbounded();
        let bytes = guest(file);
        let plugin = Arc::new(self.sandbox.load_projector(&bytes).unwrap().with_native(Box::new(
            move |events, _| {
                std::thread::sleep(call);
                for event in packed::events(events) {
                    let event = event.map_err(|error| error.to_string())?;
                    let _ = tell.send(Given {
                        position: event.position,
                        event_type: event.event_type.to_owned(),
                        has_fields: event.fields.is_some_and(|fields| !fields.is_empty()),
                        data: event.data.to_owned(),
                    });
                }
                Ok(Vec::new())
            },
        )));
        let descriptor = plugin.descriptor();
        let name = PluginName::new(&descriptor.name).unwrap();
        self.store
            .save_plugin(&PluginRecord {
                digest: plugin.digest(),
                name: name.clone(),
                version: descriptor.version.clone(),
                bytes,
            })
            .unwrap();
        self.store
            .save_projection(&ProjectionRecord {
                name: name.clone(),
                paused: None,
                held: None,
                removed: false,
            })
            .unwrap();
        let (digest, version) = (plugin.digest(), &descriptor.version);
        let generation = self
            .store
            .create_generation(&name, &digest, version, descriptor, &[], 1)
            .unwrap();
        let (events, news) = unbounded();
        let tail = Arc::<Tail>::default();
        let surroundings = Surroundings {
            log: self.log.clone(),
            tail: tail.clone(),
            store: self.store.clone(),
            limits,
            live: Arc::new(AtomicUsize::new(0)),
            written: Bell::default(),
            meters: Arc::default(),
            events,
        };
        let spec = RunnerSpec {
            generation,
            plugin: plugin.clone(),
            upcasters,
            faults: FaultPolicy::default(),
            live,
        };
        Rebuild {
            runner: Runner::start(&surroundings, spec),
            news,
            given,
            tail,
        }
    }
}

impl Rebuild {
    fn catch_up(&self) {
        match self.news.recv_timeout(WAIT_MAX).unwrap().news {
            RunnerNews::CaughtUp => {}
            RunnerNews::Ended(reason) => panic!("the rebuild ended: {reason:?}"),
        }
    }

    /// What it did, when its threads have ended.
    fn end(self) -> Profile {
        let status = self.runner.status().clone();
        self.runner.stop();
        status.profile()
    }
}

#[test]
fn declared_fields_are_handed_over_and_the_shared_end_of_the_log_gives_whole_events() {
    let bench = Bench::new();
    let limits = PipelineLimits::default();
    let rebuild = bench.rebuild("order-summary-1.0.0.wasm", None, limits, Duration::ZERO);
    rebuild.catch_up();
    let given: Vec<Given> = rebuild.given.try_iter().collect();
    assert_eq!(given.len() as u64, EVENTS);
    for (event, position) in given.iter().zip(1..) {
        let is_odd = position == 20;
        let due = Given {
            position,
            event_type: match position {
                10 => "OrderCancelled",
                20 => "OrderPlaced",
                _ => "LineAdded",
            }
            .to_owned(),
            has_fields: !is_odd,
            data: if is_odd { ODD_HEADER } else { "" }.to_owned(),
        };
        assert_eq!(*event, due);
    }

    // Live: alone it reads by itself; the end of the log that several projections read at once has whole events.
    for (number, is_shared) in [(1, false), (2, true)] {
        let others = is_shared.then(|| rebuild.tail.follow());
        bench.append_line(&format!("order-live-{number}"));
        let live = rebuild.given.recv_timeout(WAIT_MAX).unwrap();
        let due = Given {
            position: EVENTS + number,
            event_type: "LineAdded".to_owned(),
            has_fields: !is_shared,
            data: if is_shared { LINE } else { "" }.to_owned(),
        };
        assert_eq!(live, due);
        drop(others);
    }
    rebuild.end();
}

#[test]
fn a_live_projection_that_falls_behind_by_turns_is_given_each_event_once_and_in_order() {
    let bench = Bench::new();
    let limits = PipelineLimits {
        batch_events_max: 10,
        ..PipelineLimits::default()
    };
    let live = bench.start(
        "order-summary-1.0.0.wasm",
        None,
        limits,
        Duration::from_millis(1),
        true,
    );
    live.catch_up();
    for round in 0..6 {
        for number in 0..5 {
            bench.append_line(&format!("order-{round}-{number}"));
            // Level by now or not: both are to be right.
            std::thread::sleep(Duration::from_millis(number));
        }
        bench.import(&round.to_string(), 100, |_| new_event("LineAdded", LINE));
    }
    for position in 1..=EVENTS + 6 * 105 {
        let given = live.given.recv_timeout(WAIT_MAX).unwrap();
        assert_eq!(given.position, position);
    }
    assert_eq!(live.end().events, EVENTS + 6 * 105);
}

#[test]
fn fields_are_taken_out_of_what_upcasters_made() {
    let bench = Bench::new();
    let upcaster = bench
        .sandbox
        .load_upcaster(&guest("order-upcasters-1.0.0.wasm"))
        .unwrap();
    let upcasters = Arc::new(Upcasters::new(vec![upcaster]).unwrap());
    let limits = PipelineLimits::default();
    let rebuild = bench.rebuild(
        "order-summary-1.0.0.wasm",
        Some(upcasters),
        limits,
        Duration::ZERO,
    );
    rebuild.catch_up();
    let given: Vec<Given> = rebuild.given.try_iter().collect();
    assert_eq!(given.len() as u64, EVENTS);
    for (event, position) in given.iter().zip(1..) {
        let (event_type, data) = match position {
            10 => ("CreditNoteIssued", ""),
            20 => ("OrderPlaced", ODD_HEADER),
            _ => ("LineAdded", ""),
        };
        assert_eq!(
            (event.position, &*event.event_type, event.has_fields, &*event.data),
            (position, event_type, position != 20, data)
        );
    }
    rebuild.end();
}

#[test]
fn a_rebuild_rests_for_the_rest_of_its_share() {
    let bench = Bench::new();
    let profile = |file: &str, rebuild_share_percent: u64| {
        let limits = PipelineLimits {
            batch_events_max: 200,
            rebuild_share_percent,
            ..PipelineLimits::default()
        };
        let rebuild = bench.rebuild(file, None, limits, Duration::from_millis(2));
        rebuild.catch_up();
        rebuild.end()
    };
    // By one thread, and by workers that run ahead of each other.
    for file in ["order-summary-1.0.0.wasm", "stream-seal-1.0.0.wasm"] {
        let whole = profile(file, 100);
        assert_eq!((whole.events, whole.rest_ns), (EVENTS, 0), "{file}");
        let part = profile(file, 25);
        assert_eq!(part.events, EVENTS, "{file}");
        assert!(part.plugin_ns > 0, "{file}");
        // Three times what it worked, of which the calls are a part. A worker that is told to end ends its last rest.
        let calls_at_end = if file.starts_with("stream") {
            part.plugin_ns / 2
        } else {
            0
        };
        assert!(
            part.rest_ns >= 3 * (part.plugin_ns - calls_at_end),
            "{file}: {part:?}"
        );
    }
}
