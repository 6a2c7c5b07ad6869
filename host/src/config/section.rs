//! Reads the keys of one TOML table, notes every mistake with its line, and knows which keys nobody asked for.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml_edit::{Item, TableLike};

use super::Mistake;

/// Where mistakes are gathered, with what is needed to turn a byte into a line.
pub(super) struct Findings<'t> {
    text: &'t str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            mistakes: RefCell::default(),
        }
    }

    pub(super) fn add(&self, span: Option<Range<usize>>, message: String) {
        let line = span.map(|span| self.text[..span.start].matches('\n').count() + 1);
        self.mistakes.borrow_mut().push(Mistake { line, message });
    }

    /// All of them, in the order of the lines.
    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }
}

/// One table of the file; an absent one reads as empty.
pub(super) struct Section<'f> {
    findings: &'f Findings<'f>,
    /// `[append]`, for messages; empty for the file itself.
    path: String,
    table: Option<&'f dyn TableLike>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'f> Section<'f> {
    pub(super) fn root(findings: &'f Findings<'f>, table: &'f dyn TableLike) -> Self {
        Self {
            findings,
            path: String::new(),
            table: Some(table),
            asked: RefCell::default(),
        }
    }

    /// The table under a key.
    pub(super) fn section(&self, key: &'static str) -> Section<'f> {
        let item = self.item(key);
        self.child(key, item)
    }

    /// Every table of this one, by name; for a table whose keys are names of the user's.
    pub(super) fn sections(&self) -> Vec<(String, Section<'f>, Option<Range<usize>>)> {
        let Some(table) = self.table else {
            return Vec::new();
        };
        let names = table.iter().map(|(name, item)| {
            let span = table
                .get_key_value(name)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span());
            (name.to_owned(), self.child(name, Some(item)), span)
        });
        names.collect()
    }

    fn child(&self, key: &str, item: Option<&'f Item>) -> Section<'f> {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        let table = item.and_then(|item| {
            let table = item.as_table_like();
            if table.is_none() {
                self.findings.add(
                    item.span(),
                    format!("'{path}' must be a table: write [{path}] and its keys below"),
                );
            }
            table
        });
        Section {
            findings: self.findings,
            path,
            table,
            asked: RefCell::default(),
        }
    }

    fn item(&self, key: &'static str) -> Option<&'f Item> {
        self.asked.borrow_mut().push(key);
        self.table?.get(key)
    }

    fn wrong(&self, key: &str, item: &Item, message: impl AsRef<str>) {
        self.findings
            .add(item.span(), format!("[{}] {key} {}", self.path, message.as_ref()));
    }

    /// A whole number within a range, over the default that `target` holds.
    pub(super) fn number(&self, key: &'static str, range: RangeInclusive<u64>, target: &mut u64) {
        let Some(item) = self.item(key) else { return };
        let (least, most) = (range.start(), range.end());
        match item.as_integer().map(u64::try_from) {
            Some(Ok(number)) if range.contains(&number) => *target = number,
            Some(_) => self.wrong(key, item, format!("must be from {least} to {most}")),
            None => self.wrong(
                key,
                item,
                format!(
                    "must be a whole number from {least} to {most}, not {}",
                    kind(item)
                ),
            ),
        }
    }

    /// True or false, over the default that `target` holds.
    pub(super) fn boolean(&self, key: &'static str, target: &mut bool) {
        let Some(item) = self.item(key) else { return };
        match item.as_bool() {
            Some(value) => *target = value,
            None => self.wrong(key, item, format!("must be true or false, not {}", kind(item))),
        }
    }

    /// A text that `read` understands, over the default that `target` holds.
    pub(super) fn text<T>(
        &self,
        key: &'static str,
        target: &mut T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) {
        let Some(item) = self.item(key) else { return };
        match item.as_str().map(read) {
            Some(Ok(value)) => *target = value,
            Some(Err(error)) => self.wrong(key, item, error),
            None => self.wrong(key, item, format!("must be text in quotes, not {}", kind(item))),
        }
    }

    /// A list of texts that `read` understands, over the default that `target` holds.
    pub(super) fn texts<T>(
        &self,
        key: &'static str,
        target: &mut Vec<T>,
        read: impl Fn(&str) -> Result<T, String>,
    ) {
        let Some(item) = self.item(key) else { return };
        let Some(list) = item.as_array() else {
            self.wrong(
                key,
                item,
                format!("must be a list of texts in quotes, not {}", kind(item)),
            );
            return;
        };
        target.clear();
        for value in list {
            match value.as_str().map(&read) {
                Some(Ok(text)) => target.push(text),
                Some(Err(error)) => self.wrong(key, item, error),
                None => self.wrong(key, item, "must be a list of texts in quotes"),
            }
        }
    }

    /// The value under a key as it is written, for kinds that only one key has.
    pub(super) fn value(&self, key: &'static str) -> Option<&'f Item> {
        self.item(key)
    }

    /// Whether there is something in the list under a key.
    pub(super) fn has_items(&self, key: &str) -> bool {
        let item = self.table.and_then(|table| table.get(key));
        item.is_some_and(|item| item.as_array().is_none_or(|list| !list.is_empty()))
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Notes that the value of a key is wrong.
    pub(super) fn refuse(&self, key: &str, item: &Item, message: impl AsRef<str>) {
        self.wrong(key, item, message);
    }

    /// Notes a mistake that the caller found.
    pub(super) fn note(&self, span: Option<Range<usize>>, message: String) {
        self.findings.add(span, message);
    }

    /// Notes a rule between keys that does not hold, at the line of `key` if it is there.
    pub(super) fn rule(&self, holds: bool, key: &str, message: &str) {
        if !holds {
            let span = self.table.and_then(|table| table.get(key)).and_then(Item::span);
            self.findings
                .add(span, format!("[{}] {key} {message}", self.path));
        }
    }

    /// Notes every key that nobody asked for.
    pub(super) fn refuse_unknown(&self) {
        let Some(table) = self.table else { return };
        let asked = self.asked.borrow();
        for (name, item) in table.iter().filter(|(name, _)| !asked.contains(name)) {
            let span = table
                .get_key_value(name)
                .and_then(|(key, _)| key.span())
                .or_else(|| item.span());
            let what = if self.path.is_empty() {
                format!("unknown section or key '{name}'")
            } else {
                format!("[{}] has no key '{name}'", self.path)
            };
            let advice = match nearest(name, &asked) {
                Some(meant) => format!("did you mean '{meant}'?"),
                None => format!("there are: {}", asked.join(", ")),
            };
            self.findings.add(span, format!("{what}; {advice}"));
        }
    }
}

/// A TOML value's kind in words.
fn kind(item: &Item) -> &'static str {
    match item.type_name() {
        "string" => "text",
        "integer" => "a number",
        "float" => "a number with a point",
        "boolean" => "true or false",
        "array" | "array of tables" => "a list",
        "table" | "inline table" => "a table",
        _ => "a date",
    }
}

/// The known key that was most likely meant: at most a third of the letters differ.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, key) = known.iter().map(|key| (distance(name, key), *key)).min()?;
    (distance * 3 <= name.chars().count().max(key.len())).then_some(key)
}

/// Edit distance where two swapped neighbours count one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(100).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swap = if swapped {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(swap)
            };
        }
    }
    rows[a.len()][b.len()]
}
