//! Imports into a log in memory: resumed, grown, recompressed, broken.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::batches::Bounds;
use super::input::Input;
use super::run::{Done, Failed, Why, run};
use crate::core::limits::AppendLimits;
use crate::core::signal::Signal;
use crate::core::{EventFilter, EventId, LogId, Position, StoredEvent};
use crate::log::{
    AppendRequest, Appended, EventLog, EventQuery, Head, ImportCursor, ImportEvent, LogError, LogReader,
    Tally,
};

/// Keeps the streams of what was imported, in order, and the cursors, as a log does.
#[derive(Default)]
struct MemoryLog {
    limits: AppendLimits,
    events: Mutex<Vec<String>>,
    cursors: Mutex<Vec<ImportCursor>>,
}

impl EventLog for MemoryLog {
    fn id(&self) -> LogId {
        LogId(uuid::Uuid::nil())
    }

    fn head(&self) -> Result<Head, LogError> {
        Ok(Head {
            position: Position(self.events.lock().len() as u64),
            event_id: None,
            recorded_at: 0,
        })
    }

    fn append(&self, _: AppendRequest) -> Result<Appended, LogError> {
        Err(LogError::Internal("not here".to_owned()))
    }

    fn append_own(&self, _: AppendRequest) -> Result<Appended, LogError> {
        Err(LogError::Internal("not here".to_owned()))
    }

    fn limits(&self) -> &AppendLimits {
        &self.limits
    }

    fn import(
        &self,
        events: Vec<ImportEvent>,
        previous: Option<&ImportCursor>,
        cursor: &ImportCursor,
    ) -> Result<Position, LogError> {
        let mut cursors = self.cursors.lock();
        cursors.retain(|there| Some(there) != previous);
        cursors.push(cursor.clone());
        let mut stored = self.events.lock();
        stored.extend(events.into_iter().map(|event| event.stream_id));
        Ok(Position(stored.len() as u64))
    }

    fn import_cursors(&self) -> Result<Vec<ImportCursor>, LogError> {
        Ok(self.cursors.lock().clone())
    }

    fn event(&self, _: Position) -> Result<Option<StoredEvent>, LogError> {
        Ok(None)
    }

    fn event_by_id(&self, _: EventId) -> Result<Option<StoredEvent>, LogError> {
        Ok(None)
    }

    fn events(&self, _: &EventQuery) -> Result<Vec<StoredEvent>, LogError> {
        Ok(Vec::new())
    }

    fn tally(&self, _: Position, _: Position) -> Result<Vec<Tally>, LogError> {
        unreachable!("an import does not count events")
    }

    fn reader(&self, _: EventFilter) -> Result<Box<dyn LogReader>, LogError> {
        Err(LogError::Internal("not here".to_owned()))
    }

    fn signal(&self) -> Arc<Signal> {
        Arc::default()
    }

    fn watch(&self) -> Result<(), LogError> {
        unreachable!("an import follows nobody")
    }
}

#[derive(Clone, Copy, Debug)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
    /// Two zstd frames, as `zstd` writes after `cat a.zst b.zst`.
    ZstdFrames,
}

fn pack(text: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => text.to_vec(),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).expect("packed");
            encoder.finish().expect("packed")
        }
        Packing::Zstd => zstd::encode_all(text, 1).expect("packed"),
        Packing::ZstdFrames => {
            let (a, b) = text.split_at(text.len() / 2);
            [a, b]
                .map(|part| zstd::encode_all(part, 1).expect("packed"))
                .concat()
        }
    }
}

fn line(stream: &str) -> String {
    format!(
        r#"{{"stream_id":"{stream}","stream_type":"t","event_type":"E","schema_version":1,"data":{{"pad":"{}"}},"metadata":{{"reason":"it is a test"}},"occurred_at":"2026-01-01T00:00:00Z"}}"#,
        "x".repeat(stream.len() % 7 * 11)
    )
}

const BOUNDS: Bounds = Bounds {
    lines_max: 7,
    bytes_max: 1_500,
    line_bytes_max: 1_000,
};

