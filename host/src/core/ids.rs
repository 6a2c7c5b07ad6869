//! Newtypes where a mix-up would corrupt data.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

/// Place of an event in the whole log: from 1, gapless, in commit order. 0 is "before the first".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);
    /// The last that can be: positions stay below 2^53, so that every JSON reader keeps them exactly.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The signed form that both databases store.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).expect("invariant: positions stay below 2^53")
    }

    /// From the signed form that both databases store; a negative one (never written) reads as 0.
    pub fn from_i64(position: i64) -> Self {
        Self(u64::try_from(position).unwrap_or(0))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place of an event in its stream: from 1. 0 is "no such stream".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct StreamVersion(pub u64);

impl fmt::Display for StreamVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One build of a projection's tables; unique in one tables database, so that `orders__g7` names one table for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct GenerationId(pub i64);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// Identity of one event log, made when the log is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identity of one event; version 7 when the log gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of a plugin file as it was submitted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String)]
pub struct PluginDigest([u8; 32]);

impl PluginDigest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was computed as the bytes came.
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// From 64 hexadecimal digits; None if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digest = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        digest.try_into().ok().map(Self)
    }

    /// The first 12 hexadecimal digits, for messages.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PluginDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PluginDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PluginDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a digest is 64 hexadecimal digits"))
    }
}

/// Longest name in bytes: leaves room for `__g` and a number within PostgreSQL's 63.
pub const NAME_BYTES_MAX: usize = 48;

/// Says why a text is not a name: lower-case ASCII letter first, then letters, digits, and `_` (and, for plugins,
/// `-`); at most 48 bytes; not with our own prefixes.
fn name_error(what: &str, name: &str, dashes: bool) -> Option<String> {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || (dashes && c == b'-');
    let bytes = name.as_bytes();
    let shown: String = name.chars().take(60).collect();
    if bytes.is_empty() {
        Some(format!("a {what} name is empty"))
    } else if bytes.len() > NAME_BYTES_MAX {
        Some(format!(
            "{what} name '{shown}' has {} bytes; at most {NAME_BYTES_MAX} are allowed",
            bytes.len()
        ))
    } else if !bytes[0].is_ascii_lowercase() || !bytes.iter().copied().all(legal) {
        let signs = if dashes {
            "digits, '_' and '-'"
        } else {
            "digits and '_'"
        };
        Some(format!(
            "{what} name '{shown}' must be lower-case ASCII: a letter first, then letters, {signs}"
        ))
    } else if name.starts_with("lamphouse")
        || name.starts_with("sqlite_")
        || name.starts_with("pg_")
        || name.contains("__g")
    {
        Some(format!(
            "{what} name '{shown}' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')"
        ))
    } else {
        None
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $dashes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $type(String);

        impl $type {
            /// Checks the name; the error says what is wrong with it.
            pub fn new(name: &str) -> Result<Self, String> {
                match name_error($what, name, $dashes) {
                    Some(error) => Err(error),
                    None => Ok(Self(name.to_owned())),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(name: String) -> Result<Self, String> {
                Self::new(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// Name of a plugin, and of the projection that it makes: `order-summary`.
    PluginName, "plugin", true
);
name!(
    /// Public name of a read table (or, with [`TableName::column`], of a column): `orders`.
    TableName, "table", false
);

impl TableName {
    /// Checks a column's name by the same rules.
    pub fn column(name: &str) -> Result<Self, String> {
        match name_error("column", name, false) {
            Some(error) => Err(error),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The physical table of one generation: `orders__g7`.
    pub fn physical(&self, generation: GenerationId) -> String {
        format!("{}__{generation}", self.0)
    }
}
