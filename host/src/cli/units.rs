//! Figures as a person reads them.

use chrono::{DateTime, SecondsFormat, Utc};

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `4.2 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1_024 {
        return format!("{number} B");
    }
    let mut amount = number as f64 / 1_024.0;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < UNITS.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// `350 ms`, `6.2 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn duration(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{:.1} s", ms as f64 / 1_000.0),
        10..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `48,211/s`, `3.5/s`.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", count(per_second.round() as u64))
    }
}

/// `2010-12-01 08:26:00Z`; with the part of a second where there is one.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
        .replacen('T', " ", 1)
}

/// As [`time`], from microseconds since 1970.
pub(super) fn time_of_micros(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).map_or_else(|| format!("{micros} µs since 1970"), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(
            [0, 999, 1_000, 567_806, 1_234_567].map(count),
            ["0", "999", "1,000", "567,806", "1,234,567"]
        );
        assert_eq!(
            [0, 1_023, 1_024, 5 << 20, 3 << 40, 5_000 << 40].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB", "5000.0 TiB"]
        );
        assert_eq!(
            [7, 6_240, 42_900, 200_000, 7_500_000, 273_600_000].map(duration),
            ["7 ms", "6.2 s", "42 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"]
        );
        assert_eq!([0.25, 48_210.7].map(rate), ["0.2/s", "48,211/s"]);
        assert_eq!(counted(1, "line", "lines"), "1 line");
        assert_eq!(time_of_micros(1_291_191_960_000_000), "2010-12-01 08:26:00Z");
        assert_eq!(time_of_micros(1_291_191_960_250_000), "2010-12-01 08:26:00.250Z");
    }
}
