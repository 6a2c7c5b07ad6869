//! The group commit over a database that fails on demand.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::*;
use crate::core::NewEvent;
use crate::core::limits::AppendLimits;
use crate::log::plan::{KnownEvent, KnownStream};
use crate::log::{AppendRequest, ExpectedVersion, ImportEvent, StreamAppend, validate};

/// What happens to the next transactions, one after the other; then all is well.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    /// At the beginning.
    Away,
    /// When rows of a stream `bad` are written.
    BadRows,
    /// The commit goes in, and its answer is lost.
    CommittedUnheard,
    /// The commit does not go in.
    CommitLost,
    /// A fault of ours.
    Panic,
}

#[derive(Default)]
struct State {
    events: Vec<KnownEvent>,
    ids: Vec<uuid::Uuid>,
    cursors: Vec<ImportCursor>,
    troubles: VecDeque<Trouble>,
    transactions: usize,
    /// Who began the last one.
    thread: Option<ThreadId>,
    /// Members wait here until the test has sent all of them.
    slow: Duration,
}

struct Fake<const FOR_CALLERS: bool> {
    state: Arc<Mutex<State>>,
    trouble: Trouble,
    open: Vec<(uuid::Uuid, KnownEvent)>,
    open_cursor: Option<ImportCursor>,
}

fn away() -> LogError {
    LogError::Unavailable("the database is away".to_owned())
}

impl<const FOR_CALLERS: bool> Backend for Fake<FOR_CALLERS> {
    const IS_FOR_CALLERS: bool = FOR_CALLERS;

    fn begin(&mut self) -> Result<Counter, LogError> {
        let mut state = self.state.lock();
        std::thread::sleep(state.slow);
        state.slow = Duration::ZERO;
        state.transactions += 1;
        state.thread = Some(std::thread::current().id());
        self.trouble = state.troubles.pop_front().unwrap_or(Trouble::None);
        if self.trouble == Trouble::Away {
            return Err(away());
        }
        Ok(Counter {
            position: state.events.len() as i64,
            recorded_at: 0,
        })
    }

    fn known(&mut self, ask: &Ask<'_>) -> Result<Known, LogError> {
        let state = self.state.lock();
        let mut known = Known::default();
        for (id, event) in state.ids.iter().zip(&state.events) {
            if ask.ids.contains(id) {
                known.ids.insert(*id, event.clone());
            }
            if ask.streams.contains(&event.stream_id.as_str()) {
                let stream = KnownStream {
                    version: event.stream_version,
                    stream_type: event.stream_type.clone(),
                };
                known.streams.insert(event.stream_id.clone(), stream);
            }
        }
        Ok(known)
    }

    fn write(&mut self, write: &Write<'_>) -> Result<(), LogError> {
        assert!(self.trouble != Trouble::Panic, "a fault of ours");
        for row in &write.rows {
            if self.trouble == Trouble::BadRows || row.stream_id == "bad" {
                return Err(LogError::Invalid("the log refused it".to_owned()));
            }
            let event = KnownEvent {
                position: row.position,
                stream_id: row.stream_id.to_owned(),
                stream_type: row.stream_type.to_owned(),
                stream_version: row.stream_version,
                event_type: row.event_type.to_owned(),
                schema_version: i64::from(row.schema_version),
                data: row.data.to_owned(),
                metadata: row.metadata.to_owned(),
            };
            self.open.push((row.id, event));
        }
        Ok(())
    }

    fn has_cursor(&mut self, cursor: &ImportCursor) -> Result<bool, LogError> {
        Ok(self.state.lock().cursors.contains(cursor))
    }

