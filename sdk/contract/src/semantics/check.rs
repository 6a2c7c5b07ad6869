//! Whether a descriptor declares tables that can be kept.

use std::collections::HashSet;

use super::{conform, names, shown};
use crate::{
    ColumnType, DECIMAL_DIGITS_MAX, Descriptor, EventSchema, Subscription, TableSchema, UpcasterDescriptor,
};

/// Longest name in bytes: leaves room for `__g` and a number within PostgreSQL's 63.
pub const NAME_BYTES_MAX: usize = 48;
/// Tables of one projector.
pub const TABLES_MAX: usize = 64;
/// Columns of one table.
pub const COLUMNS_MAX: usize = 200;
/// Declared indexes of one table.
pub const INDEXES_MAX: usize = 32;
/// Columns of a primary key.
pub const KEY_COLUMNS_MAX: usize = 8;
/// Columns of a declared index.
pub const INDEX_COLUMNS_MAX: usize = 8;
/// After so many errors, no further subscription, table or rule is looked at: nobody reads on.
const ERRORS_ENOUGH: usize = 1_000;
/// Subscriptions of one projector.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Schema versions that one subscription names.
const SCHEMA_VERSIONS_MAX: usize = 1_000;
/// Bytes of an initial value.
const INITIAL_BYTES_MAX: usize = 10_000;
/// Rules of one upcaster.
const RULES_MAX: usize = 1_000;
/// Schemas that one rule gives.
const GIVES_MAX: usize = 100;
/// Longest event type in bytes, as in the log by default.
const EVENT_TYPE_BYTES_MAX: usize = 256;
/// Longest version in bytes.
const VERSION_BYTES_MAX: usize = 64;
/// Names that a database gives columns of its own.
const RESERVED_COLUMNS: [&str; 8] = ["cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"];

/// What is wrong with a descriptor, all of it within reason; empty when all is right. Names are checked too.
/// Options are the host's matter.
pub fn check(descriptor: &Descriptor) -> Vec<String> {
    let mut errors = Vec::new();
    errors.extend(plugin_name_error(&descriptor.name));
    errors.extend(version_error(&descriptor.version));
    if descriptor.subscriptions.is_empty() {
        errors.push(
            "no subscription is declared, so no event would ever come \
             (one without event type and stream type takes every event)"
                .into(),
        );
    }
    // What is too many is not looked at: a list may be as long as the guest's memory.
    if descriptor.subscriptions.len() > SUBSCRIPTIONS_MAX {
        errors.push(format!(
            "{} subscriptions are declared; at most {SUBSCRIPTIONS_MAX} are allowed",
            descriptor.subscriptions.len()
        ));
    } else {
        for subscription in &descriptor.subscriptions {
            check_subscription(subscription, &mut errors);
        }
    }
    if descriptor.tables.is_empty() {
        errors.push("no table is declared".into());
    }
    if descriptor.tables.len() > TABLES_MAX {
        errors.push(format!(
            "{} tables are declared; at most {TABLES_MAX} are allowed",
            descriptor.tables.len()
        ));
        return errors;
    }
    for name in twice(descriptor.tables.iter().map(|table| table.name.as_str())) {
        errors.push(format!("table '{}' is declared twice", shown(name)));
    }
    for table in &descriptor.tables {
        if errors.len() >= ERRORS_ENOUGH {
            break;
        }
        check_table(table, &mut errors);
    }
    errors
}

fn check_subscription(subscription: &Subscription, errors: &mut Vec<String>) {
    let types = [
        ("event type", &subscription.event_type),
        ("stream type", &subscription.stream_type),
    ];
    if types
        .iter()
        .any(|(_, name)| name.as_ref().is_some_and(String::is_empty))
    {
        errors.push(
            "a subscription names an empty event type or stream type (leave it out to take any)".into(),
        );
    }
    for (what, name) in types {
        if let Some(name) = name.as_ref().filter(|name| is_no_type(name)) {
            errors.push(format!(
                "a subscription names {what} '{}', which has more than {EVENT_TYPE_BYTES_MAX} bytes or a U+0000, as no \
                 event's has",
                shown(name)
            ));
        }
    }
    let versions = &subscription.schema_versions;
    if versions.len() > SCHEMA_VERSIONS_MAX {
        errors.push(format!(
            "a subscription names {} schema versions; at most {SCHEMA_VERSIONS_MAX} are allowed",
            versions.len()
        ));
    }
    if versions.contains(&0) {
        errors.push("a subscription names schema version 0 (they count from 1)".into());
    }
}

