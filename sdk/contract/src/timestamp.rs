use std::fmt;

use serde::{Deserialize, Serialize};

/// A moment: microseconds since 1970-01-01T00:00:00Z. Its text is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A day of the calendar, in UTC. Its text is `2011-08-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
}

/// A text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampError(String);

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Its day, in UTC.
    pub fn date(self) -> Date {
        Date::from_days(self.0.div_euclid(MICROS_PER_SECOND * SECONDS_PER_DAY))
    }

    /// Reads RFC 3339: `2011-08-12T13:50:00Z`, `2011-08-12T14:50:00.123456+01:00`. Digits beyond microseconds are
    /// cut off; without an offset it is refused.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        Self::parse_parts(text.as_bytes()).ok_or_else(|| {
            TimestampError(format!(
                "'{text}' is no RFC 3339 timestamp such as 2011-08-12T13:50:00Z"
            ))
        })
    }

    fn parse_parts(text: &[u8]) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| {
            text.get(range)?.iter().try_fold(0i64, |number, byte| {
                byte.is_ascii_digit()
                    .then(|| number * 10 + i64::from(byte - b'0'))
            })
        };
        let is = |at: usize, signs: &[u8]| text.get(at).is_some_and(|sign| signs.contains(sign));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let date = Date {
            year: number(0..4)?,
            month: number(5..7)? as u8,
            day: number(8..10)? as u8,
        };
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let days = date.days();
        // A day that the month does not have comes back as another one. A leap second counts as the next second.
        if Date::from_days(days) != date || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (mut at, mut micros) = (19, 0);
        if is(at, b".") {
            at += 1;
            let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            let kept = digits.min(6);
            micros = number(at..at + kept)? * 10i64.pow(6 - kept as u32);
            at += digits;
        }
        let offset = if is(at, b"Zz") && text.len() == at + 1 {
            0
        } else if is(at, b"+-") && is(at + 3, b":") && text.len() == at + 6 {
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if text[at] == b'-' { -60 } else { 60 }
        } else {
            return None;
        };
        let seconds = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second - offset;
        Some(Self(seconds * MICROS_PER_SECOND + micros))
    }
}

impl Date {
    // Both after Howard Hinnant's "chrono-compatible low-level date algorithms": years from March, eras of 400 years.
    fn from_days(days: i64) -> Self {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: month as u8,
            day: day as u8,
        }
    }

    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (i64::from(self.month) + 9) % 12;
        let of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        era * 146_097 + of_era - 719_468
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND).rem_euclid(SECONDS_PER_DAY);
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        write!(
            f,
            "{}T{:02}:{:02}:{:02}",
            self.date(),
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if micros > 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("Z")
    }
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TimestampError {}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 timestamp")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_and_written() {
        for (text, back) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2011-08-12T14:50:00+01:00", "2011-08-12T13:50:00Z"),
            ("2000-02-29T23:59:59.5-00:30", "2000-03-01T00:29:59.500000Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
            ("0001-01-01t00:00:00z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), back);
        }
        for text in [
            "",
            "2011-02-29T00:00:00Z",
            "2011-08-12T13:50:00",
            "2011-08-12",
            "2011-13-01T00:00:00Z",
            "2011-08-12T24:00:00Z",
            "2011-08-12T13:50:00.Z",
            "2011-08-12T13:50:00Zx",
            "é011-08-12T13:50:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        for days in -150_000..150_000 {
            assert_eq!(Date::from_days(days).days(), days);
        }
    }
}
