//! Records, generations, the owner.

use lamphouse_contract::Value;
use serde_json::json;

use super::{Database, build, cut_over, flush, notes, plugin, stored, switch, text};
use crate::core::{Class, GenerationId, PluginDigest};
use crate::tables::sample;
use crate::tables::{Checkpoint, GenerationState, Hold, ProjectionRecord, StoreError};

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

pub(in crate::tables) fn plugins_are_kept_by_digest(database: &Database) {
    let store = (database.open)();
    let bytes = vec![0, 255, 7];
    let record = crate::tables::PluginRecord {
        digest: PluginDigest::of(&bytes),
        name: plugin("notes"),
        version: "1.0.0".to_owned(),
        bytes,
    };
    store.save_plugin(&record).unwrap();
    store.save_plugin(&record).unwrap();
    let read = (database.open)().plugin(&record.digest).unwrap().unwrap();
    assert_eq!(
        (read.digest, read.name, read.version, read.bytes),
        (record.digest, record.name, record.version, record.bytes)
    );
    assert!(store.plugin(&PluginDigest::of(b"another")).unwrap().is_none());
}

pub(in crate::tables) fn generations_are_numbered_once_and_listed_until_dropped(database: &Database) {
    let store = (database.open)();
    let descriptor = sample::descriptor("everything", "1.0.0", vec![sample::everything()]);
    let first = build(&*store, &descriptor);
    assert_eq!(first.state, GenerationState::Building);
    assert_eq!(first.checkpoint, Checkpoint::default());
    assert_eq!(
        (first.created_at, first.live_at, first.retired_at),
        (1_000, None, None)
    );
    let read = stored(&*store, first.id);
    assert_eq!(read.descriptor, descriptor);
    assert_eq!(
        (&read.projection, read.digest, &read.version),
        (&first.projection, first.digest, &first.version)
    );

    let why = json!({"message": "a trap", "position": 7});
    store
        .set_state(first.id, GenerationState::Failed, Some(&why))
        .unwrap();
    let read = stored(&*store, first.id);
    assert_eq!((read.state, read.error), (GenerationState::Failed, Some(why)));
    store
        .set_state(first.id, GenerationState::Building, None)
        .unwrap();
    assert_eq!(stored(&*store, first.id).error, None);
    for state in [GenerationState::Live, GenerationState::Dropped] {
        assert_eq!(
            store.set_state(first.id, state, None).unwrap_err().class(),
            Class::Bug
        );
    }

    store.drop_generation(first.id).unwrap();
    store.drop_generation(first.id).unwrap();
    assert!(store.generations().unwrap().is_empty());
    let second = build(&*store, &descriptor);
    assert!(second.id > first.id, "{} follows {}", second.id, first.id);
    let ids: Vec<GenerationId> = store
        .generations()
        .unwrap()
        .iter()
        .map(|record| record.id)
        .collect();
    assert_eq!(ids, [second.id]);
}

pub(in crate::tables) fn a_dropped_generation_leaves_no_table_and_a_public_one_is_not_dropped(
    database: &Database,
) {
    let store = (database.open)();
    let descriptor = notes("1.0.0");
    let first = build(&*store, &descriptor);
    let rows = (0..5_000)
        .map(|id| -> Box<[Value]> { Box::new([text(&format!("{id:05}"))]) })
        .collect();
    let mut writer = store.writer(&first).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 9, &[(0, rows)]),
        &switch(None, &first, 1),
    );
    assert!(matches!(
        store.drop_generation(first.id),
        Err(StoreError::Invalid(_))
    ));

    let second = build(&*store, &notes("1.1.0"));
    let mut writer = store.writer(&second).unwrap();
    cut_over(
        &*store,
        &mut *writer,
        &flush(0, 9, &[]),
        &switch(Some(&first), &second, 2),
    );
    assert_eq!(stored(&*store, first.id).state, GenerationState::Retired);
    store.drop_generation(first.id).unwrap();
    let mut reader = store.reader(&first).ok();
    let looked = reader.as_mut().map(|reader| reader.scan(0, None, 1));
    assert!(!matches!(looked, Some(Ok(_))), "the table is still there");
    assert_eq!(
        (database.user)().rows("SELECT count(*) FROM notes").unwrap(),
        [[Some("0".to_owned())]]
    );
}

pub(in crate::tables) fn there_is_one_owner_at_a_time(database: &Database) {
    let (ours, theirs) = ((database.open)(), (database.open)());
    assert_eq!(ours.owner_address().unwrap(), None);
    let mut owner = ours.try_own().unwrap().expect("nobody owns it");
    assert!(theirs.try_own().unwrap().is_none());
    assert_eq!(theirs.owner_address().unwrap(), None);
    owner.announce("127.0.0.1:7117").unwrap();
    assert!(owner.is_held());
    for store in [&ours, &theirs] {
        assert_eq!(store.owner_address().unwrap().as_deref(), Some("127.0.0.1:7117"));
    }
    drop(owner);
    assert_eq!(theirs.owner_address().unwrap(), None);
    let owner = theirs.try_own().unwrap().expect("it was given up");
    assert_eq!(ours.owner_address().unwrap(), None, "an earlier owner's address");
    drop(owner);
}