/// Whether no event can have this type, nor a stream.
fn is_no_type(name: &str) -> bool {
    name.len() > EVENT_TYPE_BYTES_MAX || name.contains('\0')
}

fn version_error(version: &str) -> Option<String> {
    let legal = !version.is_empty()
        && version.len() <= VERSION_BYTES_MAX
        && version.bytes().all(|b| b.is_ascii_graphic());
    (!legal).then(|| {
        format!(
            "version '{}' must be 1 to {VERSION_BYTES_MAX} visible ASCII characters",
            shown(version)
        )
    })
}

/// What is wrong with an upcaster's descriptor by itself, all of it within reason; empty when all is right. Whether its rules form a
/// cycle, alone or with those of others, is the host's matter, as options are.
pub fn check_upcaster(descriptor: &UpcasterDescriptor) -> Vec<String> {
    let mut errors = Vec::new();
    errors.extend(plugin_name_error(&descriptor.name));
    errors.extend(version_error(&descriptor.version));
    let rules = &descriptor.rules;
    if rules.is_empty() {
        errors.push("no rule is declared, so no event would ever come".into());
    }
    if rules.len() > RULES_MAX {
        errors.push(format!(
            "{} rules are declared; at most {RULES_MAX} are allowed",
            rules.len()
        ));
        return errors;
    }
    let mut taken = HashSet::new();
    for rule in rules {
        if errors.len() >= ERRORS_ENOUGH {
            break;
        }
        let takes = shown_schema(&rule.takes);
        if !taken.insert(&rule.takes) {
            errors.push(format!("two rules take {takes}"));
            continue;
        }
        if rule.gives.len() > GIVES_MAX {
            errors.push(format!(
                "the rule that takes {takes} gives {} schemas; at most {GIVES_MAX} are allowed",
                rule.gives.len()
            ));
            continue;
        }
        let mut given = HashSet::new();
        for schema in std::iter::once(&rule.takes).chain(&rule.gives) {
            errors.extend(schema_error(schema).map(|error| format!("the rule that takes {takes}: {error}")));
        }
        for schema in &rule.gives {
            if !given.insert(schema) {
                errors.push(format!(
                    "the rule that takes {takes} names {} twice among what it gives",
                    shown_schema(schema)
                ));
            }
        }
    }
    errors
}

fn shown_schema(schema: &EventSchema) -> String {
    format!("{} {}", shown(&schema.event_type), schema.schema_version)
}

fn schema_error(schema: &EventSchema) -> Option<String> {
    let name = &schema.event_type;
    if name.is_empty() {
        Some("an event type is empty".into())
    } else if is_no_type(name) {
        Some(format!(
            "event type '{}' has more than {EVENT_TYPE_BYTES_MAX} bytes or a U+0000",
            shown(name)
        ))
    } else if schema.schema_version == 0 {
        Some(format!(
            "'{}' has schema version 0 (they count from 1)",
            shown(name)
        ))
    } else {
        None
    }
}

