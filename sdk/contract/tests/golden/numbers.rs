//! Decimals and timestamps.

use lamphouse_contract::{Decimal, DecimalError, Timestamp};
use serde_json::{Value as Json, json};

use crate::json::golden;

/// The text of what came out; null for a fault.
fn outcome(result: Result<Decimal, DecimalError>) -> Json {
    result.map_or(Json::Null, |number| number.to_string().into())
}

#[test]
fn decimals_are_as_the_golden_file_says() {
    let of = |text: &str| Decimal::parse(text).unwrap();
    let nines = "9".repeat(38);
    let finest = format!("0.{}1", "0".repeat(37));
    let mut made = Vec::new();
    for text in [
        "0",
        "-0",
        "-0.0",
        "007",
        "12.50",
        "-12.345",
        "0.001",
        "1.",
        ".5",
        "",
        "-",
        "+1",
        "1e3",
        "1_000",
        " 1",
        "1.2.3",
        "1,5",
        "\u{661}",
        &nines,
        &finest,
        &format!("1{nines}"),
        &format!("0.{}", "0".repeat(39)),
        "9223372036854775807",
        "-9223372036854775809",
    ] {
        made.push(json!({"parse": text, "is": outcome(Decimal::parse(text))}));
    }
    for (one, other) in [
        ("1.5", "2.25"),
        ("-1.50", "1.5"),
        ("0.1", "0.2"),
        (nines.as_str(), "1"),
        (nines.as_str(), "-1"),
        ("9223372036854775807", "1"),
        ("99999999999999999999.99", "0.01"),
        (finest.as_str(), "1"),
        (nines.as_str(), "0.1"),
    ] {
        made.push(json!({"add": [one, other], "is": outcome(of(one).checked_add(&of(other)))}));
    }
    for (number, times) in [
        ("2.55", 6),
        ("-0.001", 3),
        ("11062.06", -1),
        ("1.10", 0),
        ("123456789012345678.9", 1_000_000_007),
        ("9223372036854775807", i64::MIN),
        (nines.as_str(), 2),
        (nines.as_str(), -1),
    ] {
        made.push(
            json!({"times": [number, times.to_string()], "is": outcome(of(number).checked_mul(times))}),
        );
    }
    for (number, scale) in [
        ("1.5", 2),
        ("1.50", 1),
        ("1.05", 1),
        ("-7", 3),
        ("0.000", 0),
        (nines.as_str(), 1),
        ("100", 38),
        ("0", 38),
        (finest.as_str(), 38),
        (finest.as_str(), 37),
    ] {
        made.push(json!({"rescale": [number, scale], "is": outcome(of(number).rescale(scale))}));
    }
    for (one, other) in [
        ("1.5", "1.50"),
        ("-1", "1"),
        ("0.10", "0.09"),
        (nines.as_str(), "1"),
        ("-0.5", "-0.25"),
        ("0", "-0.00"),
    ] {
        let order = of(one).cmp(&of(other)) as i8;
        made.push(json!({"compare": [one, other], "is": order}));
    }
    let vectors = golden("decimals.json", &made.into());
    assert!(vectors.iter().any(|vector| vector["is"].is_null()));
}

#[test]
fn timestamps_are_as_the_golden_file_says() {
    let parsed = [
        "2011-08-12T13:50:00Z",
        "2011-08-12T14:50:00.123456+01:00",
        "2011-08-12T13:50:00.1239999Z",
        "1969-12-31T23:59:59.999999Z",
        "2024-02-29T00:00:00-23:59",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2011-08-12 13:50:00z",
        "2016-12-31T23:59:60Z",
        "2011-08-12T13:50:00",
        "2011-08-12",
        "2023-02-29T00:00:00Z",
        "2011-13-01T00:00:00Z",
        "2011-08-12T24:00:00Z",
        "2011-08-12T13:60:00Z",
        "2011-08-12T13:50:00.Z",
        "2011-08-12T13:50:00+0100",
        "2011-08-12T13:50:00+24:00",
        "",
        "now",
    ]
    .map(|text| {
        let moment = Timestamp::parse(text).ok();
        json!({
            "text": text,
            "micros": moment.map(|moment| moment.micros().to_string()),
            "canonical": moment.map(|moment| moment.to_string()),
        })
    });
    let vectors = golden("timestamps.json", &parsed.into_iter().collect());
    assert!(vectors.iter().any(|vector| vector["micros"].is_null()));
}
