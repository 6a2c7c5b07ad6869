//! What a case file holds, before anybody knows what it means: YAML and JSON alike, with lines and every digit.

use std::fmt::Write;

/// Lists and objects within each other.
pub(super) const DEPTH_MAX: usize = 128;

/// A value of a case file, and the line where it begins, from 1.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Boolean(bool),
    /// As JSON writes it, digit by digit.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Node,
}

/// Something that a person has to mend in a case file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) why: String,
}

impl Node {
    /// A mistake here.
    pub(super) fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong {
            line: self.line,
            why: why.into(),
        }
    }

    /// What it is, in words.
    pub(super) fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Boolean(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "an object",
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&[Node], Wrong> {
        match &self.kind {
            Kind::List(nodes) => Ok(nodes),
            _ => Err(self.wrong(format!("{name} is {}, where a list is wanted", self.what()))),
        }
    }

    pub(super) fn map(&self, name: &str) -> Result<&[Entry], Wrong> {
        match &self.kind {
            Kind::Map(entries) => Ok(entries),
            _ => Err(self.wrong(format!("{name} is {}, where an object is wanted", self.what()))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, Wrong> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            Kind::Number(number) => {
                Err(self.wrong(format!("{name} is a number, where text is wanted: \"{number}\"")))
            }
            _ => Err(self.wrong(format!("{name} is {}, where text is wanted", self.what()))),
        }
    }

    /// As JSON text.
    pub(super) fn json(&self) -> String {
        let mut text = String::new();
        self.write_json(&mut text);
        text
    }

    fn write_json(&self, out: &mut String) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &self.kind {
            Kind::Null => out.push_str("null"),
            Kind::Boolean(value) => {
                // A string takes everything.
                let _ = write!(out, "{value}");
            }
            Kind::Number(number) => out.push_str(number),
            Kind::Text(text) => out.push_str(&quoted(text)),
            Kind::List(nodes) => {
                out.push('[');
                for (place, node) in nodes.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    node.write_json(out);
                }
                out.push(']');
            }
            Kind::Map(entries) => {
                out.push('{');
                for (place, entry) in entries.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    out.push_str(&quoted(&entry.key));
                    out.push(':');
                    entry.value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// Where two values are not the same as JSON: `data.lines[2].price is 1, should be 2`. The order of keys does not
    /// count, nor how a number is written.
    pub(super) fn differences(&self, should: &Self, path: &str, found: &mut Vec<String>) {
        let is = |found: &mut Vec<String>| {
            found.push(format!(
                "{path} is {}, should be {}",
                cut(&self.json()),
                cut(&should.json())
            ));
        };
        match (&self.kind, &should.kind) {
            (Kind::Null, Kind::Null) => {}
            (Kind::Boolean(one), Kind::Boolean(other)) if one == other => {}
            (Kind::Text(one), Kind::Text(other)) if one == other => {}
            (Kind::Number(one), Kind::Number(other)) if same_number(one, other) => {}
            (Kind::List(one), Kind::List(other)) if one.len() == other.len() => {
                for (place, (one, other)) in one.iter().zip(other).enumerate() {
                    one.differences(other, &format!("{path}[{place}]"), found);
                }
            }
            (Kind::Map(one), Kind::Map(other)) => {
                for entry in other {
                    let at = format!("{path}.{}", entry.key);
                    match one.iter().find(|own| own.key == entry.key) {
                        Some(own) => own.value.differences(&entry.value, &at, found),
                        None => found.push(format!(
                            "{at} is not there, should be {}",
                            cut(&entry.value.json())
                        )),
                    }
                }
                for entry in one {
                    if !other.iter().any(|wanted| wanted.key == entry.key) {
                        let at = format!("{path}.{}", entry.key);
                        found.push(format!(
                            "{at} is {}, should not be there",
                            cut(&entry.value.json())
                        ));
                    }
                }
            }
            _ => is(found),
        }
    }
}

/// The beginning of a long text.
pub(super) fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether two JSON numbers are the same, however they are written.
fn same_number(one: &str, other: &str) -> bool {
    one == other || matches!((normal(one), normal(other)), (Some(one), Some(other)) if one == other)
}

/// Sign, digits without zeros around them, and the power of ten of the last digit.
fn normal(number: &str) -> Option<(bool, String, i64)> {
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
    let power = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(dropped)?;
    Some(match kept.trim_start_matches('0') {
        "" => (false, String::new(), 0),
        digits => (is_negative, digits.to_owned(), power),
    })
}

#[cfg(test)]
mod tests {
    use super::super::json;

    fn differences(is: &str, should: &str) -> Vec<String> {
        let mut found = Vec::new();
        let read = |text| json::read(text).expect("JSON");
        read(is).differences(&read(should), "data", &mut found);
        found
    }

    #[test]
    fn the_same_json_may_be_written_in_many_ways() {
        for (one, other) in [
            (r#"{"a":1,"b":[2.50,null]}"#, r#"{"b":[2.5,null],"a":1.0}"#),
            ("12345678901234567890123", "1.2345678901234567890123e22"),
            ("-0", "0e5"),
            (r#""\u00e4""#, r#""ä""#),
        ] {
            assert_eq!(differences(one, other), [""; 0], "{one} {other}");
        }
    }

    #[test]
    fn a_difference_is_named_by_its_place() {
        assert_eq!(
            differences(
                r#"{"a":{"b":[1,2]},"c":true,"d":"x"}"#,
                r#"{"a":{"b":[1,3]},"c":null,"e":{}}"#
            ),
            [
                "data.a.b[1] is 2, should be 3",
                "data.c is true, should be null",
                "data.e is not there, should be {}",
                "data.d is \"x\", should not be there",
            ]
        );
        assert_eq!(
            differences("9007199254740993", "9007199254740992"),
            ["data is 9007199254740993, should be 9007199254740992"]
        );
        assert_eq!(differences("1", "-1").len(), 1);
        assert_eq!(differences("[1]", "[1,2]"), ["data is [1], should be [1,2]"]);
    }
}
