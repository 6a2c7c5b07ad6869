//! The one suite that both table stores pass: everything that the traits promise.
//!
//! A store's own tests say `conformance!(fixture)`, where `fixture() -> Option<Database>` makes an empty database of
//! its own, or says loudly why it cannot.

mod changes;
mod dead_letters;
mod flushing;
mod lifecycle;
mod querying;
mod selecting;
mod switching;

pub(in crate::tables) use changes::*;
pub(in crate::tables) use dead_letters::*;
pub(in crate::tables) use flushing::*;
pub(in crate::tables) use lifecycle::*;
pub(in crate::tables) use querying::*;
pub(in crate::tables) use selecting::*;
pub(in crate::tables) use switching::*;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lamphouse_contract::{ColumnType, Decimal, Descriptor, Key, Row, Value};
use uuid::Uuid;

use super::{
    Checkpoint, Finish, Flush, GenerationRecord, PluginRecord, ProjectionRecord, Switch, TableFlush,
    TableStore, TableWriter, sample,
};
use crate::core::{EventId, GenerationId, LogId, PluginDigest, PluginName, Position};

/// An empty database for one test.
pub(in crate::tables) struct Database {
    /// Opens it, as another process would: the first call makes the control tables.
    pub(in crate::tables) open: Box<dyn Fn() -> Arc<dyn TableStore> + Send + Sync>,
    /// Connects a user who knows nothing of the host: plain SQL on the public names.
    pub(in crate::tables) user: Box<dyn Fn() -> Box<dyn User> + Send + Sync>,
    /// Whether switches are data (PostgreSQL), so that old readers keep a switch waiting.
    pub(in crate::tables) is_postgres: bool,
    /// Dropped last: removes the database.
    pub(in crate::tables) _guard: Box<dyn Any + Send + Sync>,
}

/// A user's own connection.
pub(in crate::tables) trait User: Send {
    /// Runs statements that give nothing.
    fn run(&mut self, sql: &str) -> Result<(), String>;

    /// Runs one query; each value as its text, None for null.
    fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String>;
}

/// One `#[test]` for each test of the suite.
macro_rules! conformance {
    ($fixture:path) => {
        $crate::tables::conformance::conformance!($fixture:
            records_come_back_as_they_were_saved,
            plugins_are_kept_by_digest,
            generations_are_numbered_once_and_listed_until_dropped,
            a_dropped_generation_leaves_no_table_and_a_public_one_is_not_dropped,
            there_is_one_owner_at_a_time,
            a_flush_goes_in_only_where_the_writer_thinks_it_is,
            two_writers_of_one_generation_apply_each_event_once,
            every_value_comes_back_exactly,
            any_sequence_of_flushes_equals_a_map,
            keys_of_every_type_are_in_the_contracts_order,
            a_switch_levels_the_rows_and_makes_them_public,
            a_switch_that_comes_too_late_or_too_early_does_nothing,
            a_switch_may_leave_tables_that_follow_another_log,
            a_name_that_is_taken_is_refused_by_name,
            a_breaking_switch_needs_the_word_and_spares_views_of_the_user,
            readers_see_one_generation_whole_through_many_switches,
            a_switch_waits_at_its_end_for_no_one_when_nobody_reads,
            an_answer_is_typed_json,
            decimals_compare_sort_and_sum_by_number,
            a_query_is_bounded_in_rows_and_time,
            a_query_can_only_read_what_is_public,
            a_selection_is_of_one_snapshot_and_says_of_which,
            a_selection_never_mixes_generations_while_they_are_switched_and_dropped,
            pages_of_a_selection_neither_repeat_nor_miss_a_row,
            a_selection_is_stopped_when_its_time_is_over,
            decimals_and_nulls_are_ordered_alike,
            parked_events_go_in_with_the_rows_and_out_with_them,
            a_writer_that_missed_a_replay_or_a_discard_writes_nothing,
            a_discard_takes_an_event_out_of_every_generation,
            decisions_come_a_page_at_a_time,
            a_switch_to_one_that_parks_more_needs_a_decision,
            changes_have_one_sequence_and_replay_to_the_tables,
            a_flush_that_does_not_go_in_writes_no_change,
            a_change_shows_its_row_as_a_query_does,
            changes_are_kept_up_to_a_bound_and_off_is_noticed,
            a_crash_that_may_take_commits_back_leaves_numbers_out,
            a_switch_marks_every_name_that_it_concerns,
            no_change_of_the_old_generation_comes_after_the_mark,
        );
    };
    ($fixture:path: $($test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            if let Some(database) = $fixture() {
                $crate::tables::conformance::$test(&database);
            }
        })*
    };
}
pub(in crate::tables) use conformance;

