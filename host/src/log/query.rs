//! SQL that both databases share: which events to read. Pure text with bound values.

use lamphouse_contract::Subscription;
use lamphouse_contract::fields::Entry;

use crate::core::event::names_reserved;
use crate::core::{EventBatch, EventFilter, Position};

use super::{EventQuery, LogError};

/// The columns of an event, in the order in which both databases' readers expect them.
pub(super) const COLUMNS: &str = "position, id, stream_id, stream_type, stream_version, event_type, schema_version, \
                                  data, metadata, occurred_at, recorded_at";

/// The columns of [`COLUMNS`] that are wanted; in the place of another one stands an empty text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns(u16);

/// Numbers of columns.
pub(super) mod column {
    pub(in crate::log) const ID: usize = 1;
    pub(in crate::log) const STREAM_TYPE: usize = 3;
    pub(in crate::log) const STREAM_VERSION: usize = 4;
    pub(in crate::log) const SCHEMA_VERSION: usize = 6;
    pub(in crate::log) const DATA: usize = 7;
    pub(in crate::log) const METADATA: usize = 8;
    pub(in crate::log) const OCCURRED_AT: usize = 9;
    pub(in crate::log) const RECORDED_AT: usize = 10;
}

impl Columns {
    /// Every one.
    pub(super) const ALL: Self = Self(u16::MAX);

    /// What has to be read for this batch, by a reader that had to read so many events again.
    pub(super) fn of(batch: &EventBatch, read_again: u32) -> Self {
        let Some(plan) = batch.reads().filter(|_| read_again < READ_AGAIN_MAX) else {
            return Self::ALL;
        };
        let entries = plan.entries();
        let spared = [
            (column::ID, entries.has(Entry::Id)),
            (column::STREAM_TYPE, entries.has(Entry::StreamType)),
            (column::STREAM_VERSION, entries.has(Entry::StreamVersion)),
            (column::SCHEMA_VERSION, entries.has(Entry::SchemaVersion)),
            (column::DATA, plan.reads_data()),
            (column::METADATA, plan.reads_metadata()),
            (column::OCCURRED_AT, entries.has(Entry::OccurredAt)),
            (column::RECORDED_AT, entries.has(Entry::RecordedAt)),
        ];
        let spared = spared.into_iter().filter(|(_, is_read)| !is_read);
        Self(spared.fold(u16::MAX, |columns, (column, _)| columns & !(1 << column)))
    }

    /// Whether a column is wanted, by its number.
    pub(super) fn has(self, column: usize) -> bool {
        self.0 & (1 << column) != 0
    }

    /// As SQL. The id is always there: a checkpoint is made of it.
    pub(super) fn list(self) -> String {
        let columns = COLUMNS.split(", ").enumerate();
        let listed = columns.map(|(number, name)| match self.has(number) || number == column::ID {
            true => name,
            false => "''",
        });
        listed.collect::<Vec<_>>().join(", ")
    }
}

/// Events of one reader that are read again, whole, because they are not as declared; where there are more, all are
/// read whole. Each costs a question to the database.
pub(super) const READ_AGAIN_MAX: u32 = 100;

/// Counts a stretch: positions above the first value and up to the second. `recorded_at` never goes back, so that its
/// bounds are those of the first and the last event.
pub(super) fn tally(table: &str, mark: char) -> String {
    format!(
        "SELECT event_type, schema_version, stream_type, count(*), min(position), max(position), min(recorded_at), \
         max(recorded_at) FROM {table} WHERE position > {mark}1 AND position <= {mark}2 \
         GROUP BY event_type, schema_version, stream_type"
    )
}

/// A value to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Text(String),
    Integer(i64),
}

/// A statement and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) values: Vec<Bound>,
}

/// An event is of no reserved type. So written, it is a comparison of texts in both databases, byte by byte.
const NOT_RESERVED: &str = "NOT (event_type >= 'lamphouse.' AND event_type < 'lamphouse/')";

/// The condition of a filter; None when every event matches. `bind` gives what stands for a value in the text.
pub(super) fn condition(filter: &EventFilter, mut bind: impl FnMut(Bound) -> String) -> Option<String> {
    if filter.any_of.is_empty() {
        return (!filter.with_reserved).then(|| format!("({NOT_RESERVED})"));
    }
    let is_wide = |subscription: &Subscription| {
        subscription.event_type.is_none()
            && subscription.stream_type.is_none()
            && subscription.schema_versions.is_empty()
    };
    let has_wide = filter.any_of.iter().any(is_wide);
    let mut alternatives = Vec::new();
    for subscription in &filter.any_of {
        if has_wide && !is_wide(subscription) && !names_reserved(subscription) {
            // The wide one takes what this one takes.
            continue;
        }
        let mut fields = Vec::new();
        if let Some(event_type) = &subscription.event_type {
            fields.push(format!("event_type = {}", bind(Bound::Text(event_type.clone()))));
        } else if !names_reserved(subscription) {
            fields.push(NOT_RESERVED.to_owned());
        }
        if let Some(stream_type) = &subscription.stream_type {
            fields.push(format!(
                "stream_type = {}",
                bind(Bound::Text(stream_type.clone()))
            ));
        }
        if !subscription.schema_versions.is_empty() {
            let versions: Vec<String> = subscription
                .schema_versions
                .iter()
                .map(|version| bind(Bound::Integer(i64::from(*version))))
                .collect();
            fields.push(format!("schema_version IN ({})", versions.join(", ")));
        }
        alternatives.push(format!("({})", fields.join(" AND ")));
    }
    Some(format!("({})", alternatives.join(" OR ")))
}