/// Imports these bytes under any name; stops after so many batches.
fn import(log: &MemoryLog, bytes: &[u8], batches_max: usize) -> Result<Done, Failed> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events");
    std::fs::write(&path, bytes).expect("written");
    import_path(log, &path, batches_max)
}

fn import_path(log: &MemoryLog, path: &Path, batches_max: usize) -> Result<Done, Failed> {
    let mut batches = 0;
    run(log, &Input::path(path), BOUNDS, &|_| Ok(()), &mut |moment| {
        batches += usize::from(!moment.searching);
        batches < batches_max
    })
}

fn streams(log: &MemoryLog) -> Vec<String> {
    log.events.lock().clone()
}

proptest! {
    /// However often an input is imported, cut off, recompressed, and grown between, each of its lines is in the log
    /// once, in order.
    #[test]
    fn every_line_is_in_the_log_once(
        steps in prop::collection::vec(
            (0_usize..40, prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")], any::<bool>(), 1_usize..6, 0_usize..4),
            1..6,
        )
    ) {
        let log = MemoryLog::default();
        let (mut text, mut expected) = (String::new(), Vec::new());
        for (count, line_end, is_ended, batches_max, packing) in steps {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            for _ in 0..count {
                // Every third line is the same as the one before, which is legitimate.
                let stream = format!("s-{}", expected.len() - expected.len() % 3);
                text.push_str(&line(&stream));
                text.push_str(line_end);
                expected.push(stream);
            }
            if !is_ended {
                text.truncate(text.trim_end().len());
            }
            let packing = [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::ZstdFrames][packing];
            import(&log, &pack(text.as_bytes(), packing), batches_max).expect("imported");
            let stored = streams(&log);
            prop_assert_eq!(&stored[..], &expected[..stored.len()]);
        }
        let done = import(&log, text.as_bytes(), usize::MAX).expect("imported");
        prop_assert_eq!(streams(&log), expected.clone());
        prop_assert_eq!(done.lines_before + done.lines, text.trim_end().lines().count() as u64);
        let again = import(&log, &pack(text.as_bytes(), Packing::Zstd), usize::MAX).expect("imported");
        prop_assert_eq!((again.lines, again.events, again.position), (0, 0, None));
        prop_assert_eq!(streams(&log), expected);
    }
}

#[test]
fn what_a_file_was_is_known_after_it_grew() {
    let log = MemoryLog::default();
    let lines =
        |range: std::ops::Range<usize>| range.map(|i| line(&format!("s-{i}")) + "\n").collect::<String>();
    import(&log, lines(0..20).as_bytes(), usize::MAX).expect("imported");
    import(&log, lines(0..50).as_bytes(), usize::MAX).expect("imported");
    let before = import(&log, lines(0..20).as_bytes(), usize::MAX).expect("imported");
    assert_eq!(
        (before.lines_before, before.lines, streams(&log).len()),
        (20, 0, 50)
    );
}

#[test]
fn another_file_is_imported_from_its_start() {
    let log = MemoryLog::default();
    import(&log, (line("a") + "\n").as_bytes(), usize::MAX).expect("imported");
    import(
        &log,
        (line("b") + "\n" + &line("c") + "\n").as_bytes(),
        usize::MAX,
    )
    .expect("imported");
    assert_eq!(streams(&log), ["a", "b", "c"]);
}

#[test]
fn a_bad_line_keeps_its_batch_out_and_the_earlier_ones_in() {
    let log = MemoryLog::default();
    let mut lines: Vec<String> = (0..20).map(|i| line(&format!("s-{i}"))).collect();
    lines[9] = "{\"stream_id\":".to_owned();
    lines[12] = format!("{}{}", lines[12], "x".repeat(2_000));
    let failed = import(&log, lines.join("\n").as_bytes(), usize::MAX).expect_err("a bad line");
    assert_eq!((failed.done.lines, streams(&log).len()), (7, 7));
    let Why::BadLines { named, more: 0 } = failed.why else {
        panic!("bad lines")
    };
    assert_eq!(named.iter().map(|bad| bad.line).collect::<Vec<_>>(), [10, 13]);
    assert!(named[1].why.contains("event_bytes_max"), "{}", named[1].why);
    // Mended behind what is in, it goes on.
    lines[9] = line("mended");
    lines[12] = line("mended too");
    let done = import(&log, lines.join("\n").as_bytes(), usize::MAX).expect("imported");
    assert_eq!((done.lines_before, done.lines, streams(&log).len()), (7, 13, 20));
}

#[test]
fn no_more_than_twenty_bad_lines_are_named() {
    let log = MemoryLog::default();
    let bounds = Bounds {
        lines_max: 100,
        ..BOUNDS
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events");
    std::fs::write(&path, "no\n".repeat(70)).expect("written");
    let failed = run(&log, &Input::path(&path), bounds, &|_| Ok(()), &mut |_| true).expect_err("bad lines");
    let Why::BadLines { named, more } = failed.why else {
        panic!("bad lines")
    };
    assert_eq!((named.len(), more), (20, 50));
}

#[test]
fn a_last_line_that_is_cut_off_says_so() {
    let log = MemoryLog::default();
    let cut = &line("s")[..40];
    let failed = import(&log, cut.as_bytes(), usize::MAX).expect_err("a bad line");
    let Why::BadLines { named, .. } = failed.why else {
        panic!("bad lines")
    };
    assert!(named[0].why.contains("still being written"), "{}", named[0].why);
}

#[test]
fn a_line_that_grew_after_its_import_is_refused() {
    let log = MemoryLog::default();
    import(&log, line("a").as_bytes(), usize::MAX).expect("imported");
    let grown = line("a") + &line("b") + "\n";
    let failed = import(&log, grown.as_bytes(), usize::MAX).expect_err("a bad line");
    let Why::BadLines { named, .. } = failed.why else {
        panic!("bad lines")
    };
    assert_eq!(named[0].line, 1);
    assert!(named[0].why.contains("has grown since"), "{}", named[0].why);
}

#[test]
fn a_file_cut_off_within_its_compression_keeps_what_came_before() {
    let log = MemoryLog::default();
    let text: String = (0..400)
        .map(|i| line(&format!("s-{}", i * 7_919 % 1_000)) + "\n")
        .collect();
    let packed = pack(text.as_bytes(), Packing::Gzip);
    let failed = import(&log, &packed[..packed.len() - 200], usize::MAX).expect_err("cut off");
    assert!(
        matches!(failed.why, Why::Unreadable { line: 2.., .. }),
        "{:?}",
        failed.why
    );
    let kept = streams(&log).len();
    assert!(kept > 0 && kept as u64 == failed.done.lines);
    import(&log, &packed, usize::MAX).expect("imported");
    assert_eq!(streams(&log).len(), 400);
}

#[test]
fn what_the_log_would_refuse_is_named_by_line() {
    let log = MemoryLog::default();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events");
    std::fs::write(&path, [line("good"), line("bad"), line("good")].join("\n")).expect("written");
    let check = |event: &ImportEvent| match event.stream_id.as_str() {
        "bad" => Err("it is bad".to_owned()),
        _ => Ok(()),
    };
    let failed = run(&log, &Input::path(&path), BOUNDS, &check, &mut |_| true).expect_err("a bad line");
    let Why::BadLines { named, .. } = failed.why else {
        panic!("bad lines")
    };
    assert_eq!((named[0].line, named[0].why.as_str()), (2, "it is bad"));
    assert!(streams(&log).is_empty());
}

#[test]
fn an_empty_file_and_a_missing_one() {
    let log = MemoryLog::default();
    assert_eq!(import(&log, b"", usize::MAX).expect("imported").lines, 0);
    assert_eq!(import(&log, b"\n\n", usize::MAX).expect("imported").events, 0);
    let failed = import_path(&log, Path::new("/nowhere/at/all"), usize::MAX).expect_err("missing");
    assert!(matches!(failed.why, Why::Unreadable { .. }));
}
