//! Poison at random places and crashes at random flushes: what is parked and what is in the tables is always what the
//! log says, each event once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use lamphouse_contract::{Descriptor, Value};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::value::RawValue;

use crate::config::DatabaseUrl;
use crate::core::bell::Bell;
use crate::core::clock::Clock;
use crate::core::limits::{AppendLimits, FaultPolicy, OnFault, PipelineLimits, PluginLimits};
use crate::core::{GenerationId, NewEvent, PluginDigest, PluginName, Position};
use crate::log::{AppendRequest, EventLog, ExpectedVersion, StreamAppend};
use crate::plugin::{Plugin, Sandbox};
use crate::projection::{Replay, Runner, RunnerNews, RunnerSpec, StopReason, Surroundings};
use crate::tables::select::{Select, SelectError, Selected, ShownTable};
use crate::tables::{
    ChangeHead, ChangePage, Changes, Checkpoint, DeadLetter, DeadLetters, Discard, DiscardQuery, Finish,
    Flush, GenerationRecord, GenerationState, LetterBook, LetterCounts, LetterQuery, Ownership, PluginRecord,
    ProjectionRecord, PublicTable, QueryAnswer, QueryLimits, StoreError, Switch, TableReader, TableStore,
    TableWriter, UpcasterRef,
};

mod patch {
    include!("../../../../tests/guests/puppet/patch.rs");
}

/// What happens at a flush.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    None,
    /// The process ends before it.
    Before,
    /// The process ends after it.
    After,
    /// The answer is lost, and the same flush comes again.
    AnswerLost,
}

/// A store whose flushes meet mishaps, in turn.
struct Shaky {
    inner: Arc<dyn TableStore>,
    mishaps: Arc<Mutex<Vec<Mishap>>>,
}

struct ShakyWriter {
    inner: Box<dyn TableWriter>,
    mishaps: Arc<Mutex<Vec<Mishap>>>,
}

impl TableWriter for ShakyWriter {
    fn flush(&mut self, flush: &Flush, live: bool) -> Result<(), StoreError> {
        let crash = || Err(StoreError::Internal("a crash".to_owned()));
        match self.mishaps.lock().pop().unwrap_or(Mishap::None) {
            Mishap::None => self.inner.flush(flush, live),
            Mishap::Before => crash(),
            Mishap::After => self.inner.flush(flush, live).and_then(|()| crash()),
            Mishap::AnswerLost => {
                self.inner.flush(flush, live)?;
                Err(StoreError::Unavailable("the answer is lost".to_owned()))
            }
        }
    }

    fn switch(&mut self, flush: &Flush, switch: &Switch) -> Result<(), StoreError> {
        self.inner.switch(flush, switch)
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.inner.checkpoint()
    }
}

/// Methods that go to the inner store as they are.
macro_rules! hand_on {
    ($(fn $name:ident(&self $(, $arg:ident: $kind:ty)*) -> $result:ty;)*) => {
        $(fn $name(&self $(, $arg: $kind)*) -> Result<$result, StoreError> {
            self.inner.$name($($arg),*)
        })*
    };
}

impl DeadLetters for Shaky {
    hand_on! {
        fn dead_letters(&self, query: &LetterQuery) -> Vec<DeadLetter>;
        fn letter_book(&self, generation: GenerationId) -> LetterBook;
        fn letter_counts(&self) -> Vec<(GenerationId, LetterCounts)>;
        fn parked_beyond(&self, target: GenerationId, other: GenerationId) -> Option<(DeadLetter, u64)>;
        fn save_try(&self, letter: &DeadLetter) -> ();
        fn discard(&self, discards: &[Discard]) -> u64;
        fn discard_page(&self, query: &DiscardQuery) -> Vec<Discard>;
    }
}