/// A filter that cannot match is one whose texts no database can hold; such subscriptions are left out. None when
/// nothing is left to match.
pub(super) fn possible(filter: &EventFilter) -> Option<EventFilter> {
    let holds_nul = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains('\0'));
    let any_of: Vec<_> = filter
        .any_of
        .iter()
        .filter(|subscription| !holds_nul(&subscription.event_type) && !holds_nul(&subscription.stream_type))
        .cloned()
        .collect();
    (filter.any_of.is_empty() || !any_of.is_empty()).then_some(EventFilter {
        any_of,
        with_reserved: filter.with_reserved,
    })
}

/// Positions that a query's times allow: `first..before`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: Option<i64>,
    pub(super) before: Option<i64>,
}

impl Span {
    /// Finds the positions by halving: `recorded_at` never goes back, so that no index on it is needed.
    pub(super) fn of(
        query: &EventQuery,
        head: Position,
        mut recorded_at: impl FnMut(i64) -> Result<Option<i64>, LogError>,
    ) -> Result<Self, LogError> {
        let mut first_at_or_after = |time: Option<i64>| -> Result<Option<i64>, LogError> {
            let Some(time) = time else { return Ok(None) };
            let (mut low, mut high) = (1, head.as_i64() + 1);
            while low < high {
                let middle = low + (high - low) / 2;
                match recorded_at(middle)? {
                    Some(at) if at < time => low = middle + 1,
                    _ => high = middle,
                }
            }
            Ok(Some(low))
        };
        Ok(Self {
            first: first_at_or_after(query.recorded_from)?,
            before: first_at_or_after(query.recorded_before)?,
        })
    }
}

/// More types than this are not looked for one by one.
pub(super) const TYPES_MAX: usize = 64;