    fn save_cursor(&mut self, _: Option<&ImportCursor>, cursor: &ImportCursor) -> Result<(), LogError> {
        if self.has_cursor(cursor)? {
            return Err(cursor_is_gone(cursor));
        }
        self.open_cursor = Some(cursor.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LogError> {
        if self.trouble == Trouble::CommitLost {
            return Err(away());
        }
        let mut state = self.state.lock();
        for (id, event) in self.open.drain(..) {
            state.ids.push(id);
            state.events.push(event);
        }
        state.cursors.extend(self.open_cursor.take());
        if self.trouble == Trouble::CommittedUnheard {
            Err(away())
        } else {
            Ok(())
        }
    }

    fn rollback(&mut self) {
        self.open.clear();
        self.open_cursor = None;
    }
}

type Checked = (Vec<Result<Appended, LogError>>, State);

/// Appends one event to each stream at once, over these troubles; gives answers and state, which are the same whether
/// callers may write or not.
fn check(streams: &[&str], troubles: &[Trouble]) -> Checked {
    let by_thread = check_with::<false>(streams, troubles);
    let by_callers = check_with::<true>(streams, troubles);
    let told = |(answers, state): &Checked| {
        let told = answers.iter().map(|answer| match answer {
            Ok(_) => "in the log".to_owned(),
            Err(error) => error.to_string(),
        });
        (told.collect::<Vec<_>>(), state.transactions, state.events.len())
    };
    assert_eq!(told(&by_thread), told(&by_callers));
    by_callers
}

fn check_with<const FOR_CALLERS: bool>(streams: &[&str], troubles: &[Trouble]) -> Checked {
    let state = Arc::new(Mutex::new(State {
        troubles: [&[Trouble::None], troubles].concat().into(),
        ..State::default()
    }));
    let group = start::<FOR_CALLERS>(&state);
    let answers = std::thread::scope(|scope| {
        // The first transaction is slow, so that all others are gathered behind it.
        state.lock().slow = Duration::from_millis(100);
        let first = scope.spawn(|| group.append(one("first")));
        std::thread::sleep(Duration::from_millis(30));
        let threads: Vec<_> = streams
            .iter()
            .map(|stream| scope.spawn(|| group.append(one(stream))))
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(first.join().unwrap().unwrap().position, Position(1));
        answers
    });
    drop(group);
    let state = std::mem::take(&mut *state.lock());
    let positions: Vec<_> = state.events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=state.events.len() as i64).collect::<Vec<_>>());
    (answers, state)
}

fn start<const FOR_CALLERS: bool>(state: &Arc<Mutex<State>>) -> Group {
    let fake = Fake::<FOR_CALLERS> {
        state: Arc::clone(state),
        trouble: Trouble::None,
        open: Vec::new(),
        open_cursor: None,
    };
    Group::start(fake, 256, Clock::new(|| 1), |_| ()).unwrap()
}

fn event() -> NewEvent {
    let json = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    NewEvent {
        id: None,
        event_type: "A".to_owned(),
        schema_version: 1,
        data: json("1"),
        metadata: json(r#"{"reason":"because a test says so"}"#),
        occurred_at: None,
    }
}

fn one(stream_id: &str) -> Prepared {
    let stream = StreamAppend {
        stream_id: stream_id.to_owned(),
        stream_type: "order".to_owned(),
        expected_version: ExpectedVersion::NoStream,
        events: vec![event()],
    };
    validate::append(
        AppendRequest {
            streams: vec![stream],
            idempotency: None,
        },
        &AppendLimits::default(),
    )
    .unwrap()
}

const FOUR: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn concurrent_appends_share_a_transaction() {
    let (answers, state) = check(&FOUR, &[]);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((state.transactions, state.events.len()), (2, 5));
}

#[test]
fn a_member_that_the_database_refuses_does_not_take_the_others_with_it() {
    let (answers, state) = check(&["a", "bad", "c", "d"], &[]);
    let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, true, false, false]);
    assert_eq!(
        (state.transactions, state.events.len()),
        (1 + 1 + 4, 4),
        "the group, then each by itself"
    );
}

#[test]
fn when_the_database_is_away_nobody_waits_for_the_others() {
    let (answers, state) = check(&FOUR, &[Trouble::Away, Trouble::Away]);
    for answer in answers {
        let Err(LogError::Unavailable(message)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            message, "the database is away",
            "nothing was sent, so nothing is unknown"
        );
    }
    assert_eq!((state.transactions, state.events.len()), (3, 1));
}

#[test]
fn a_commit_whose_answer_was_lost_is_looked_up() {
    let (answers, state) = check(&FOUR, &[Trouble::CommittedUnheard]);
    let mut positions: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().position.0)
        .collect();
    positions.sort_unstable();
    assert_eq!(positions, [2, 3, 4, 5]);
    assert_eq!(state.events.len(), 5, "once each");
}

