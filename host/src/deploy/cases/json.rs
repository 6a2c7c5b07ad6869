//! JSON as nodes.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::node::{DEPTH_MAX, Entry, Kind, Node, Wrong};

/// Reads one JSON text.
pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    let of = |error: serde_json::Error| {
        let said = error.to_string();
        Wrong {
            line: error.line(),
            why: format!(
                "not JSON: {} (column {})",
                said.rsplit_once(" at line ")
                    .map_or(said.as_str(), |(said, _)| said),
                error.column()
            ),
        }
    };
    let raw: &RawValue = serde_json::from_str(text).map_err(of)?;
    node(text, raw, 0)
}

fn node(text: &str, raw: &RawValue, depth: usize) -> Result<Node, Wrong> {
    let own = raw.get();
    // It is a part of the text.
    let offset = (own.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let line = 1 + text[..offset.min(text.len())].matches('\n').count();
    let wrong = |why: String| Wrong { line, why };
    if depth > DEPTH_MAX {
        return Err(wrong(format!("nested deeper than {DEPTH_MAX}")));
    }
    let cannot = |error: serde_json::Error| wrong(format!("not JSON: {error}"));
    let kind = match own.as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't') => Kind::Boolean(true),
        Some(b'f') => Kind::Boolean(false),
        Some(b'"') => Kind::Text(serde_json::from_str(own).map_err(cannot)?),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(own).map_err(cannot)?;
            let nodes = items.into_iter().map(|item| node(text, item, depth + 1));
            Kind::List(nodes.collect::<Result<_, _>>()?)
        }
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(own).map_err(cannot)?;
            let mut entries: Vec<Entry> = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let value = node(text, value, depth + 1)?;
                if entries.iter().any(|entry| entry.key == key) {
                    return Err(value.wrong(format!("the key '{key}' is there twice")));
                }
                entries.push(Entry { key, value });
            }
            Kind::Map(entries)
        }
        _ => Kind::Number(own.to_owned()),
    };
    Ok(Node { line, kind })
}

/// An object's keys and values in their order, also the same one twice.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_digits_and_lines() {
        let text = "[\n  {\"a\": 12345678901234567890.10,\n   \"b\": [null, true, \"x\\ny\"]}\n]";
        let node = read(text).expect("JSON");
        assert_eq!(
            node.json(),
            r#"[{"a":12345678901234567890.10,"b":[null,true,"x\ny"]}]"#
        );
        let object = &node.list("it").expect("a list")[0];
        let entries = object.map("it").expect("an object");
        assert_eq!(
            (object.line, entries[0].value.line, entries[1].value.line),
            (2, 2, 3)
        );
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let wrong = read("[\n{\"a\": 1,\n\"a\": 2}]").expect_err("twice");
        assert_eq!(
            (wrong.line, wrong.why.as_str()),
            (3, "the key 'a' is there twice")
        );
        assert_eq!(read("[\n1,\n]").expect_err("a comma").line, 3);
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        assert!(read(&deep).is_err());
    }
}
