//! The declared fields of an event's JSON. The input is three parts, with a byte 0xFF between them: a recipe for the
//! declaration (a path and a type, two bytes each), the data, the metadata.
//!
//! *Always:* what is taken out of JSON that names nothing twice is what its value holds at the declared places, and
//! where that is not of the declared type, nothing is taken out; an event that is written with its fields is read with
//! them. Any text may be no option `fields`, and then it is said in few words.

use std::fmt;

use lamphouse_contract::fields::{Extracted, Field, FieldKind, Plan, spell};
use lamphouse_contract::packed::{self, Event};
use lamphouse_contract::{Decimal, Timestamp, Value};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use crate::{Target, memory};

pub(crate) const FIELDS: Target = Target {
    name: "fields",
    run,
    words: &[
        b"\xff",
        b"\x01\x04\xff{\"a\":",
        b"\"a\":",
        b"\"b\":",
        b"\"a/b\":",
        b"\"m~n\":",
        b"\"\":",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"null",
        b"true",
        b"\"12.50\"",
        b"-0",
        b"1.5e3",
        b"9223372036854775807",
        b"18446744073709551615",
        b"1e400",
        b"\"2024-02-29T12:00:00.5+01:00\"",
        b"\"\\u20ac\\ud83d\\ude00\\n\"",
        b"\\ud800",
        b" ",
    ],
    bytes_max: 2_048,
    memory_beside_max: 1 << 20,
};

const PATHS: [&str; 16] = [
    "/data",
    "/data/a",
    "/data/b",
    "/data/a/b",
    "/data/a/a",
    "/data/a/0",
    "/data/a/1/b",
    "/data/b/10",
    "/data/b/01",
    "/data/a~1b",
    "/data/m~0n",
    "/data/",
    "/metadata",
    "/metadata/a",
    "/metadata/a/b",
    "/metadata/b",
];
const KINDS: [FieldKind; 7] = [
    FieldKind::Boolean,
    FieldKind::Integer,
    FieldKind::Real,
    FieldKind::Decimal,
    FieldKind::Text,
    FieldKind::Timestamp,
    FieldKind::Json,
];

fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Err(problems) = memory::beside(|| Plan::parse(text))
    {
        for problem in problems {
            assert!(problem.len() <= 1_000, "a long sentence: {problem}");
        }
    }
    let mut parts = input.splitn(3, |byte| *byte == 0xff);
    let (recipe, data, metadata) = (parts.next(), parts.next(), parts.next());
    let text = |part: Option<&[u8]>| std::str::from_utf8(part.unwrap_or(b"null")).map(str::to_owned);
    let (Some(recipe), Ok(data), Ok(metadata)) = (recipe, text(data), text(metadata)) else {
        return;
    };
    let declared: Vec<Field<'_>> = recipe
        .chunks_exact(2)
        .take(20)
        .map(|pair| Field {
            path: PATHS[usize::from(pair[0]) % PATHS.len()],
            kind: KINDS[usize::from(pair[1]) % KINDS.len()],
        })
        .collect();
    memory::beside(|| check(&declared, &data, &metadata));
}