impl Changes for Shaky {
    hand_on! {
        fn keep_changes(&self, rows_max: u64) -> ();
        fn change_head(&self) -> ChangeHead;
        fn changes(&self, after: u64, limit: u64) -> ChangePage;
        fn trim_changes(&self) -> bool;
    }
}

impl TableStore for Shaky {
    hand_on! {
        fn try_own(&self) -> Option<Box<dyn Ownership>>;
        fn owner_address(&self) -> Option<String>;
        fn projections(&self) -> Vec<ProjectionRecord>;
        fn generations(&self) -> Vec<GenerationRecord>;
        fn public_tables(&self) -> Vec<PublicTable>;
        fn save_projection(&self, record: &ProjectionRecord) -> ();
        fn save_plugin(&self, record: &PluginRecord) -> ();
        fn plugin(&self, digest: &PluginDigest) -> Option<PluginRecord>;
        fn create_generation(
            &self, projection: &PluginName, digest: &PluginDigest, version: &str, descriptor: &Arc<Descriptor>,
            upcasters: &[UpcasterRef], now: i64
        ) -> GenerationRecord;
        fn set_state(
            &self, generation: GenerationId, state: GenerationState, error: Option<&serde_json::Value>
        ) -> ();
        fn create_indexes(&self, generation: &GenerationRecord) -> ();
        fn prepare_switch(&self, switch: &Switch) -> ();
        fn finish_switch(&self, projection: &PluginName) -> Finish;
        fn drop_generation(&self, generation: GenerationId) -> ();
        fn reader(&self, generation: &GenerationRecord) -> Box<dyn TableReader>;
        fn query(&self, sql: &str, limits: QueryLimits) -> QueryAnswer;
    }

    fn writer(&self, generation: &GenerationRecord) -> Result<Box<dyn TableWriter>, StoreError> {
        Ok(Box::new(ShakyWriter {
            inner: self.inner.writer(generation)?,
            mishaps: self.mishaps.clone(),
        }))
    }

    fn shown_tables(&self) -> Result<Vec<ShownTable>, StoreError> {
        self.inner.shown_tables()
    }

    fn select(&self, select: &Select, time_max: Duration) -> Result<Selected, SelectError> {
        self.inner.select(select, time_max)
    }
}

/// The puppet in a sandbox in which `HugeRow` fails, or not.
fn plugin(has_room: bool) -> Arc<Plugin> {
    static BOTH: [std::sync::OnceLock<Arc<Plugin>>; 2] =
        [std::sync::OnceLock::new(), std::sync::OnceLock::new()];
    let make = || {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/puppet.wasm");
        let bytes = std::fs::read(file).expect("target/guests/puppet.wasm: run `cargo xtask guests`");
        let limits = PluginLimits {
            bytes_per_change_max: if has_room { 16 << 20 } else { 1 << 20 },
            ..PluginLimits::default()
        };
        let sandbox = Sandbox::new(limits, None).unwrap();
        sandbox
            .load_projector(&patch::patch_puppet(&bytes, &[("index", "none")]))
            .unwrap()
    };
    BOTH[usize::from(has_room)].get_or_init(make).clone()
}

