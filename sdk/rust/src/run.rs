//! One call: a batch of packed events in, packed changes out.

use lamphouse_contract::packed;

use crate::fields::OwnFields;
use crate::host::Host;
use crate::plugin::Plugin;
use crate::tables::{Tables, Wanted};
use crate::{Error, Event, Result};

/// Bytes of a small event: a batch has hardly more events than it has these.
const EVENT_BYTES_MIN: usize = 64;
/// Events that room is made for ahead; a batch of large ones has fewer than its bytes say.
const EVENTS_AHEAD_MAX: usize = 4_096;

/// Turns events into rows.
///
/// There is no `self`: nothing is kept from one call to the next, and a call may hold any number of events. What
/// should be remembered goes into a row.
pub trait Projector: 'static {
    /// Name, version, events and tables. Always the same.
    fn describe() -> Plugin;

    /// Takes one event. Events come in the order of the log; of each stream, in the order of the stream.
    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()>;

    /// Names the rows that [`Projector::project`] will read for this event, so that those of a whole batch are read
    /// together. It saves time, and changes no row.
    fn prefetch(event: &Event<'_>, wanted: &mut Wanted<'_>) {
        let _ = (event, wanted);
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which event of the call.
    pub index: Option<u32>,
    /// What happened.
    pub message: String,
    /// Where in the projector's source.
    pub trace: String,
}

impl Failure {
    pub(crate) fn new(index: Option<usize>, error: &Error) -> Self {
        Self {
            index: index.map(|index| index as u32),
            message: error.to_string(),
            trace: format!("at {}", error.location()),
        }
    }
}

/// Runs one batch.
pub(crate) fn run<P: Projector>(
    plugin: &Plugin,
    events: &[u8],
    host: &mut dyn Host,
) -> Result<Vec<u8>, Failure> {
    let own;
    let mut events = read(plugin, events).map_err(|error| Failure::new(None, &Error::from(error)))?;
    if plugin.declares_fields() {
        own = OwnFields::of(plugin, &events).map_err(|error| Failure::new(None, &error))?;
        own.give(plugin, &mut events);
    }
    let mut tables = Tables::new(plugin, host);
    let mut wanted = tables.wanted();
    for event in &events {
        P::prefetch(event, &mut wanted);
    }
    let places = wanted.into_places();
    tables
        .prefetch(places)
        .map_err(|error| Failure::new(None, &error))?;
    for (index, event) in events.iter().enumerate() {
        P::project(event, &mut tables).map_err(|error| Failure::new(Some(index), &error))?;
        if let Some(broken) = tables.broken() {
            return Err(Failure {
                index: Some(index as u32),
                message: broken,
                trace: String::new(),
            });
        }
    }
    Ok(tables.finish())
}

/// The events of a batch, with what came declared of them.
fn read<'a>(plugin: &Plugin, bytes: &'a [u8]) -> Result<Vec<Event<'a>>, packed::PackedError> {
    let mut events = Vec::with_capacity((bytes.len() / EVENT_BYTES_MIN).min(EVENTS_AHEAD_MAX));
    let mut reader = packed::Reader::new(bytes);
    while !reader.is_at_end() {
        let stored = packed::read_event(&mut reader)?;
        let declared = stored
            .fields
            .and_then(|values| plugin.declared_as(stored.event_type, Ok(values)));
        events.push(Event::new(stored, declared));
    }
    Ok(events)
}
