//! How a schema's file is called. Pure.
//!
//! `OrderPlaced.1.json`: event type, version, ending. A byte of the type that is no ASCII letter or digit and none of
//! `_ - .` is written as in addresses: `%2F`. So is a first `.` (which would hide the file) and a first `_` (which marks
//! files that others refer to). A type whose name would be too long for a file has the SHA-256 of the type in its place:
//! `%sha256-HEX.1.json`.

use data_encoding::HEXLOWER;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::core::address::decoded;

/// Bytes of a type's name as written; file systems take 255 for all of it.
const NAME_BYTES_MAX: usize = 200;
/// What is written as it is; see [`written`] for the first byte.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What a file of the folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The schema of a type and version.
    Event(EventName, u32),
    /// A part that others refer to: its name begins with `_`.
    Part,
    /// None of ours: hidden, or no `.json`.
    Other,
}

/// Which type a file is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EventName {
    /// The type.
    Text(String),
    /// The SHA-256 of a long type, in hexadecimal.
    Digest(String),
}

/// The name of the file of a type and version.
pub fn file_name(event_type: &str, schema_version: u32) -> String {
    let written = written(event_type);
    if written.len() > NAME_BYTES_MAX {
        return format!("%sha256-{}.{schema_version}.json", digest(event_type));
    }
    format!("{written}.{schema_version}.json")
}

/// The digest that stands for a long type.
pub(super) fn digest(event_type: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(event_type.as_bytes()))
}

/// What a file is.
///
/// # Errors
/// Why its name is none of a schema.
pub(super) fn kind(file: &str) -> Result<Kind, String> {
    if file.starts_with('.') || !file.ends_with(".json") {
        return Ok(Kind::Other);
    }
    if file.starts_with('_') {
        return Ok(Kind::Part);
    }
    let advice = "call it EVENT_TYPE.VERSION.json, for example OrderPlaced.1.json, or begin its name with '_' when others \
                  refer to it";
    let stem = file.trim_end_matches(".json");
    let Some((name, version)) = stem.rsplit_once('.') else {
        return Err(format!("its name says no version: {advice}"));
    };
    let version = match version.parse::<u32>() {
        Ok(number) if number >= 1 && number.to_string() == version => number,
        _ => {
            let version: String = version.chars().take(20).collect();
            return Err(format!(
                "its name says '{version}', which is no version: {advice}"
            ));
        }
    };
    if let Some(hex) = name.strip_prefix("%sha256-") {
        let is_digest = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        return match is_digest {
            true => Ok(Kind::Event(EventName::Digest(hex.to_owned()), version)),
            false => Err(
                "its name begins with %sha256-, and no SHA-256 in lower-case hexadecimal follows".to_owned(),
            ),
        };
    }
    let Some(event_type) = decoded(name) else {
        return Err(format!(
            "'%' in its name is followed by no two digits, or the type is no UTF-8: {advice}"
        ));
    };
    if event_type.is_empty() {
        return Err(format!("its name says no event type: {advice}"));
    }
    let right = file_name(&event_type, version);
    if right != file {
        return Err(format!(
            "for the event type that it names, the file is to be called {right}"
        ));
    }
    Ok(Kind::Event(EventName::Text(event_type), version))
}

fn written(event_type: &str) -> String {
    let (first, rest) = match event_type.strip_prefix(['_', '.']) {
        Some(rest) => (&event_type[..1], rest),
        None => ("", event_type),
    };
    format!(
        "{}{}",
        utf8_percent_encode(first, NON_ALPHANUMERIC),
        utf8_percent_encode(rest, ESCAPED)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_file_and_every_file_one_type() {
        let long = "x".repeat(1_024);
        let types = [
            "OrderPlaced",
            "order.placed",
            "order-placed_now",
            "a/b\\c:d",
            "..",
            ".hidden",
            "_part",
            "100%",
            "%2F",
            "%sha256-x",
            "Größe 大",
            "a.1",
            "a.json",
            &long,
        ];
        for event_type in types {
            let file = file_name(event_type, 7);
            assert!(file.len() <= 255 && !file.contains(['/', '\\', '\0']), "{file}");
            let name = match event_type.len() > 200 {
                true => EventName::Digest(digest(event_type)),
                false => EventName::Text(event_type.to_owned()),
            };
            assert_eq!(kind(&file), Ok(Kind::Event(name, 7)), "{file}");
        }
        assert_eq!(file_name("a/b", 2), "a%2Fb.2.json");
        assert_eq!(file_name("_a", 2), "%5Fa.2.json");
    }

    #[test]
    fn a_name_that_is_none_says_what_it_should_be() {
        for (file, word) in [
            ("OrderPlaced.json", "no version"),
            ("OrderPlaced.0.json", "no version"),
            ("OrderPlaced.01.json", "no version"),
            ("OrderPlaced.4294967296.json", "no version"),
            ("OrderPlaced.v1.json", "OrderPlaced.1.json"),
            (".json", ""),
            ("a%2fb.1.json", "a%2Fb.1.json"),
            ("%41.1.json", "A.1.json"),
            ("a b.1.json", "a%20b.1.json"),
            ("a%.1.json", "no two digits"),
            ("a%FF.1.json", "UTF-8"),
            ("%sha256-1.1.json", "SHA-256"),
        ] {
            match kind(file) {
                Err(why) => assert!(!word.is_empty() && why.contains(word), "{file}: {why}"),
                Ok(other) => assert_eq!((other, word), (Kind::Other, ""), "{file}"),
            }
        }
        assert_eq!(kind("_money.json"), Ok(Kind::Part));
        assert_eq!(kind("OrderPlaced.1.json.swp"), Ok(Kind::Other));
        assert_eq!(kind(".OrderPlaced.1.json"), Ok(Kind::Other));
        assert_eq!(kind("README.md"), Ok(Kind::Other));
    }
}
