//! Up to where a stream is looked at. Pure.

use std::fmt;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};

use crate::core::{Position, StoredEvent};

/// Which of an event's times counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// When it happened, as whoever appended it said. May go back and forth in a stream.
    Occurred,
    /// When it was stored. Never goes back.
    Recorded,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Occurred => "occurred",
            Self::Recorded => "recorded",
        })
    }
}

/// A point in a stream: events at it or before it count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A position of the log.
    Position(Position),
    /// A time.
    Time(DateTime<Utc>, By),
}

impl At {
    /// Reads a position, a time (RFC 3339), or a day, which is meant to its end, in UTC.
    ///
    /// # Errors
    /// What is wrong with it: a text that is none of these, a time without `by`, a position with it.
    pub fn parse(text: &str, by: Option<By>) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let position = text.parse().ok().map(Position);
            let Some(position) = position.filter(|position| *position <= Position::MAX) else {
                return Err(format!(
                    "at is {}, and positions stay below 2^53",
                    shortened(text)
                ));
            };
            return match by {
                None => Ok(Self::Position(position)),
                Some(by) => Err(format!(
                    "by={by} goes with a time, and at is the position {position}: leave by out, or give a time"
                )),
            };
        }
        let Some(time) = time(text) else {
            return Err(format!(
                "at is '{}', which is neither a position, such as 4711, nor a time as RFC 3339 has it, such as \
                 2026-03-15T12:00:00Z (in an address, '+' is written %2B), nor a day, such as 2026-03-15",
                shortened(text)
            ));
        };
        match by {
            Some(by) => Ok(Self::Time(time, by)),
            None => Err(
                "with a time, by says which of an event's times counts: by=occurred (when it happened) or by=recorded \
                 (when it was stored)"
                    .to_owned(),
            ),
        }
    }

    /// Whether an event is at the point or before it.
    pub(super) fn counts(&self, event: &StoredEvent) -> bool {
        match self {
            Self::Position(position) => event.position <= *position,
            Self::Time(time, By::Occurred) => event.occurred_at <= *time,
            Self::Time(time, By::Recorded) => event.recorded_at <= *time,
        }
    }

    /// Whether the point is before an event and before all that follow it in its stream.
    pub(super) fn is_before(&self, event: &StoredEvent) -> bool {
        match self {
            Self::Time(_, By::Occurred) => false,
            _ => !self.counts(event),
        }
    }

    /// As an answer has it.
    pub(super) fn shown(&self) -> Json {
        match self {
            Self::Position(position) => Json::from(position.0),
            Self::Time(time, _) => Json::from(time.to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }

    /// Which time counts, of a time.
    pub(super) fn by(&self) -> Option<By> {
        match self {
            Self::Position(_) => None,
            Self::Time(_, by) => Some(*by),
        }
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let day =
        (text.len() == "2026-03-15".len()).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())??;
    let next = day.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN);
    // The log's times are whole microseconds.
    next.and_utc().checked_sub_signed(TimeDelta::microseconds(1))
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// As the OpenAPI document has `at` of an answer.
pub(super) fn schema() -> Schema {
    let position = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let time = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("date-time".to_owned())));
    let either = OneOfBuilder::new()
        .item(position)
        .item(time)
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .description(Some(
            "Up to where: a position, a time, or null where all of the stream was asked for",
        ));
    Schema::OneOf(either.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, by: Option<By>) -> String {
        match At::parse(text, by) {
            Ok(at) => at.shown().to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn a_point_is_a_position_a_time_or_a_day_to_its_end() {
        assert_eq!(shown("4711", None), "4711");
        assert_eq!(
            shown("2026-03-15T12:00:00+02:00", Some(By::Recorded)),
            "\"2026-03-15T10:00:00.000000Z\""
        );
        assert_eq!(
            shown("2026-03-15", Some(By::Occurred)),
            "\"2026-03-15T23:59:59.999999Z\""
        );
    }

    #[test]
    fn what_is_no_point_says_why() {
        assert!(shown("2026-03-15", None).contains("by=occurred"));
        assert!(shown("5", Some(By::Recorded)).contains("leave by out"));
        assert!(shown("9007199254740992", None).contains("2^53"));
        assert!(shown("99999999999999999999999", None).contains("2^53"));
        for text in [
            "",
            "-1",
            "1.5",
            "yesterday",
            "2026-02-30",
            "2026-3-15",
            "2026-03-15T12:00:00",
            "2026-03-15T12:00:00 02:00",
            "٣",
            "+262142-12-31",
        ] {
            assert!(
                shown(text, Some(By::Recorded)).contains("neither a position"),
                "{text}"
            );
        }
    }
}
