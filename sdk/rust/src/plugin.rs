use std::any::TypeId;

use lamphouse_contract::fields::{self, Entries, Entry, Field};
use lamphouse_contract::{Descriptor, Subscription};

use crate::{EventFields, Row};

/// What a projector says of itself: its name and version, the events it takes, the tables it keeps.
///
/// ```
/// # use lamphouse_sdk::prelude::*;
/// # #[derive(Row)] #[row(table = "orders")] struct Order { #[row(key)] order_id: String }
/// let plugin = Plugin::new("order-summary", "1.0.0")
///     .on("OrderPlaced")
///     .on("LineAdded")
///     .table::<Order>();
/// ```
#[derive(Clone, Debug)]
pub struct Plugin {
    pub(crate) descriptor: Descriptor,
    pub(crate) rows: Vec<TypeId>,
    /// Event types of which all that is read is declared.
    pub(crate) fields: Vec<(String, &'static [Field<'static>])>,
    /// All that is read beside it of those events.
    pub(crate) entries: Entries,
}

impl Plugin {
    /// Name (lower-case, digits, `-`, at most 48 characters) and version. A new version makes a new generation of
    /// the tables, built beside the live ones: raise it whenever the rows would come out differently.
    /// `env!("CARGO_PKG_NAME")` and `env!("CARGO_PKG_VERSION")` serve well.
    pub fn new(name: &str, version: &str) -> Self {
        let descriptor = Descriptor {
            name: name.into(),
            version: version.into(),
            subscriptions: Vec::new(),
            tables: Vec::new(),
            options: Vec::new(),
        };
        Self {
            descriptor,
            rows: Vec::new(),
            fields: Vec::new(),
            entries: Entries::ALL,
        }
    }

    /// Takes events of this type.
    #[must_use]
    pub fn on(self, event_type: &str) -> Self {
        self.subscribe(Some(event_type), None, &[])
    }

    /// Takes events of this type, of whose data and metadata nothing is read but these fields: see [`EventFields`].
    /// They come as values, through [`Event::fields`](crate::Event::fields) alone.
    #[must_use]
    pub fn on_fields<T: EventFields<'static>>(mut self, event_type: &str) -> Self {
        self.fields.push((event_type.into(), T::FIELDS));
        self.on(event_type)
    }

    /// Takes events of this type, of whose data and metadata nothing is read at all, so that the host need not hand
    /// them over.
    #[must_use]
    pub fn on_without_data(mut self, event_type: &str) -> Self {
        self.fields.push((event_type.into(), &[]));
        self.on(event_type)
    }

    /// Says which entries are read of the events that come with [`Self::on_fields`] or [`Self::on_without_data`], beside
    /// position, part, stream id and event type, which always are. The others need not be read from the log, which makes
    /// rebuilds quicker; to read one all the same is a panic. Without this, all are read.
    ///
    /// ```
    /// # use lamphouse_sdk::prelude::*;
    /// # #[derive(EventFields)] struct Placed<'a> { customer: &'a str }
    /// let plugin = Plugin::new("orders", "1.0.0")
    ///     .on_fields::<Placed>("OrderPlaced")
    ///     .entries([Entry::OccurredAt]);
    /// ```
    #[must_use]
    pub fn entries(mut self, read: impl IntoIterator<Item = Entry>) -> Self {
        let read: Vec<Entry> = read.into_iter().collect();
        self.entries = read.iter().copied().collect();
        self.option(fields::ENTRIES_OPTION, &Entries::spell(&read))
    }

    /// Takes all events of streams of this type.
    #[must_use]
    pub fn on_stream_type(self, stream_type: &str) -> Self {
        self.subscribe(None, Some(stream_type), &[])
    }

    /// Takes every event of the log.
    #[must_use]
    pub fn on_every_event(self) -> Self {
        self.subscribe(None, None, &[])
    }

    /// Takes events that match all that is given; no schema versions means all of them.
    #[must_use]
    pub fn subscribe(
        mut self,
        event_type: Option<&str>,
        stream_type: Option<&str>,
        schema_versions: &[u32],
    ) -> Self {
        self.descriptor.subscriptions.push(Subscription {
            event_type: event_type.map(str::to_owned),
            stream_type: stream_type.map(str::to_owned),
            schema_versions: schema_versions.to_vec(),
        });
        self
    }

    /// Keeps a table with such rows.
    #[must_use]
    pub fn table<R: Row>(mut self) -> Self {
        self.descriptor.tables.push(R::schema());
        self.rows.push(TypeId::of::<R>());
        self
    }

    /// Sets an option. The host refuses those that it does not know.
    ///
    /// It knows `partition`, which may be `stream`: each row depends on the events of one stream, and the first column
    /// of each table's key is the stream's id. Then a rebuild uses all cores, and a stream's parked events may be
    /// applied after later events of others. The host refuses a read or a change of a row of a stream that has no event
    /// in the call.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.descriptor.options.push((name.into(), value.into()));
        self
    }

    /// As the host is told.
    pub(crate) fn into_descriptor(self) -> Descriptor {
        let mut descriptor = self.descriptor;
        if !self.fields.is_empty() {
            let declared = self
                .fields
                .iter()
                .map(|(event_type, fields)| (event_type.as_str(), *fields));
            descriptor
                .options
                .push((fields::OPTION.to_owned(), fields::spell(declared)));
        }
        descriptor
    }
}