fn check(declared: &[Field<'_>], data: &str, metadata: &str) {
    let mut plan = Plan::default();
    let spelled = Plan::parse(&spell([("E", declared)]));
    match plan.add("E", declared.iter().copied()) {
        Ok(()) => assert_eq!(spelled.as_ref(), Ok(&plan), "what is spelled is read"),
        Err(_) => {
            assert!(spelled.is_err(), "a declaration that is none is read");
            return;
        }
    }
    let event = Event {
        position: 1,
        part: 0,
        id: "",
        stream_id: "s-1",
        stream_type: "s",
        stream_version: 1,
        event_type: "E",
        schema_version: 1,
        data,
        metadata,
        occurred_at: 0,
        recorded_at: 0,
        fields: None,
    };
    let mut room = Extracted::default();
    let taken = plan.extract(&event, &mut room).map(|is_declared| {
        assert!(is_declared);
        values(room.values())
    });
    if let Some(due) = due(declared, data, metadata) {
        let said = taken
            .clone()
            .map(|values| values.iter().map(without_spaces).collect::<Vec<_>>());
        assert_eq!(
            said.as_ref().ok(),
            due.as_ref(),
            "{declared:?} of {data} and {metadata}: {said:?}"
        );
    }

    let mut written = Vec::new();
    plan.write_event(&mut written, &event, &mut Extracted::default());
    let back: Vec<_> = packed::events(&written).collect();
    let [Ok(back)] = back.as_slice() else {
        panic!("one event was written, and read as {back:?}")
    };
    match taken {
        Ok(taken) => assert_eq!(
            (back.fields.map(values), back.data, back.metadata),
            (Some(taken), "", "")
        ),
        Err(_) => assert_eq!(*back, event, "an event that is not as declared is whole"),
    }
}

fn values(packed: &[u8]) -> Vec<Value> {
    let mut reader = packed::Reader::new(packed);
    let mut values = Vec::new();
    while !reader.is_at_end() {
        values.push(reader.value().expect("a value that was written").to_value());
    }
    values
}

/// What is to be taken out: Some(None) is nothing, because something is not as declared; None is not known, because the
/// JSON is none, or names something twice.
fn due(declared: &[Field<'_>], data: &str, metadata: &str) -> Option<Option<Vec<Value>>> {
    let parse = |text: &str| serde_json::from_str::<Once>(text).ok().map(|once| once.0);
    let (data, metadata) = (parse(data)?, parse(metadata)?);
    Some(
        declared
            .iter()
            .map(|field| {
                let mut names = field.path.split('/').skip(1);
                let root = match names.next() {
                    Some("data") => &data,
                    _ => &metadata,
                };
                let found = names.try_fold(root, |within, name| {
                    let name = name.replace("~1", "/").replace("~0", "~");
                    match within {
                        Json::Null => Some(&Json::Null),
                        Json::Object(fields) => Some(fields.get(&name).unwrap_or(&Json::Null)),
                        Json::Array(list) => Some(
                            name.parse::<usize>()
                                .ok()
                                .filter(|number| number.to_string() == name)
                                .and_then(|number| list.get(number))
                                .unwrap_or(&Json::Null),
                        ),
                        _ => None,
                    }
                })?;
                of_kind(field.kind, found)
            })
            .collect(),
    )
}

/// What a value of JSON is as a declared type; None where it is not of it.
fn of_kind(kind: FieldKind, found: &Json) -> Option<Value> {
    Some(match (kind, found) {
        (_, Json::Null) => Value::Null,
        (FieldKind::Boolean, Json::Bool(value)) => Value::Boolean(*value),
        (FieldKind::Integer, Json::Number(number)) => Value::Integer(number.as_i64()?),
        (FieldKind::Real, Json::Number(number)) => Value::Real(number.as_f64()?),
        (FieldKind::Decimal, Json::Number(number)) => {
            Value::Decimal(match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Decimal::from(number),
                (None, number) => Decimal::new(i128::from(number?), 0).ok()?,
            })
        }
        (FieldKind::Decimal, Json::String(text)) => Value::Decimal(Decimal::parse(text).ok()?),
        (FieldKind::Text, Json::String(text)) => Value::Text(text.as_str().into()),
        (FieldKind::Timestamp, Json::String(text)) => Value::Timestamp(Timestamp::parse(text).ok()?.micros()),
        (FieldKind::Json, value) => Value::Json(value.to_string().into()),
        _ => return None,
    })
}

/// JSON is handed over to the letter; here it is compared by what it says.
fn without_spaces(value: &Value) -> Value {
    match value {
        Value::Json(text) => {
            let json: Json = serde_json::from_str(text).expect("JSON that was taken out of JSON");
            Value::Json(json.to_string().into())
        }
        other => other.clone(),
    }
}

/// JSON in which no object names anything twice.
struct Once(Json);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once(Json::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Once(Json::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut fields = serde_json::Map::new();
        while let Some((name, Once(value))) = map.next_entry::<String, Once>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name that comes twice"));
            }
        }
        Ok(Once(Json::Object(fields)))
    }
}