/// Stream and event type.
type Log = Vec<(u8, &'static str)>;

struct Bench {
    log: Arc<dyn EventLog>,
    store: Arc<dyn TableStore>,
    mishaps: Arc<Mutex<Vec<Mishap>>>,
    generation: GenerationRecord,
    _folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(events: &Log) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = |name| DatabaseUrl::Sqlite(folder.path().join(name));
        let handle = runtime.handle().clone();
        let log = crate::log::open(
            &url("log.db"),
            &AppendLimits::default(),
            Clock::system(),
            handle.clone(),
        )
        .unwrap();
        for (stream, event_type) in events {
            let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
            let event = NewEvent {
                id: None,
                event_type: (*event_type).to_owned(),
                schema_version: 1,
                data: raw("1"),
                metadata: raw(r#"{"reason":"a property test"}"#),
                occurred_at: None,
            };
            let streams = vec![StreamAppend {
                stream_id: format!("s-{stream}"),
                stream_type: "test".to_owned(),
                expected_version: ExpectedVersion::Any,
                events: vec![event],
            }];
            log.append(AppendRequest {
                streams,
                idempotency: None,
            })
            .unwrap();
        }
        let inner = crate::tables::open(&url("tables.db"), handle).unwrap();
        let plugin = plugin(false);
        let name = PluginName::new(&plugin.descriptor().name).unwrap();
        let digest = plugin.digest();
        let generation = inner
            .create_generation(&name, &digest, "1.0.0", plugin.descriptor(), &[], 1)
            .unwrap();
        let mishaps = Arc::default();
        let store = Shaky {
            inner,
            mishaps: Arc::clone(&mishaps),
        };
        Self {
            log,
            store: Arc::new(store),
            mishaps,
            generation,
            _folder: folder,
            runtime,
        }
    }

    /// Runs to the head, with a new runner after each crash.
    fn run(&self, batch_events: u64, flush_events: u64) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let (events, news) = unbounded();
            let surroundings = Surroundings {
                log: self.log.clone(),
                tail: Arc::default(),
                store: self.store.clone(),
                limits: PipelineLimits {
                    batch_events_max: batch_events,
                    flush_events_max: flush_events,
                    ..PipelineLimits::default()
                },
                live: Arc::new(AtomicUsize::new(0)),
                written: Bell::default(),
                meters: Arc::default(),
                events,
            };
            let spec = RunnerSpec {
                generation: self.generation.clone(),
                plugin: plugin(false),
                upcasters: None,
                faults: FaultPolicy {
                    on_fault: OnFault::DeadLetter,
                    ..FaultPolicy::default()
                },
                live: true,
            };
            let runner = Runner::start(&surroundings, spec);
            let event = news
                .recv_deadline(until)
                .expect("the runner says something in time");
            match event.news {
                RunnerNews::CaughtUp => {
                    let (parked, _) = runner.status().parked();
                    assert_eq!(parked, self.letters().len() as u64, "what the status says");
                    return runner.stop();
                }
                RunnerNews::Ended(StopReason::Fault(stop)) if stop.message.contains("a crash") => {}
                RunnerNews::Ended(StopReason::Restart(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Replays with room for everything, again after each crash.
    fn replay(&self) {
        for _ in 0..200 {
            let replay = Replay {
                log: self.log.clone(),
                store: self.store.clone(),
                generation: self.generation.clone(),
                plugin: plugin(true),
                upcasters: None,
                stream_id: None,
                reorders: true,
                until: Instant::now() + Duration::from_secs(60),
            };
            if let Ok(replayed) = replay.run() {
                return assert!(!replayed.more);
            }
        }
        panic!("the replay does not end");
    }

    fn letters(&self) -> Vec<DeadLetter> {
        let query = LetterQuery {
            generation: Some(self.generation.id),
            limit: 100_000,
            ..LetterQuery::default()
        };
        self.store.dead_letters(&query).unwrap()
    }

    /// Streams with their `count` column.
    fn counts(&self) -> BTreeMap<String, i64> {
        let rows = self
            .store
            .reader(&self.generation)
            .unwrap()
            .scan(0, None, 10_000)
            .unwrap();
        rows.into_iter()
            .map(|row| match (&row[0], &row[2]) {
                (Value::Text(id), Value::Integer(count)) => (id.to_string(), *count),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

/// What must be: the count of each stream, and what is parked with what it waits behind. `skipped` are left out,
/// `fails` says which events do.
fn model(
    events: &Log,
    skipped: &[u64],
    fails: impl Fn(&str) -> bool,
) -> (BTreeMap<String, i64>, Vec<(u64, bool)>) {
    let mut counts = BTreeMap::new();
    let mut versions: BTreeMap<u8, i64> = BTreeMap::new();
    let mut parked = Vec::new();
    let mut parked_streams = std::collections::BTreeSet::new();
    for (index, (stream, event_type)) in events.iter().enumerate() {
        let position = index as u64 + 1;
        let version = versions.entry(*stream).or_default();
        *version += 1;
        if skipped.contains(&position) {
            continue;
        }
        if parked_streams.contains(stream) {
            parked.push((position, true));
        } else if fails(event_type) {
            parked_streams.insert(*stream);
            parked.push((position, false));
        } else {
            let count: &mut i64 = counts.entry(format!("s-{stream}")).or_default();
            // Put and the huge row set it, and a count adds: a second time of either would show.
            *count = if *event_type == "Count" {
                *count + 1
            } else {
                *version
            };
        }
    }
    (counts, parked)
}

fn logs() -> impl Strategy<Value = Log> {
    let kind = prop_oneof![
        6 => Just("Count"),
        3 => Just("Put"),
        1 => Just("Fail"),
        1 => Just("HugeRow"),
    ];
    prop::collection::vec((0..12_u8, kind), 1..80)
}

fn mishaps() -> impl Strategy<Value = Vec<Mishap>> {
    let one = prop_oneof![
        3 => Just(Mishap::None),
        1 => Just(Mishap::Before),
        1 => Just(Mishap::After),
        1 => Just(Mishap::AnswerLost),
    ];
    prop::collection::vec(one, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_poisonous_and_whenever_it_crashes_each_event_counts_once(
        events in logs(),
        batch_events in 1..20_u64,
        flush_events in 1..30_u64,
        while_running in mishaps(),
        while_replaying in mishaps(),
        discards in prop::collection::vec(0..100_usize, 0..3),
    ) {
        let bench = Bench::new(&events);
        *bench.mishaps.lock() = while_running;
        bench.run(batch_events, flush_events);
        let is_poison = |event_type: &str| matches!(event_type, "Fail" | "HugeRow");
        let (counts, parked) = model(&events, &[], is_poison);
        let letters = bench.letters();
        let found: Vec<(u64, bool)> =
            letters.iter().map(|letter| (letter.position.0, letter.behind.is_some())).collect();
        prop_assert_eq!(&found, &parked);
        prop_assert_eq!(bench.counts(), counts);

        // Some of what is parked is left out, then everything that has room now is replayed, in each stream up to the
        // first that still fails.
        let discarded: Vec<&DeadLetter> =
            discards.iter().filter_map(|place| letters.get(place % letters.len().max(1))).collect();
        let records: Vec<Discard> = discarded.iter().map(|letter| Discard {
            projection: letter.projection.clone(),
            event_id: letter.event_id,
            position: letter.position,
            stream_id: letter.stream_id.clone(),
            event_type: letter.event_type.clone(),
            reason: "a property test".to_owned(),
            by: "a test".to_owned(),
            at: 1,
            message: letter.message.clone(),
        }).collect();
        bench.store.discard(&records).unwrap();
        *bench.mishaps.lock() = while_replaying;
        bench.replay();
        bench.mishaps.lock().clear();
        let skipped: Vec<u64> = discarded.iter().map(|letter| letter.position.0).collect();
        let (counts, parked) = model(&events, &skipped, |event_type| event_type == "Fail");
        let positions = |letters: Vec<DeadLetter>| letters.iter().map(|letter| letter.position.0).collect::<Vec<_>>();
        let left: Vec<u64> = parked.iter().map(|(position, _)| *position).collect();
        prop_assert_eq!(positions(bench.letters()), left.clone());
        prop_assert_eq!(bench.counts(), counts.clone());
        // A runner that starts now changes nothing.
        bench.run(batch_events, flush_events);
        prop_assert_eq!((positions(bench.letters()), bench.counts()), (left, counts));
        prop_assert_eq!(bench.log.head().unwrap().position, Position(events.len() as u64));
        bench.runtime.shutdown_background();
    }
}
