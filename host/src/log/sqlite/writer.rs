//! The writing side of one SQLite transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension, params};

use super::Files;
use super::bell::Bell;
use crate::log::group::{Backend, cursor_is_gone};
use crate::log::plan::{Ask, Counter, Known, KnownEvent, KnownKey, KnownStream, Write};
use crate::log::streams::Streams;
use crate::log::{ImportCursor, LogError};
use crate::wal::{self, Checkpointer, Checkpoints};

/// Pages in the write-ahead log that are worth bringing into the file: 16 MiB, in which the same pages come again and
/// again. More need fewer syncs, and appends wait longer for the disk meanwhile; with 4 MiB the thread took busy
/// appenders a fifth of their rate.
const CHECKPOINT_PAGES: i32 = 4_000;

/// The one connection that writes.
pub(super) struct SqliteWriter {
    files: Files,
    connection: Connection,
    bell: Bell,
    /// Set before the bell is rung.
    rings: Arc<AtomicBool>,
    streams: Streams,
    checkpoints: Checkpoints,
    /// Whether the checkpointer has left the rest to this thread.
    has_rest: Arc<AtomicBool>,
    // Ends its thread when dropped.
    _checkpointer: Checkpointer,
}

impl SqliteWriter {
    pub(super) fn new(
        files: Files,
        connection: Connection,
        rings: Arc<AtomicBool>,
    ) -> Result<Self, LogError> {
        let bell = Bell::new(&files.bell());
        let has_rest = Arc::<AtomicBool>::default();
        let (opened, left) = (files.clone(), Arc::clone(&has_rest));
        let work = wal::Work {
            name: "log-checkpoint",
            log: files.write_ahead_log(),
            unsynced_pages: None,
            room_pages: CHECKPOINT_PAGES,
            connect: move || opened.checkpointing(),
            last: move |_: &Connection| {
                left.store(true, Ordering::Relaxed);
                Ok(())
            },
        };
        let (checkpointer, checkpoints) = Checkpointer::start(work).map_err(|error| {
            LogError::Internal(format!("the log's checkpointing thread cannot start: {error}"))
        })?;
        Ok(Self {
            files,
            connection,
            bell,
            rings,
            streams: Streams::default(),
            checkpoints,
            has_rest,
            _checkpointer: checkpointer,
        })
    }

    fn run<T>(
        &self,
        verb: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LogError> {
        work(&self.connection).map_err(|error| self.files.error(verb, &error))
    }
}

impl Backend for SqliteWriter {
    fn begin(&mut self) -> Result<Counter, LogError> {
        let counter = self.run("write to", |connection| {
            // Takes the one write lock, so that the counter row is ours.
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            connection
                .prepare_cached("SELECT position, recorded_at FROM log")?
                .query_row([], |row| {
                    Ok(Counter {
                        position: row.get(0)?,
                        recorded_at: row.get(1)?,
                    })
                })
        })?;
        self.streams.stand_at(counter);
        Ok(counter)
    }

    fn known(&mut self, ask: &Ask<'_>) -> Result<Known, LogError> {
        let known = read_known(&self.connection, ask, &mut self.streams);
        known.map_err(|error| self.files.error("read", &error))
    }

    fn write(&mut self, write: &Write<'_>) -> Result<(), LogError> {
        self.run("write to", |connection| write_rows(connection, write))?;
        self.streams.wrote(write);
        Ok(())
    }

