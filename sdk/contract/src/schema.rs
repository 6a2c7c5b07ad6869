use serde::{Deserialize, Serialize};

use crate::Value;
use crate::fields::{self, Entries, Plan};

/// The declared type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `boolean` in SQL.
    Boolean,
    /// 64-bit integer.
    Integer,
    /// Finite double.
    Real,
    /// Exact decimal of 38 digits, with this many after the point.
    Decimal(u8),
    /// UTF-8 text without U+0000.
    Text,
    /// Raw bytes.
    Bytes,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// JSON text.
    Json,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Lower-case ASCII name.
    pub name: String,
    /// Declared type.
    pub kind: ColumnType,
    /// Whether null is allowed.
    pub nullable: bool,
    /// What an upsert gives a new row. None: null if nullable, else the upsert must set it.
    pub initial: Option<Value>,
}

/// One table of a projector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The public name.
    pub name: String,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Indexes into `columns`.
    pub primary_key: Vec<u32>,
    /// Declared indexes, each a list of indexes into `columns`; `find` names them by place.
    pub indexes: Vec<Vec<u32>>,
}

/// Which events a projector takes. Every given field must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Event type; None is any.
    pub event_type: Option<String>,
    /// Stream type; None is any.
    pub stream_type: Option<String>,
    /// Schema versions; empty is all.
    pub schema_versions: Vec<u32>,
}

/// What a projector says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The projection's name.
    pub name: String,
    /// The projector's version; a new one gives a new generation.
    pub version: String,
    /// One matching subscription is enough.
    pub subscriptions: Vec<Subscription>,
    /// The tables it keeps; changes name them by place.
    pub tables: Vec<TableSchema>,
    /// Options; unknown keys are refused at deploy.
    pub options: Vec<(String, String)>,
}

impl Descriptor {
    /// What it declares that it reads of its events' JSON; None where it takes all events whole. A text that cannot be
    /// read, which no checked descriptor has, declares nothing.
    pub fn field_plan(&self) -> Option<Plan> {
        let plan = Plan::parse(self.option(fields::OPTION)?).ok()?;
        Some(match self.option(fields::ENTRIES_OPTION) {
            Some(named) => plan.reading(Entries::parse(named).ok()?),
            None => plan,
        })
    }

    fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it declares `partition = stream`: each row depends on the events of one stream, whose id is the first
    /// column of the row's key.
    pub fn is_partitioned_by_stream(&self) -> bool {
        self.option("partition") == Some("stream")
    }
}

/// A type of event in one version: what upcasters take and give.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventSchema {
    /// For example `OrderPlaced`.
    pub event_type: String,
    /// From 1.
    pub schema_version: u32,
}

/// `LineAdded 2`.
impl std::fmt::Display for EventSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.event_type, self.schema_version)
    }
}

/// What an upcaster does with events of one schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Such events are handed to it.
    pub takes: EventSchema,
    /// What may come out of one; empty for a rule that drops every event.
    pub gives: Vec<EventSchema>,
}

/// What an upcaster says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpcasterDescriptor {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version; a new one gives new generations of the projections that it reaches.
    pub version: String,
    /// What it takes and gives.
    pub rules: Vec<Rule>,
    /// Options; unknown keys are refused at deploy.
    pub options: Vec<(String, String)>,
}
