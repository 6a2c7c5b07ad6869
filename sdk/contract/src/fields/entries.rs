//! Which entries of an event, beside its JSON, a projector reads.

use serde::{Deserialize, Serialize};

/// The descriptor's option that names them.
pub const ENTRIES_OPTION: &str = "entries";

/// An entry of an event that a projector may do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Its identity, of which its random numbers are made too.
    Id,
    /// The type of its stream.
    StreamType,
    /// Its place in the stream.
    StreamVersion,
    /// The version of its type's schema.
    SchemaVersion,
    /// When it happened.
    OccurredAt,
    /// When the log stored it.
    RecordedAt,
}

/// A set of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries(u8);

impl Entries {
    /// Every one.
    pub const ALL: Self = Self(0x3f);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether it is in the set.
    #[inline]
    pub const fn has(self, entry: Entry) -> bool {
        self.0 & (1 << entry as u8) != 0
    }

    /// From the text of the option: JSON, `["stream_version", "occurred_at"]`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named: Vec<Entry> = serde_json::from_str(text).map_err(|error| {
            format!(
                "option '{ENTRIES_OPTION}' is not of the form [\"stream_version\", \"occurred_at\"]: {}",
                crate::semantics::shown_to(&error.to_string(), 200)
            )
        })?;
        Ok(named.into_iter().collect())
    }

    /// The text of the option.
    pub fn spell(entries: &[Entry]) -> String {
        serde_json::to_string(entries).expect("invariant: names are JSON")
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(entries.into_iter().fold(0, |set, entry| set | 1 << entry as u8))
    }
}