/// The statement of a listing. `mark` opens a placeholder: `?` or `$`.
pub(super) fn listing(query: &EventQuery, span: Span, table: &str, mark: char) -> Select {
    let mut values = Vec::new();
    let mut bind = |value: Bound| {
        values.push(value);
        format!("{mark}{}", values.len())
    };
    let mut types: Vec<&String> = query.event_types.iter().collect();
    types.sort_unstable();
    types.dedup();
    let types: Vec<String> = types
        .into_iter()
        .map(|name| bind(Bound::Text(name.clone())))
        .collect();
    // Types alone: each is walked by its index, however rare it is. With a stream or its type, those decide.
    let is_by_type =
        (1..=TYPES_MAX).contains(&types.len()) && query.stream_id.is_none() && query.stream_type.is_none();

    let mut fields = Vec::new();
    if let Some(stream_id) = &query.stream_id {
        fields.push(format!("stream_id = {}", bind(Bound::Text(stream_id.clone()))));
    }
    if let Some(stream_type) = &query.stream_type {
        fields.push(format!(
            "stream_type = {}",
            bind(Bound::Text(stream_type.clone()))
        ));
    }
    if let Some(stream_types) = &query.stream_types {
        let among: Vec<String> = stream_types
            .iter()
            .map(|name| bind(Bound::Text(name.clone())))
            .collect();
        fields.push(if among.is_empty() {
            "1 = 0".to_owned()
        } else {
            format!("stream_type IN ({})", among.join(", "))
        });
    }
    if !types.is_empty() && !is_by_type {
        // So written, no index serves it: that on types alone would be sorted as a whole.
        fields.push(format!("(event_type IN ({})) IS TRUE", types.join(", ")));
    }
    if let Some(after) = query.after {
        let side = if query.backward { '<' } else { '>' };
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        fields.push(format!("position {side} {}", bind(Bound::Integer(after))));
    }
    if let Some(first) = span.first {
        fields.push(format!("position >= {}", bind(Bound::Integer(first))));
    }
    if let Some(before) = span.before {
        fields.push(format!("position < {}", bind(Bound::Integer(before))));
    }
    // Within one stream both orders are the same, and the stream's index has this one.
    let order = if query.stream_id.is_some() {
        "stream_version"
    } else {
        "position"
    };
    let direction = if query.backward { " DESC" } else { "" };
    let limit = bind(Bound::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let in_order = format!("ORDER BY {order}{direction} LIMIT {limit}");
    let condition = if is_by_type {
        let of_types: Vec<String> = types
            .iter()
            .map(|event_type| {
                let mut fields = fields.clone();
                fields.insert(0, format!("event_type = {event_type}"));
                format!(
                    "SELECT position FROM (SELECT position FROM {table} WHERE {} {in_order}) AS of_type",
                    fields.join(" AND ")
                )
            })
            .collect();
        format!(
            " WHERE position IN (SELECT position FROM ({}) AS of_types {in_order})",
            of_types.join(" UNION ALL ")
        )
    } else if fields.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", fields.join(" AND "))
    };
    let sql = format!("SELECT {COLUMNS} FROM {table}{condition} {in_order}");
    Select { sql, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(event_type: Option<&str>, stream_type: Option<&str>, versions: &[u32]) -> Subscription {
        Subscription {
            event_type: event_type.map(str::to_owned),
            stream_type: stream_type.map(str::to_owned),
            schema_versions: versions.to_vec(),
        }
    }

    #[test]
    fn a_filter_becomes_a_condition_and_a_wide_one_none() {
        let filter = EventFilter {
            any_of: vec![
                subscription(Some("A"), None, &[]),
                subscription(Some("B"), Some("s"), &[1, 2]),
            ],
            ..EventFilter::default()
        };
        let mut count = 0;
        let text = condition(&filter, |_| {
            count += 1;
            format!("?{count}")
        });
        assert_eq!(
            text.as_deref(),
            Some(
                "((event_type = ?1) OR (event_type = ?2 AND stream_type = ?3 AND schema_version IN (?4, ?5)))"
            )
        );
        let wide = EventFilter {
            any_of: vec![subscription(Some("A"), None, &[]), subscription(None, None, &[])],
            ..EventFilter::default()
        };
        let bound = std::cell::Cell::new(false);
        let bind = |_| {
            bound.set(true);
            String::new()
        };
        assert_eq!(condition(&wide, bind), Some(format!("(({NOT_RESERVED}))")));
        assert!(!bound.get(), "values that stand for nothing are not bound");
        assert_eq!(
            condition(&EventFilter::default(), |_| String::new()).as_deref(),
            Some(format!("({NOT_RESERVED})")).as_deref()
        );
        assert_eq!(condition(&EventFilter::everything(), |_| String::new()), None);
    }

    #[test]
    fn a_condition_gives_reserved_types_to_who_names_them() {
        let filter = EventFilter {
            any_of: vec![
                subscription(None, None, &[]),
                subscription(Some("A"), None, &[]),
                subscription(Some("lamphouse.PluginDeleted"), None, &[]),
                subscription(None, Some("lamphouse.audit"), &[]),
            ],
            ..EventFilter::default()
        };
        let text = condition(&filter, |value| format!("{value:?}"));
        assert_eq!(
            text,
            Some(format!(
                "(({NOT_RESERVED}) OR (event_type = Text(\"lamphouse.PluginDeleted\")) OR (stream_type = Text(\"lamphouse.audit\")))"
            ))
        );
        let by_stream_type = EventFilter {
            any_of: vec![subscription(None, Some("order"), &[2])],
            ..EventFilter::default()
        };
        assert_eq!(
            condition(&by_stream_type, |value| format!("{value:?}")),
            Some(format!(
                "(({NOT_RESERVED} AND stream_type = Text(\"order\") AND schema_version IN (Integer(2))))"
            ))
        );
    }

    #[test]
    fn a_filter_that_cannot_match_is_not_a_filter_that_always_matches() {
        let nul = EventFilter {
            any_of: vec![subscription(Some("a\0"), None, &[])],
            ..EventFilter::default()
        };
        assert_eq!(possible(&nul), None);
        assert_eq!(possible(&EventFilter::default()), Some(EventFilter::default()));
    }

    #[test]
    fn times_become_positions_by_halving() {
        let times = [10, 20, 20, 30];
        let span = |from, before| {
            let query = EventQuery {
                recorded_from: from,
                recorded_before: before,
                ..EventQuery::default()
            };
            Span::of(&query, Position(4), |position| {
                Ok(times.get(position as usize - 1).copied())
            })
            .unwrap()
        };
        assert_eq!(
            span(Some(20), Some(30)),
            Span {
                first: Some(2),
                before: Some(4)
            }
        );
        assert_eq!(
            span(Some(31), None),
            Span {
                first: Some(5),
                before: None
            }
        );
        assert_eq!(
            span(None, Some(5)),
            Span {
                first: None,
                before: Some(1)
            }
        );
    }
}
