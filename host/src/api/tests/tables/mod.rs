//! Reads of tables over a real socket, on each database: PostgREST's filters with the rows that they give, attempts to
//! get SQL in by every way there is, and waiting for a position.

mod answers;
mod attacks;
mod filters;
mod waiting;

use std::collections::BTreeMap;

use lamphouse_contract::{ColumnType, Decimal, Row, TableSchema, Value};

use super::Host;
use crate::tables::fixtures::{self, Filled};
use crate::tables::sample::{column, nullable, table};

/// An answer as it came.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// What the problem says.
    fn detail(&self) -> String {
        self.json()["detail"].as_str().expect("a problem").to_owned()
    }

    /// The ids of the rows.
    fn ids(&self) -> Vec<i64> {
        assert!(matches!(self.status, 200 | 206), "{} {}", self.status, self.body);
        let rows = self.json();
        let ids = rows.as_array().expect("rows").iter();
        ids.map(|row| row["id"].as_i64().expect("an id")).collect()
    }
}

impl Host {
    /// Asks with headers; a query is written as it is meant, and encoded here.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(self.url(&encoded(path)))
            .header("Authorization", self.token.bearer());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = Self::agent()
            .run(request.body(()).expect("a request"))
            .expect("an answer");
        Answer {
            status: answer.status().as_u16(),
            headers: answer
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
                .collect(),
            body: answer.body_mut().read_to_string().expect("text"),
        }
    }

    fn read(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }
}

/// Percent-encodes all that is not plain, and keeps what parts a query.
fn encoded(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"/?&=-._~(),*:!'".contains(&byte);
    let one = |byte: u8| match keep(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(one).collect()
}

/// A table with a column of every kind, and columns with the names of parameters.
fn people() -> TableSchema {
    use ColumnType::{Boolean, Bytes, Integer, Json, Real, Text, Timestamp};
    let columns = vec![
        column("id", Integer),
        nullable("name", Text),
        nullable("note", Text),
        nullable("age", Integer),
        nullable("big", Integer),
        nullable("ratio", Real),
        nullable("price", ColumnType::Decimal(2)),
        nullable("active", Boolean),
        nullable("born", Timestamp),
        nullable("data", Bytes),
        nullable("doc", Json),
        nullable("select", Text),
        column("order", Integer),
        nullable("and", Text),
        nullable("not", Integer),
    ];
    table("people", columns, &[0], &[&[1], &[6], &[8]])
}

/// Microseconds of a time.
fn micros(time: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time)
        .unwrap()
        .timestamp_micros()
}

fn rows() -> Vec<Row> {
    let text = |text: &str| Value::Text(text.into());
    let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
    let time = |text: &str| Value::Timestamp(micros(text));
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.into());
    let json = |text: &str| Value::Json(text.into());
    let (int, real, yes) = (Value::Integer, Value::Real, Value::Boolean);
    let null = || Value::Null;
    let big = "123456789012345678901234567890.10";
    let of = |id: i64, cells: [Value; 10], select: Value, and: Value, not: Value| -> Row {
        let mut row = vec![int(id)];
        row.extend(cells);
        row.extend([select, int(id), and, not]);
        row.into()
    };
    vec![
        of(
            1,
            [
                text("Ada"),
                text("plain"),
                int(36),
                int(i64::MAX),
                real(0.5),
                decimal("1.50"),
                yes(true),
                time("1815-12-10T00:00:00Z"),
                bytes(&[0, 255]),
                json(r#"{"a":1}"#),
            ],
            text("x"),
            text("p"),
            int(1),
        ),
        of(
            2,
            [
                text("ada"),
                text("a,b"),
                int(17),
                int(i64::MIN),
                real(-1.5),
                decimal("10.00"),
                yes(false),
                time("2000-01-01T00:00:00.000001Z"),
                bytes(&[]),
                json("[1,2]"),
            ],
            text("y"),
            text("q"),
            int(2),
        ),
        of(
            3,
            [
                text("Åse"),
                text("100% (sure)"),
                null(),
                int(0),
                null(),
                decimal("-0.25"),
                null(),
                null(),
                null(),
                null(),
            ],
            null(),
            text("p"),
            null(),
        ),
        of(
            4,
            [
                text("O'Brien; DROP TABLE people; --"),
                text(r#"say "hi""#),
                int(65),
                int(9_007_199_254_740_993),
                real(1e300),
                decimal("9.50"),
                yes(true),
                time("2000-01-01T00:00:00Z"),
                bytes(&[39]),
                json("\"x\""),
            ],
            null(),
            null(),
            null(),
        ),
        of(
            5,
            [
                text("日本 語"),
                text(r"back\slash"),
                int(65),
                int(5),
                real(2.0),
                decimal(big),
                yes(false),
                time("2020-02-29T12:00:00Z"),
                bytes(&[1, 2, 3]),
                null(),
            ],
            null(),
            null(),
            null(),
        ),
        of(
            6,
            [
                null(),
                null(),
                null(),
                int(6),
                null(),
                null(),
                null(),
                null(),
                null(),
                null(),
            ],
            null(),
            null(),
            null(),
        ),
        of(
            7,
            [
                text(""),
                text("a_b"),
                int(0),
                int(7),
                real(0.0),
                decimal("0.00"),
                yes(true),
                time("1970-01-01T00:00:00Z"),
                bytes(&[0]),
                json("{}"),
            ],
            null(),
            null(),
            null(),
        ),
        of(
            8,
            [
                text("null"),
                text("axb"),
                int(18),
                int(8),
                real(-0.5),
                decimal("1.50"),
                yes(false),
                time("9999-12-31T23:59:59.999999Z"),
                bytes(&[255]),
                json("null"),
            ],
            null(),
            null(),
            null(),
        ),
        of(
            9,
            [
                text("z\u{10ffff}"),
                text("(x)"),
                int(40),
                int(9),
                real(1.5),
                decimal("-1.00"),
                null(),
                null(),
                null(),
                null(),
            ],
            null(),
            null(),
            null(),
        ),
    ]
}

/// Runs a test on each database.
fn on_each(test: impl Fn(&Host, &mut Filled)) {
    for mut filled in fixtures::each(&people(), &rows()) {
        let host = Host::on(Some(filled.store.clone()));
        eprintln!("on {}", filled.name);
        test(&host, &mut filled);
    }
}
