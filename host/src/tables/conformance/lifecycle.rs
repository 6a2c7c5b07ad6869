//! Records, generations, checkpoints.

use super::{Database, at, build, flush, plugin, stored, text};
use crate::core::{GenerationId, PluginDigest, Position};
use crate::tables::sample;
use crate::tables::{Checkpoint, GenerationState, Hold, ProjectionRecord, StoreError};
use lamphouse_contract::{ColumnType, Value};

pub(in crate::tables) fn records_come_back_as_they_were_saved(database: &Database) {
    let store = (database.open)();
    assert!(store.projections().unwrap().is_empty());
    let mut record = ProjectionRecord {
        name: plugin("order-summary"),
        paused: Some("looking at it".to_owned()),
        held: Some(Hold {
            generation: GenerationId(7),
            against: PluginDigest::of(b"x"),
            since: 42,
        }),
        removed: true,
    };
    store.save_projection(&record).unwrap();
    let reopened = (database.open)();
    let [read] = reopened.projections().unwrap().try_into().unwrap();
    assert_eq!(read.name, record.name);
    assert_eq!(read.paused, record.paused);
    assert_eq!(read.held, record.held);
    assert!(read.removed);
    record.paused = None;
    record.held = None;
    record.removed = false;
    reopened.save_projection(&record).unwrap();
    let [read] = store.projections().unwrap().try_into().unwrap();
    assert_eq!((read.paused, read.held, read.removed), (None, None, false));
}

pub(in crate::tables) fn a_flush_goes_in_only_where_the_writer_thinks_it_is(database: &Database) {
    let store = (database.open)();
    let notes = sample::table("notes", vec![sample::column("id", ColumnType::Text)], &[0], &[]);
    let generation = build(&*store, &sample::descriptor("notes", "1.0.0", vec![notes]));
    assert_eq!(generation.state, GenerationState::Building);
    assert_eq!(generation.checkpoint, Checkpoint::default());
    let row = |id: &str| -> Box<[Value]> { Box::new([text(id)]) };
    let mut writer = store.writer(&generation).unwrap();
    writer.flush(&flush(0, 5, &[(0, vec![row("a")])]), false).unwrap();
    assert_eq!(writer.checkpoint().unwrap(), at(5));

    let again = writer.flush(&flush(0, 5, &[(0, vec![row("b")])]), true);
    match again {
        Err(StoreError::CheckpointMoved {
            generation: named,
            expected,
            actual,
        }) => {
            assert_eq!(
                (named, expected, actual),
                (generation.id, Position(0), Position(5))
            );
        }
        other => panic!("expected CheckpointMoved, got {other:?}"),
    }
    let mut reader = store.reader(&generation).unwrap();
    assert_eq!(reader.scan(0, None, 10).unwrap(), vec![row("a")]);
    assert_eq!(stored(&*store, generation.id).checkpoint, at(5));
}