fn check_table(table: &TableSchema, errors: &mut Vec<String>) {
    errors.extend(table_name_error(&table.name));
    let here = format!("table '{}'", shown(&table.name));
    if table.columns.is_empty() || table.columns.len() > COLUMNS_MAX {
        errors.push(format!(
            "{here} declares {} columns; 1 to {COLUMNS_MAX} are allowed",
            table.columns.len()
        ));
        return;
    }
    for column in &table.columns {
        errors.extend(column_name_error(&column.name).map(|error| format!("{here}: {error}")));
    }
    for name in twice(table.columns.iter().map(|column| column.name.as_str())) {
        errors.push(format!("{here} declares column '{}' twice", shown(name)));
    }
    for column in &table.columns {
        if let ColumnType::Decimal(scale) = column.kind
            && scale > DECIMAL_DIGITS_MAX
        {
            errors.push(format!(
                "{here}: column '{}' is decimal({scale}); at most {DECIMAL_DIGITS_MAX} digits after the point are allowed",
                shown(&column.name)
            ));
        }
    }
    check_columns(
        table,
        &here,
        "primary key",
        &table.primary_key,
        KEY_COLUMNS_MAX,
        errors,
    );
    for &column in table.primary_key.iter().take(KEY_COLUMNS_MAX) {
        let Some(declared) = table.columns.get(column as usize) else {
            continue;
        };
        let name = shown(&declared.name);
        if declared.nullable {
            errors.push(format!(
                "{here}: key column '{name}' is nullable; a key has no null"
            ));
        }
        if matches!(declared.kind, ColumnType::Real | ColumnType::Json) {
            errors.push(format!(
                "{here}: key column '{name}' is real or json, which cannot be a key"
            ));
        }
        if declared.initial.is_some() {
            errors.push(format!(
                "{here}: key column '{name}' has an initial value; a key is always given"
            ));
        }
    }
    if table.indexes.len() > INDEXES_MAX {
        errors.push(format!(
            "{here} declares {} indexes; at most {INDEXES_MAX} are allowed",
            table.indexes.len()
        ));
    }
    for (number, index) in table.indexes.iter().take(INDEXES_MAX).enumerate() {
        check_columns(
            table,
            &here,
            &format!("index {number}"),
            index,
            INDEX_COLUMNS_MAX,
            errors,
        );
        let kind = |column: &u32| table.columns.get(*column as usize).map(|column| column.kind);
        if index.len() > INDEX_COLUMNS_MAX {
            continue;
        }
        if index.iter().any(|column| kind(column) == Some(ColumnType::Json)) {
            errors.push(format!(
                "{here}: index {number} has a json column, which cannot be indexed"
            ));
        }
        if table.indexes[..number].contains(index) && index.iter().all(|column| kind(column).is_some()) {
            let error = format!("{here} declares the index ({}) twice", names(table, index));
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }
    for (column, declared) in table.columns.iter().enumerate() {
        let Some(initial) = &declared.initial else {
            continue;
        };
        if initial.heap_bytes() > INITIAL_BYTES_MAX {
            errors.push(format!(
                "{here}: the initial value of column '{}' has {} bytes; at most {INITIAL_BYTES_MAX} are allowed",
                shown(&declared.name),
                initial.heap_bytes()
            ));
            continue;
        }
        // A scale out of bounds was reported above.
        if let Err(violation) = conform(table, column, &mut initial.clone()) {
            errors.push(format!("initial value of {}", violation.0));
        }
    }
}

fn check_columns(
    table: &TableSchema,
    here: &str,
    what: &str,
    columns: &[u32],
    columns_max: usize,
    errors: &mut Vec<String>,
) {
    if columns.is_empty() || columns.len() > columns_max {
        errors.push(format!(
            "{here}: the {what} has {} columns; 1 to {columns_max} are allowed",
            columns.len()
        ));
        return;
    }
    for &column in columns
        .iter()
        .filter(|&&column| column as usize >= table.columns.len())
    {
        errors.push(format!(
            "{here}: the {what} names column {column}, but there are {} (they count from 0)",
            table.columns.len()
        ));
    }
    if !twice(columns.iter()).is_empty() {
        errors.push(format!("{here}: the {what} names a column twice"));
    }
}

/// What comes more than once, each once.
fn twice<T: Copy + Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> Vec<T> {
    let (mut seen, mut reported, mut twice) = (HashSet::new(), HashSet::new(), Vec::new());
    for item in items {
        if !seen.insert(item) && reported.insert(item) {
            twice.push(item);
        }
    }
    twice
}

/// Why this cannot be a plugin's name; None if it can.
pub fn plugin_name_error(name: &str) -> Option<String> {
    name_error("plugin", name, true)
}

/// Why this cannot be a table's name; None if it can.
pub fn table_name_error(name: &str) -> Option<String> {
    name_error("table", name, false)
}

/// Why this cannot be a column's name; None if it can.
pub fn column_name_error(name: &str) -> Option<String> {
    name_error("column", name, false).or_else(|| {
        RESERVED_COLUMNS
            .contains(&name)
            .then(|| format!("column name '{name}' is one that databases give columns of their own"))
    })
}

/// Lower-case ASCII letter first, then letters, digits, and `_` (and, for plugins, `-`); at most 48 bytes; not of the
/// forms that the host keeps for itself.
fn name_error(what: &str, name: &str, dashes: bool) -> Option<String> {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || (dashes && c == b'-');
    let shown = shown(name);
    if name.is_empty() {
        Some(format!("a {what} name is empty"))
    } else if name.len() > NAME_BYTES_MAX {
        Some(format!(
            "{what} name '{shown}' has {} bytes; at most {NAME_BYTES_MAX} are allowed",
            name.len()
        ))
    } else if !name.as_bytes()[0].is_ascii_lowercase() || !name.bytes().all(legal) {
        let signs = if dashes {
            "digits, '_' and '-'"
        } else {
            "digits and '_'"
        };
        Some(format!(
            "{what} name '{shown}' must be lower-case ASCII: a letter first, then letters, {signs}"
        ))
    } else if ["lamphouse", "sqlite_", "pg_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name.contains("__g")
    {
        Some(format!(
            "{what} name '{shown}' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')"
        ))
    } else {
        None
    }
}
