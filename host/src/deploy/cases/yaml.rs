//! YAML 1.2 (core schema) as nodes.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::node::{DEPTH_MAX, Entry, Kind, Node, Wrong};

/// Values of one file, with what aliases repeat.
const NODES_MAX: usize = 1_000_000;

/// The documents of a YAML text.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Wrong> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
            (event, span) => documents.push(reader.node(event, span, 0)?),
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// What aliases stand for, and how many nodes each is.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Wrong> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Wrong {
                line: error.marker().line(),
                why: format!("not YAML: {}", error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Wrong> {
        let line = span.start.line().max(1);
        let wrong = |why: String| Wrong { line, why };
        let before = self.nodes;
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(wrong(format!(
                "more than {DEPTH_MAX} levels or {NODES_MAX} values"
            )));
        }
        let (kind, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(wrong("an alias of something that is not there".to_owned()));
                };
                self.nodes += size;
                if self.nodes > NODES_MAX {
                    return Err(wrong(format!(
                        "more than {NODES_MAX} values, with what aliases repeat"
                    )));
                }
                let mut node = node.clone();
                node.line = line;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let kind = match tag.as_deref() {
                    None if is_plain => plain(&text).map_err(wrong)?,
                    None => Kind::Text(text.into_owned()),
                    Some(tag) if is_str(tag) => Kind::Text(text.into_owned()),
                    Some(tag) => return Err(wrong(unknown(tag))),
                };
                (kind, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(wrong(unknown(&tag)));
                }
                let mut nodes = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => nodes.push(self.node(event, span, depth + 1)?),
                    }
                }
                (Kind::List(nodes), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(wrong(unknown(&tag)));
                }
                (Kind::Map(self.entries(depth)?), anchor)
            }
            _ => return Err(wrong("not YAML: a value is missing".to_owned())),
        };
        let node = Node { line, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Wrong> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                // A key is text, also where it looks like a number.
                (Event::Scalar(text, ..), span) => (text.into_owned(), span.start.line().max(1)),
                (_, span) => {
                    return Err(Wrong {
                        line: span.start.line().max(1),
                        why: "a key has to be text".to_owned(),
                    });
                }
            };
            let (key, line) = key;
            if entries.iter().any(|entry| entry.key == key) {
                return Err(Wrong {
                    line,
                    why: format!("the key '{key}' is there twice"),
                });
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, value });
        }
    }
}

fn is_str(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

fn unknown(tag: &Tag) -> String {
    format!("the tag {}{} has no meaning here", tag.handle, tag.suffix)
}

/// What a word without quotes is.
fn plain(text: &str) -> Result<Kind, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Boolean(true),
        "false" | "False" | "FALSE" => Kind::Boolean(false),
        _ => match number(text) {
            Number::Is(number) => Kind::Number(number),
            Number::Not => Kind::Text(text.to_owned()),
            Number::Doubtful => {
                return Err(format!(
                    "{text} is a number to some readers and text to others; write text as \"{text}\", and a number in \
                     decimal digits without leading zeros"
                ));
            }
        },
    })
}

enum Number {
    /// In JSON's form.
    Is(String),
    Not,
    Doubtful,
}

fn number(text: &str) -> Number {
    let (sign, rest) = match text.as_bytes() {
        [b'-', ..] => ("-", &text[1..]),
        [b'+', ..] => ("", &text[1..]),
        _ => ("", text),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let radix = rest.strip_prefix("0x").or(rest.strip_prefix("0o"));
    if radix.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || matches!(rest, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
    {
        return Number::Doubtful;
    }
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if !is_digits(digits) {
                return Number::Not;
            }
            (mantissa, format!("e{exponent}"))
        }
        None => (rest, String::new()),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let fraction_is_number = fraction.is_none_or(|fraction| fraction.is_empty() || is_digits(fraction));
    let has_digits = is_digits(whole) || (whole.is_empty() && fraction.is_some_and(is_digits));
    if !has_digits || !fraction_is_number {
        return Number::Not;
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Number::Doubtful;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = match fraction {
        None | Some("") => String::new(),
        Some(fraction) => format!(".{fraction}"),
    };
    Number::Is(format!("{sign}{whole}{fraction}{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let documents: Vec<String> = read(text).expect("YAML").iter().map(Node::json).collect();
        documents.join(" ")
    }

    fn why(text: &str) -> String {
        let wrong = read(text).expect_err("wrong");
        format!("{}: {}", wrong.line, wrong.why)
    }

    #[test]
    fn numbers_keep_their_digits_and_words_are_text() {
        assert_eq!(
            json("[1, -2.50, 12345678901234567890.123456789, 1e3, .5, 5., +7, 0]"),
            "[1,-2.50,12345678901234567890.123456789,1e3,0.5,5,7,0]"
        );
        assert_eq!(
            json("[yes, 2024-01-01T00:00:01Z, 1.2.3, 12_000, 'a', \"7\", !!str 8, 1e, e3, null, ~, true]"),
            r#"["yes","2024-01-01T00:00:01Z","1.2.3","12_000","a","7","8","1e","e3",null,null,true]"#
        );
        for doubtful in ["007", "0x1F", "0o17", ".inf", "-.inf", ".nan"] {
            assert!(why(doubtful).contains("to some readers"), "{doubtful}");
        }
    }

    #[test]
    fn objects_aliases_and_documents_are_read() {
        assert_eq!(
            json("- &a {id: x, 1: [y]}\n- *a\n---\n- |\n  text\n"),
            r#"[{"id":"x","1":["y"]},{"id":"x","1":["y"]}] ["text\n"]"#
        );
        let nodes = read("- a: 1\n\n- b:\n    c: 2\n").expect("YAML");
        let list = nodes[0].list("it").expect("a list");
        assert_eq!((list[0].line, list[1].line), (1, 3));
        assert_eq!(json(""), "");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        assert_eq!(why("a: 1\nb: 2\na: 3\n"), "3: the key 'a' is there twice");
        assert!(why("- a\n- {b: [1, 2\n").contains("not YAML"));
        assert!(why("- !thing x").contains("the tag"));
        let bomb = (1..12).fold(
            "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(),
            |text, level| {
                let before = vec![format!("*a{}", level - 1); 10].join(", ");
                format!("{text}- &a{level} [{before}]\n")
            },
        );
        assert!(why(&bomb).contains("more than"));
        assert!(read(&"[".repeat(10_000)).is_err());
    }
}