    fn has_cursor(&mut self, cursor: &ImportCursor) -> Result<bool, LogError> {
        self.run("read", |connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM import_cursors WHERE digest = ?1 AND bytes = ?2 AND lines = ?3",
                )?
                .exists(params![cursor.digest, to_i64(cursor.bytes), to_i64(cursor.lines)])
        })
    }

    fn save_cursor(
        &mut self,
        previous: Option<&ImportCursor>,
        cursor: &ImportCursor,
    ) -> Result<(), LogError> {
        let saved = self.run("write to", |connection| {
            if let Some(previous) = previous {
                let deleted = connection
                    .prepare_cached("DELETE FROM import_cursors WHERE digest = ?1 AND bytes = ?2 AND lines = ?3")?
                    .execute(params![previous.digest, to_i64(previous.bytes), to_i64(previous.lines)])?;
                if deleted != 1 {
                    return Ok(false);
                }
            }
            let inserted = connection
                .prepare_cached("INSERT INTO import_cursors (digest, bytes, lines) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute(params![cursor.digest, to_i64(cursor.bytes), to_i64(cursor.lines)])?;
            Ok(inserted == 1)
        })?;
        if saved {
            Ok(())
        } else {
            Err(cursor_is_gone(cursor))
        }
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.run("commit to", |connection| {
            connection.prepare_cached("COMMIT")?.execute([]).map(drop)
        })?;
        self.streams.committed();
        self.rings.store(true, Ordering::Relaxed);
        self.bell.ring();
        self.checkpoints.committed(CHECKPOINT_PAGES);
        Ok(())
    }

    fn tidy(&mut self) {
        // This thread alone writes, so that nothing is written meanwhile.
        if self.has_rest.swap(false, Ordering::Relaxed)
            && let Err(error) = wal::bring_in(&self.connection)
        {
            tracing::debug!(%error, "the rest of the log's write-ahead log is not brought into the file");
        }
    }

    fn rollback(&mut self) {
        self.streams.rolled_back();
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction of the log could not be rolled back");
        }
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read_known(connection: &Connection, ask: &Ask<'_>, streams: &mut Streams) -> rusqlite::Result<Known> {
    let mut known = Known::default();
    let mut by_key = connection
        .prepare_cached("SELECT digest, position, answer FROM idempotency WHERE scope = ?1 AND key = ?2")?;
    for (scope, key) in &ask.keys {
        let there = by_key
            .query_row([scope, key], |row| {
                Ok(KnownKey {
                    digest: row.get(0)?,
                    position: row.get(1)?,
                    answer: row.get(2)?,
                })
            })
            .optional()?;
        if let Some(there) = there {
            known.keys.insert(((*scope).to_owned(), (*key).to_owned()), there);
        }
    }
    let mut by_stream = connection.prepare_cached(
        "SELECT stream_version, stream_type FROM events WHERE stream_id = ?1 ORDER BY stream_version DESC LIMIT 1",
    )?;
    for stream_id in &ask.streams {
        let there = match streams.get(stream_id) {
            Some(there) => there.clone(),
            None => {
                let there = by_stream
                    .query_row([stream_id], |row| {
                        Ok(KnownStream {
                            version: row.get(0)?,
                            stream_type: row.get(1)?,
                        })
                    })
                    .optional()?;
                streams.learn(stream_id, there.clone());
                there
            }
        };
        if let Some(there) = there {
            known.streams.insert((*stream_id).to_owned(), there);
        }
    }
    for id in &ask.ids {
        let there = connection
            .prepare_cached(
                "SELECT position, stream_id, stream_type, stream_version, event_type, schema_version, data, metadata \
                 FROM events WHERE id = ?1",
            )?
            .query_row([id.as_bytes()], |row| {
                Ok(KnownEvent {
                    position: row.get(0)?,
                    stream_id: row.get(1)?,
                    stream_type: row.get(2)?,
                    stream_version: row.get(3)?,
                    event_type: row.get(4)?,
                    schema_version: row.get(5)?,
                    data: row.get(6)?,
                    metadata: row.get(7)?,
                })
            })
            .optional()?;
        if let Some(there) = there {
            known.ids.insert(*id, there);
        }
    }
    Ok(known)
}

fn write_rows(connection: &Connection, write: &Write<'_>) -> rusqlite::Result<()> {
    // The counter first: the trigger on `events` takes no position beyond it.
    connection
        .prepare_cached("UPDATE log SET position = ?1, recorded_at = ?2")?
        .execute([write.counter.position, write.counter.recorded_at])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO events (position, id, stream_id, stream_type, stream_version, event_type, schema_version, data, \
         metadata, occurred_at, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for row in &write.rows {
        insert.execute(params![
            row.position,
            row.id.as_bytes(),
            row.stream_id,
            row.stream_type,
            row.stream_version,
            row.event_type,
            row.schema_version,
            row.data,
            row.metadata,
            row.occurred_at,
            row.recorded_at
        ])?;
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO idempotency (scope, key, digest, position, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for key in &write.keys {
        insert.execute(params![key.scope, key.key, key.digest, key.position, key.answer])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::core::clock::Clock;
    use crate::core::limits::AppendLimits;
    use crate::core::{NewEvent, Position};
    use crate::log::group::Group;
    use crate::log::{AppendRequest, Appended, ExpectedVersion, StreamAppend, migrate, validate};

    fn files(folder: &tempfile::TempDir) -> Files {
        let files = Files {
            path: folder.path().join("log.db"),
            busy_timeout: std::time::Duration::from_millis(100),
        };
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(migrate::sqlite(&files.path, files.busy_timeout))
            .unwrap();
        files
    }

    /// One event of so many bytes into stream `a`.
    fn append(group: &Group, bytes: usize) -> Result<Appended, LogError> {
        let json = |text: String| RawValue::from_string(text).unwrap();
        let event = NewEvent {
            id: None,
            event_type: "A".to_owned(),
            schema_version: 1,
            data: json(format!("\"{}\"", "x".repeat(bytes))),
            metadata: json(r#"{"reason":"because a test says so"}"#.to_owned()),
            occurred_at: None,
        };
        let stream = StreamAppend {
            stream_id: "a".to_owned(),
            stream_type: "order".to_owned(),
            expected_version: ExpectedVersion::Any,
            events: vec![event],
        };
        let request = AppendRequest {
            streams: vec![stream],
            idempotency: None,
        };
        group.append(validate::append(request, &AppendLimits::default()).unwrap())
    }

    #[test]
    fn a_full_disk_is_said_to_be_one_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let connection = files.writing().unwrap();
        // SQLite then fails as it does when the file system has no room.
        connection.pragma_update(None, "max_page_count", 100).unwrap();
        let writer = SqliteWriter::new(files.clone(), connection, Arc::default()).unwrap();
        let group = Group::start(writer, 10, Clock::system(), |_| ()).unwrap();
        let append = |bytes: usize| append(&group, bytes);
        assert_eq!(append(10).unwrap().position, Position(1));
        match append(1_000_000) {
            Err(LogError::Unavailable(message)) => assert!(message.contains("disk is full"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(append(10).unwrap().position, Position(2));
    }

    #[test]
    fn the_write_ahead_log_begins_anew_while_somebody_appends() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let writer = SqliteWriter::new(files.clone(), files.writing().unwrap(), Arc::default()).unwrap();
        let group = Group::start(writer, 10, Clock::system(), |_| ()).unwrap();
        let length = || std::fs::metadata(files.write_ahead_log()).unwrap().len();
        let append_some = || {
            for _ in 0..40 {
                append(&group, 50_000).unwrap();
            }
            length()
        };
        let room = CHECKPOINT_PAGES as u64 * 4096;
        let began = std::time::Instant::now();
        while append_some() < room {
            assert!(
                began.elapsed() < std::time::Duration::from_secs(60),
                "no room is made"
            );
        }
        // Some four times what there is room for. One that begins anew is as long as it ever was.
        let grown = (0..35).map(|_| append_some()).collect::<Vec<_>>();
        assert!(grown[34] < 2 * room, "it goes on growing: {grown:?}");
    }

    /// Each writer remembers what it has written, and has to notice what the other one has.
    #[test]
    fn two_writers_by_turns_leave_no_gap_in_a_stream() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let writers = [0, 1].map(|_| {
            let writer = SqliteWriter::new(files.clone(), files.writing().unwrap(), Arc::default()).unwrap();
            Group::start(writer, 10, Clock::system(), |_| ()).unwrap()
        });
        let mut expected = 1..;
        for writer in [0, 0, 1, 0, 1, 1, 1, 0, 0] {
            let appended = append(&writers[writer], 10).unwrap();
            assert_eq!(Some(appended.streams[0].version.0), expected.next());
        }
    }
}
