//! The event catalog: every event type and schema version of the log, who carries it, who takes it, what lifts it.
//!
//! Counts are kept in memory: from the first question on, the log is gone through once, a stretch at a time, and then only
//! what is new. So a catalog of millions of events costs what came since it was last asked for, and says the position that
//! it reflects. A host that is never asked counts nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lamphouse_contract::{EventSchema, Subscription, UpcasterDescriptor};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host::HostError;
use crate::core::address::encoded;
use crate::core::{PluginDigest, Position};
use crate::log::{EventLog, LogError};
use crate::plugin::Sandbox;
use crate::schemas::{Schemas, file_name};
use crate::tables::{StoreError, TableStore};

mod consumers;
mod counts;

use consumers::Consumers;
use counts::Counts;

/// Between two looks at a log that is level, in the background.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// The catalog as it is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CatalogDocument {
    /// The counts reflect the log up to here.
    pub position: Position,
    /// Position of the log's last event. Above `position` while a large log is gone through for the first time.
    pub head: Position,
    /// Each event type and version, by name; also those that have a schema and no event yet.
    pub types: Vec<CatalogType>,
    /// Those of the log that no deployed projector takes.
    pub unconsumed: Vec<TypeName>,
    /// Subscriptions of deployed projectors that no event of the log ever met.
    pub unseen: Vec<UnseenSubscription>,
    /// Events of types beyond the twenty thousand that are told apart; 0 in any log that somebody has thought about.
    pub uncounted: u64,
}

/// A type in a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct TypeName {
    /// The type.
    pub event_type: String,
    /// Version of its schema.
    pub schema_version: u32,
}

/// One event type in one version.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CatalogType {
    /// The type.
    pub event_type: String,
    /// Version of its schema.
    pub schema_version: u32,
    /// How many events.
    pub count: u64,
    /// The first; null while there is none.
    pub first: Option<Seen>,
    /// The last; null while there is none.
    pub last: Option<Seen>,
    /// The types of the streams that have them, by name.
    pub stream_types: Vec<OfStreamType>,
    /// Where its JSON Schema is; null without one.
    pub schema: Option<SchemaPlace>,
    /// What the file of its schema is called in the schema folder, whether it is there or not.
    pub schema_file: String,
    /// The deployed projectors that get them.
    pub consumers: Vec<Consumer>,
    /// The deployed upcasters that lift them.
    pub lifted_by: Vec<LiftedBy>,
}

/// An event by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    /// Its position.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: chrono::DateTime<chrono::Utc>,
}

/// The events of a type in streams of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfStreamType {
    /// The streams' type.
    pub stream_type: String,
    /// How many events.
    pub count: u64,
    /// The first.
    pub first: Seen,
    /// The last.
    pub last: Seen,
}

/// A schema and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SchemaPlace {
    /// Its file in the schema folder.
    pub file: String,
    /// Where the API gives it.
    pub href: String,
}

/// A projector that gets events of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Consumer {
    /// Its name.
    pub projector: String,
    /// Its version.
    pub version: String,
    /// The generation: 7 for `g7`.
    pub generation: i64,
    /// In which forms they reach it: their own, or what upcasters make of them.
    pub gets: Vec<TypeName>,
}

/// An upcaster's rule for a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct LiftedBy {
    /// The upcaster.
    pub upcaster: String,
    /// Its version.
    pub version: String,
    /// What it may make of them; nothing: it drops them.
    pub gives: Vec<TypeName>,
}

/// A subscription that no event met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnseenSubscription {
    /// Whose.
    pub projector: String,
    /// The type that it names; null: any.
    pub event_type: Option<String>,
    /// The versions that it names; none: any.
    pub schema_versions: Vec<u32>,
    /// The stream type that it names; null: any.
    pub stream_type: Option<String>,
}

/// Keeps the counts, and says what is deployed.
pub struct Catalog {
    log: Arc<dyn EventLog>,
    store: Arc<dyn TableStore>,
    sandbox: Arc<Sandbox>,
    schemas: Arc<Schemas>,
    counts: Mutex<Counts>,
    /// What upcasters say of themselves, by the digests of their files.
    upcasters: Mutex<HashMap<PluginDigest, Arc<UpcasterDescriptor>>>,
    is_followed: AtomicBool,
}

impl Catalog {
    /// Of this log; nothing is counted yet.
    pub fn new(
        log: Arc<dyn EventLog>,
        store: Arc<dyn TableStore>,
        sandbox: Arc<Sandbox>,
        schemas: Arc<Schemas>,
    ) -> Self {
        Self {
            log,
            store,
            sandbox,
            schemas,
            counts: Mutex::default(),
            upcasters: Mutex::default(),
            is_followed: AtomicBool::new(false),
        }
    }

    /// Keeps the counts level in the background from now on, on a thread that ends with the last other holder. Called
    /// again, it does nothing.
    pub fn follow(self: &Arc<Self>) {
        if self.is_followed.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        let changed = self.log.signal();
        let follow = move || {
            loop {
                let seen = changed.seen();
                let Some(catalog) = weak.upgrade() else { return };
                match catalog.step() {
                    // Others have a turn at the log between two stretches.
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(error) => tracing::debug!(%error, "The event catalog waits for the log"),
                }
                drop(catalog);
                changed.wait(seen, FOLLOW_EVERY);
                std::thread::sleep(FOLLOW_EVERY);
            }
        };
        let started = std::thread::Builder::new()
            .name("catalog".to_owned())
            .spawn(follow);
        if let Err(error) = started {
            // Without it, each question counts what is new.
            self.is_followed.store(false, Ordering::Release);
            tracing::debug!(%error, "no thread for the event catalog");
        }
    }