/// A projection's name.
pub(super) fn plugin(name: &str) -> PluginName {
    PluginName::new(name).unwrap()
}

/// A projection that has a generation in state `building`.
pub(in crate::tables) fn build(store: &dyn TableStore, descriptor: &Arc<Descriptor>) -> GenerationRecord {
    let name = plugin(&descriptor.name);
    let bytes = format!("{} {}", descriptor.name, descriptor.version).into_bytes();
    let digest = PluginDigest::of(&bytes);
    let known = store.projections().unwrap();
    if !known.iter().any(|record| record.name == name) {
        let record = ProjectionRecord {
            name: name.clone(),
            paused: None,
            held: None,
            removed: false,
        };
        store.save_projection(&record).unwrap();
    }
    let record = PluginRecord {
        digest,
        name: name.clone(),
        version: descriptor.version.clone(),
        bytes,
    };
    store.save_plugin(&record).unwrap();
    store
        .create_generation(&name, &digest, &descriptor.version, descriptor, &[], 1_000)
        .unwrap()
}

/// A checkpoint at a position of the one test log.
pub(in crate::tables) fn at(position: u64) -> Checkpoint {
    if position == 0 {
        return Checkpoint::default();
    }
    Checkpoint {
        position: Position(position),
        event_id: Some(EventId(Uuid::from_u128(u128::from(position)))),
        log: Some(LogId(Uuid::from_u128(0x10))),
    }
}

/// A flush without removals.
pub(in crate::tables) fn flush(from: u64, to: u64, tables: &[(usize, Vec<Row>)]) -> Flush {
    let table = |(table, rows): &(usize, Vec<Row>)| TableFlush {
        table: *table,
        upserts: rows.iter().cloned().map(Arc::new).collect(),
        ..TableFlush::default()
    };
    Flush {
        from: at(from),
        to: at(to),
        tables: tables.iter().map(table).collect(),
        letters: None,
    }
}

/// A switch that neither breaks nor holds.
pub(in crate::tables) fn switch(from: Option<&GenerationRecord>, to: &GenerationRecord, now: i64) -> Switch {
    Switch {
        projection: to.projection.clone(),
        from: from.map(|generation| generation.id),
        to: to.id,
        breaking: false,
        parks_no_more: false,
        from_diverged: false,
        hold: None,
        now,
    }
}

/// A whole switch: made ready, done, and brought to its end.
pub(super) fn cut_over(store: &dyn TableStore, writer: &mut dyn TableWriter, flush: &Flush, switch: &Switch) {
    store.prepare_switch(switch).unwrap();
    writer.switch(flush, switch).unwrap();
    let start = Instant::now();
    while let Finish::Waiting(whom) = store.finish_switch(&switch.projection).unwrap() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "still waiting for {whom}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `notes(id text key)`.
pub(in crate::tables) fn notes(version: &str) -> Arc<Descriptor> {
    let notes = sample::table("notes", vec![sample::column("id", ColumnType::Text)], &[0], &[]);
    sample::descriptor("notes", version, vec![notes])
}

/// The generation as the store knows it now.
pub(super) fn stored(store: &dyn TableStore, id: GenerationId) -> GenerationRecord {
    let all = store.generations().unwrap();
    all.into_iter().find(|generation| generation.id == id).unwrap()
}

/// A text value.
pub(in crate::tables) fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// A decimal value.
pub(in crate::tables) fn decimal(value: &str) -> Value {
    Value::Decimal(Decimal::parse(value).unwrap())
}

/// A key of one text.
pub(super) fn key(value: &str) -> Key {
    Box::new([text(value)])
}