#[test]
fn a_commit_that_was_lost_is_done_again() {
    for streams in [&FOUR[..], &FOUR[..1]] {
        let (answers, state) = check(streams, &[Trouble::CommitLost]);
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(state.events.len(), streams.len() + 1);
    }
}

#[test]
fn an_outcome_that_stays_unknown_is_said_to_be() {
    let (answers, _) = check(&FOUR, &[Trouble::CommittedUnheard, Trouble::Away]);
    for answer in answers {
        let Err(LogError::Unavailable(message)) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            message.contains("not known whether the events are in the log"),
            "{message}"
        );
    }
}

#[test]
fn an_import_whose_commit_was_not_heard_is_not_done_twice() {
    for (trouble, transactions) in [
        (Trouble::CommittedUnheard, 2),
        (Trouble::CommitLost, 2),
        (Trouble::None, 1),
    ] {
        let state = Arc::new(Mutex::new(State {
            troubles: [trouble].into(),
            ..State::default()
        }));
        let line = ImportEvent {
            line: 1,
            stream_id: "a".to_owned(),
            stream_type: "order".to_owned(),
            idempotency_key: None,
            event: event(),
        };
        let lines = validate::import(vec![line], &AppendLimits::default()).unwrap();
        let cursor = ImportCursor {
            digest: "d".to_owned(),
            bytes: 1,
            lines: 1,
        };
        assert_eq!(
            start::<true>(&state).import(lines, None, cursor).unwrap(),
            Position(1),
            "{trouble:?}"
        );
        let state = state.lock();
        assert_eq!(
            (state.events.len(), state.transactions),
            (1, transactions),
            "{trouble:?}"
        );
    }
}

#[test]
fn a_database_that_refuses_a_lone_member_is_asked_once() {
    let (answers, state) = check(&["a"], &[Trouble::BadRows]);
    assert!(matches!(answers[..], [Err(LogError::Invalid(_))]));
    assert_eq!(state.transactions, 2);
}

/// One append over a trouble: what is told, events and transactions, and whether the caller's thread wrote.
fn alone<const FOR_CALLERS: bool>(trouble: Trouble) -> (String, usize, usize, bool) {
    let state = Arc::new(Mutex::new(State {
        troubles: [trouble].into(),
        ..State::default()
    }));
    let told = match start::<FOR_CALLERS>(&state).append(one("a")) {
        Ok(appended) => appended.position.to_string(),
        Err(error) => error.to_string(),
    };
    let state = state.lock();
    let is_by_caller = state.thread == Some(std::thread::current().id());
    (told, state.events.len(), state.transactions, is_by_caller)
}

#[test]
fn who_appends_alone_writes_where_the_backend_lets_it() {
    for trouble in [
        Trouble::None,
        Trouble::Away,
        Trouble::BadRows,
        Trouble::CommittedUnheard,
        Trouble::CommitLost,
    ] {
        let (told, events, transactions, is_by_caller) = alone::<false>(trouble);
        assert!(!is_by_caller);
        assert_eq!(
            alone::<true>(trouble),
            (told, events, transactions, true),
            "{trouble:?}"
        );
    }
}

#[test]
fn after_a_panic_nobody_writes_any_more_and_nobody_waits() {
    fn check<const FOR_CALLERS: bool>() {
        let state = Arc::new(Mutex::new(State {
            troubles: [Trouble::Panic].into(),
            slow: Duration::from_millis(50),
            ..State::default()
        }));
        let group = start::<FOR_CALLERS>(&state);
        let append = || catch_unwind(AssertUnwindSafe(|| group.append(one("a"))));
        std::thread::scope(|scope| {
            let first = scope.spawn(append);
            // Waits behind the first.
            std::thread::sleep(Duration::from_millis(20));
            let second = scope.spawn(append);
            assert_eq!(first.join().unwrap().is_err(), FOR_CALLERS, "whose thread it was");
            let later: Vec<_> = (0..3).map(|_| append()).collect();
            for answer in [second.join().unwrap()].into_iter().chain(later) {
                let error = answer.unwrap().unwrap_err();
                assert!(error.to_string().contains("has stopped"), "{error}");
            }
        });
        assert_eq!(state.lock().transactions, 1);
    }
    check::<false>();
    check::<true>();
}
