//! A time as microseconds since 1970 in memory and in databases, and as RFC 3339 in JSON: for `#[serde(with = …)]`.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the time as text: `2026-03-15T08:30:00.000000Z`.
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(micros: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    let time = DateTime::from_timestamp_micros(*micros).unwrap_or_default();
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Reads such a text, or the number itself, as it was written before.
///
/// # Errors
/// It is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Time {
        Micros(i64),
        Text(DateTime<chrono::Utc>),
    }
    Ok(match Time::deserialize(deserializer)? {
        Time::Micros(micros) => micros,
        Time::Text(time) => time.timestamp_micros(),
    })
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct At {
        #[serde(with = "super")]
        at: i64,
    }

    #[test]
    fn a_time_is_text_in_json_and_comes_back_to_the_microsecond() {
        let at = At {
            at: 1_291_191_960_000_001,
        };
        let text = serde_json::to_string(&at).expect("JSON");
        assert_eq!(text, r#"{"at":"2010-12-01T08:26:00.000001Z"}"#);
        assert_eq!(serde_json::from_str::<At>(&text).expect("a time"), at);
        let number = r#"{"at":1291191960000001}"#;
        assert_eq!(serde_json::from_str::<At>(number).expect("a time"), at);
        assert!(serde_json::from_str::<At>(r#"{"at":"yesterday"}"#).is_err());
    }
}