    /// Counts the next stretch; gives whether that was the last.
    fn step(&self) -> Result<bool, LogError> {
        self.counts.lock().step(&*self.log)
    }

    /// Counts what is new, for so long at the most; then makes the document.
    ///
    /// # Errors
    /// A database is away, or an upcaster does not run with this host any more.
    pub fn document(&self, time_max: Duration, sees: &Sees<'_>) -> Result<CatalogDocument, HostError> {
        let until = Instant::now() + time_max;
        while !self.step()? && Instant::now() < until {}
        let consumers = self.consumers()?;
        let head = self.log.head()?.position;
        let schemas = self.schemas.set();
        let counts = self.counts.lock();
        let mut types: BTreeMap<TypeName, CatalogType> = BTreeMap::new();
        for (name, by_stream_type) in counts.types() {
            let stream_types: Vec<OfStreamType> = by_stream_type
                .values()
                .filter(|one| sees.stream_type(&one.stream_type))
                .cloned()
                .collect();
            if !stream_types.is_empty() {
                types.insert(name.clone(), CatalogType::of(name, stream_types));
            }
        }
        if sees.all() {
            for (event_type, schema_version, _) in schemas.iter() {
                // A type that is known by a digest alone is known once an event of it is there.
                let Some(event_type) = event_type else { continue };
                let name = TypeName {
                    event_type: event_type.to_owned(),
                    schema_version,
                };
                types
                    .entry(name.clone())
                    .or_insert_with(|| CatalogType::of(&name, Vec::new()));
            }
        }
        let met = |subscription: &Subscription, one: &consumers::Deployed| {
            counts.types().any(|(name, by_stream_type)| {
                let forms = one.forms(&name.schema());
                by_stream_type
                    .keys()
                    .any(|stream_type| consumers::meets(subscription, &forms, stream_type))
            })
        };
        let unseen = consumers.unseen(sees, &met);
        let mut types: Vec<CatalogType> = types.into_values().collect();
        for one in &mut types {
            let schema = EventSchema {
                event_type: one.event_type.clone(),
                schema_version: one.schema_version,
            };
            one.consumers = consumers.of(&schema, &one.stream_types);
            one.lifted_by = consumers.lifting(&schema);
            one.schema = schemas
                .schema(&one.event_type, one.schema_version)
                .map(|schema| SchemaPlace {
                    file: schema.file.clone(),
                    href: href(&one.event_type, one.schema_version),
                });
        }
        let unconsumed = types
            .iter()
            .filter(|one| one.count > 0 && one.consumers.is_empty())
            .map(|one| TypeName {
                event_type: one.event_type.clone(),
                schema_version: one.schema_version,
            })
            .collect();
        Ok(CatalogDocument {
            position: counts.position(),
            head: head.max(counts.position()),
            types,
            unconsumed,
            unseen,
            uncounted: if sees.all() { counts.uncounted() } else { 0 },
        })
    }

    /// The schemas that count now.
    pub fn schemas(&self) -> &Arc<Schemas> {
        &self.schemas
    }

    fn consumers(&self) -> Result<Consumers, HostError> {
        let mut known = self.upcasters.lock();
        Consumers::read(&*self.store, &mut |digest| {
            if let Some(descriptor) = known.get(digest) {
                return Ok(descriptor.clone());
            }
            let Some(kept) = self.store.plugin(digest)? else {
                return Err(HostError::Tables(StoreError::Internal(format!(
                    "the code of an upcaster (digest {}) is not kept in the tables database",
                    digest.short()
                ))));
            };
            let descriptor = self.sandbox.load_upcaster(&kept.bytes)?.descriptor().clone();
            known.insert(*digest, descriptor.clone());
            Ok(descriptor)
        })
    }
}

/// What whoever asks may see.
pub struct Sees<'s>(pub Option<&'s std::collections::BTreeSet<String>>);

impl Sees<'_> {
    fn all(&self) -> bool {
        self.0.is_none()
    }

    fn stream_type(&self, stream_type: &str) -> bool {
        self.0.is_none_or(|types| types.contains(stream_type))
    }
}

impl TypeName {
    fn schema(&self) -> EventSchema {
        EventSchema {
            event_type: self.event_type.clone(),
            schema_version: self.schema_version,
        }
    }
}

impl From<&EventSchema> for TypeName {
    fn from(schema: &EventSchema) -> Self {
        Self {
            event_type: schema.event_type.clone(),
            schema_version: schema.schema_version,
        }
    }
}

impl CatalogType {
    fn of(name: &TypeName, stream_types: Vec<OfStreamType>) -> Self {
        let firsts = stream_types.iter().map(|one| one.first);
        let lasts = stream_types.iter().map(|one| one.last);
        Self {
            event_type: name.event_type.clone(),
            schema_version: name.schema_version,
            count: stream_types.iter().map(|one| one.count).sum(),
            first: firsts.min_by_key(|seen| seen.position),
            last: lasts.max_by_key(|seen| seen.position),
            schema: None,
            schema_file: file_name(&name.event_type, name.schema_version),
            consumers: Vec::new(),
            lifted_by: Vec::new(),
            stream_types,
        }
    }
}

/// Where the API tells of a type.
fn href(event_type: &str, schema_version: u32) -> String {
    format!("/v1/catalog/{}/{schema_version}", encoded(event_type))
}
