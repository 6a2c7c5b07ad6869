//! The group commit: one thread per log that gathers concurrent appends into one transaction, and does imports
//! between them.
//!
//! A commit costs a sync of the disk, and the counter row is locked until it is done; a group pays for that once. An
//! append that nobody else is beside is no group: where the backend lets it, the thread that asks writes it by itself,
//! which saves waking another and being woken.
//! *Invariant:* nobody is told that an append went in before its commit did.

mod answer;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use self::answer::{Answer, ask};
use super::plan::{self, Ask, Counter, Known, Write};
use super::validate::{Prepared, PreparedLine};
use super::{Appended, ImportCursor, LogError};
use crate::core::Position;
use crate::core::clock::Clock;

/// Bytes of one group's events. Raise it for large documents from many writers; lower it to save memory.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// One transaction at a time on the log's one writing connection.
pub(super) trait Backend: Send + 'static {
    /// Whether whoever appends alone may write by itself. Not where much is left to [`Self::tidy`], which nobody who
    /// has an answer is to wait for.
    const IS_FOR_CALLERS: bool = false;

    /// The counter as this writer has left it, and what the decision needs, where all of that is remembered. It may be no
    /// more so: nobody is told anything before [`Self::write_at_once`] has found the counter there.
    fn remembered(&mut self, _: &Ask<'_>) -> Option<(Counter, Known)> {
        None
    }

    /// Reads the counter, then what the decision needs, without a lock. None: this backend decides under the lock alone,
    /// or others have lately moved the counter between such a look and its write.
    fn look(&mut self, _: &Ask<'_>) -> Result<Option<(Counter, Known)>, LogError> {
        Ok(None)
    }

    /// Writes and commits, durably, if the counter still is where [`Self::look`] has found it, or [`Self::remembered`]
    /// has it: then nothing that was read has changed. False: it has moved, or there is too much for one statement, and
    /// nothing was done.
    fn write_at_once(&mut self, _from: Counter, _: &Write<'_>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Begins, and locks the counter row before anything else is read.
    fn begin(&mut self) -> Result<Counter, LogError>;

    /// Reads what the decision needs, in statements that see everything committed before the lock.
    fn known(&mut self, ask: &Ask<'_>) -> Result<Known, LogError>;

    /// Writes counter, rows and keys.
    fn write(&mut self, write: &Write<'_>) -> Result<(), LogError>;

    /// Whether this cursor is saved.
    fn has_cursor(&mut self, cursor: &ImportCursor) -> Result<bool, LogError>;

    /// Replaces a cursor that is there.
    fn save_cursor(&mut self, previous: Option<&ImportCursor>, cursor: &ImportCursor)
    -> Result<(), LogError>;

    /// Commits, durably. After an error it is not known whether the transaction went in.
    fn commit(&mut self) -> Result<(), LogError>;

    /// Does what can wait until those who waited have their answers.
    fn tidy(&mut self) {}

    /// Gives up whatever transaction is open; a connection that is broken is dropped.
    fn rollback(&mut self);
}

/// The writing thread; it ends when this is dropped.
pub(super) struct Group {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// For who appends alone; None where only the thread writes.
    alone: Option<Arc<Mutex<dyn Alone>>>,
    /// Appends that have no answer yet.
    under_way: AtomicUsize,
}

/// Writes one append by itself.
trait Alone: Send {
    fn append(&mut self, member: &Prepared) -> Result<Appended, LogError>;
}

enum Job {
    Append(Append),
    Import(Import),
}

struct Append {
    member: Prepared,
    answer: Answer<Result<Appended, LogError>>,
}

struct Import {
    lines: Vec<PreparedLine>,
    previous: Option<ImportCursor>,
    cursor: ImportCursor,
    answer: Answer<Result<Position, LogError>>,
}

impl Group {
    /// Starts the thread. `committed` hears of each commit that moved the head, before those who wait for it.
    pub(super) fn start<B: Backend>(
        backend: B,
        appends_max: u64,
        clock: Clock,
        committed: impl Fn(Position) + Send + 'static,
    ) -> Result<Self, LogError> {
        let appends_max = usize::try_from(appends_max.max(1)).unwrap_or(usize::MAX);
        let (jobs, queue) = bounded(appends_max.min(4_096));
        let writer = Arc::new(Mutex::new(Writer {
            backend,
            appends_max,
            clock,
            committed,
        }));
        let alone = B::IS_FOR_CALLERS.then(|| writer.clone() as Arc<Mutex<dyn Alone>>);
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || run(&writer, &Jobs(queue)))
            .map_err(|error| LogError::Internal(format!("the log's writing thread cannot start: {error}")))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            alone,
            under_way: AtomicUsize::new(0),
        })
    }

    /// Waits until the append is durable, or refused.
    pub(super) fn append(&self, member: Prepared) -> Result<Appended, LogError> {
        let is_alone = self.under_way.fetch_add(1, Ordering::Relaxed) == 0;
        let result = match &self.alone {
            Some(writer) if is_alone => match writer.try_lock() {
                Ok(mut writer) => writer.append(&member),
                // The thread is at an import, or at what it does after an answer.
                Err(TryLockError::WouldBlock) => self.append_in_group(member),
                Err(TryLockError::Poisoned(_)) => Err(stopped()),
            },
            _ => self.append_in_group(member),
        };
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        result
    }

    fn append_in_group(&self, member: Prepared) -> Result<Appended, LogError> {
        let (answer, answered) = ask();
        self.send(Job::Append(Append { member, answer }))?;
        answered.wait().unwrap_or_else(|| Err(stopped()))
    }

    /// Waits until the lines are durable, or refused.
    pub(super) fn import(
        &self,
        lines: Vec<PreparedLine>,
        previous: Option<ImportCursor>,
        cursor: ImportCursor,
    ) -> Result<Position, LogError> {
        let (answer, answered) = ask();
        self.send(Job::Import(Import {
            lines,
            previous,
            cursor,
            answer,
        }))?;
        answered.wait().unwrap_or_else(|| Err(stopped()))
    }

    fn send(&self, job: Job) -> Result<(), LogError> {
        let jobs = self
            .jobs
            .as_ref()
            .expect("invariant: the queue is open until drop");
        jobs.send(job).map_err(|_| stopped())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// For a backend whose cursor table is not as the import left it.
pub(super) fn cursor_is_gone(cursor: &ImportCursor) -> LogError {
    LogError::Invalid(format!(
        "another import has taken this input on (its first {} lines are in the log): nothing of this batch was imported; \
         start the import again, it goes on where the log stands",
        cursor.lines
    ))
}

fn stopped() -> LogError {
    LogError::Internal("the log's writing thread has stopped; restart the host and report its log".to_owned())
}

struct Writer<B, C> {
    backend: B,
    appends_max: usize,
    clock: Clock,
    committed: C,
}

impl<B: Backend, C: Fn(Position) + Send> Alone for Writer<B, C> {
    fn append(&mut self, member: &Prepared) -> Result<Appended, LogError> {
        self.single(member, false).map_err(Failure::told)
    }
}

/// What each member of a group is told.
type Answers = Vec<Result<Appended, LogError>>;

/// How counter and streams were found without a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// As this writer has left them.
    Remembered,
    /// In the database, just now.
    Looked,
}

/// Why a transaction failed.
pub(super) struct Failure {
    pub(super) error: LogError,
    /// The commit was sent: it may have gone in.
    pub(super) maybe_committed: bool,
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self {
            error,
            maybe_committed: false,
        }
    }
}

impl Failure {
    /// The error for the caller, who has to know when the outcome is open.
    fn told(self) -> LogError {
        match self.error {
            LogError::Unavailable(message) if self.maybe_committed => LogError::Unavailable(format!(
                "{message}; the connection failed during the commit, so it is not known whether the events are in the \
                 log: repeat the same append under the same idempotency key, or look for its events"
            )),
            error => error,
        }
    }
}

/// What there is to do. Where nobody does it any more, because of a panic, whoever asks is told: a job that is dropped says
/// so, but a channel keeps what it has when its receiver goes.
struct Jobs(Receiver<Job>);

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.iter().for_each(drop);
    }
}

/// Writes until nobody sends, or a panic has left the writer in doubt.
fn run<B: Backend, C: Fn(Position)>(writer: &Mutex<Writer<B, C>>, Jobs(queue): &Jobs) {
    let mut held = None;
    while let Some(job) = held.take().or_else(|| queue.recv().ok()) {
        let Ok(mut writer) = writer.lock() else { return };
        held = writer.work(job, queue);
    }
}

impl<B: Backend, C: Fn(Position)> Writer<B, C> {
    /// Does a job, and with an append those behind it; gives back the job that is not for their group.
    fn work(&mut self, job: Job, queue: &Receiver<Job>) -> Option<Job> {
        let mut held = None;
        match job {
            Job::Import(import) => {
                let result = self.import(&import);
                import.answer.send(result);
            }
            Job::Append(first) => {
                let mut bytes = first.member.bytes_len();
                let mut group = vec![first];
                while group.len() < self.appends_max && bytes < GROUP_BYTES_MAX {
                    match queue.try_recv() {
                        Ok(Job::Append(next)) => {
                            bytes += next.member.bytes_len();
                            group.push(next);
                        }
                        Ok(import) => {
                            held = Some(import);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                self.appends(group);
            }
        }
        self.backend.tidy();
        held
    }

    fn appends(&mut self, group: Vec<Append>) {
        let members: Vec<&Prepared> = group.iter().map(|append| &append.member).collect();
        match self.transact(&members, false) {
            Ok(answers) => {
                answer::send_all(group.iter().map(|append| &append.answer).zip(answers));
            }
            Err(failure) if group.len() == 1 && !failure.maybe_committed => {
                group[0].answer.send(Err(failure.told()));
            }
            Err(failure) => self.singly(&group, failure.maybe_committed),
        }
    }

    /// One member's trouble is not the others'. When the database is away for one, the rest is told without waiting.
    fn singly(&mut self, group: &[Append], maybe_committed: bool) {
        let mut away: Option<String> = None;
        for append in group {
            let result = match &away {
                Some(message) => Err(Failure {
                    error: LogError::Unavailable(message.clone()),
                    maybe_committed,
                }
                .told()),
                None => self.single(&append.member, maybe_committed).map_err(|failure| {
                    if let LogError::Unavailable(message) = &failure.error {
                        away = Some(message.clone());
                    }
                    failure.told()
                }),
            };
            append.answer.send(result);
        }
    }

    fn single(&mut self, member: &Prepared, maybe_committed: bool) -> Result<Appended, Failure> {
        let mut maybe_committed = maybe_committed;
        let mut looked = maybe_committed;
        loop {
            match self.transact(&[member], maybe_committed) {
                Ok(mut answers) => {
                    let answer = answers.pop().expect("invariant: one answer a member");
                    return answer.map_err(Failure::from);
                }
                // Once more, to look whether it went in.
                Err(failure) if failure.maybe_committed && !looked => {
                    maybe_committed = true;
                    looked = true;
                }
                Err(failure) => {
                    return Err(Failure {
                        maybe_committed: failure.maybe_committed || maybe_committed,
                        ..failure
                    });
                }
            }
        }
    }

    /// One transaction for these members; each gets its answer, or all of them the failure.
    fn transact(&mut self, members: &[&Prepared], maybe_committed: bool) -> Result<Answers, Failure> {
        let result = self.try_transact(members, maybe_committed);
        if result.is_err() {
            self.backend.rollback();
        }
        result
    }

    fn try_transact(&mut self, members: &[&Prepared], maybe_committed: bool) -> Result<Answers, Failure> {
        let ask = plan::ask_appends(members, maybe_committed);
        if let Some(found) = self.backend.remembered(&ask)
            && let Some(answers) = self.at_once(members, maybe_committed, found, Found::Remembered)?
        {
            return Ok(answers);
        }
        if let Some(found) = self.backend.look(&ask)?
            && let Some(answers) = self.at_once(members, maybe_committed, found, Found::Looked)?
        {
            return Ok(answers);
        }
        let counter = self.backend.begin()?;
        let known = self.backend.known(&ask)?;
        let now = self.clock.now_micros();
        let (answers, write) = plan::decide_appends(members, maybe_committed, known, counter, now);
        if write.rows.is_empty() {
            self.backend.rollback();
            return Ok(answers);
        }
        self.backend.write(&write)?;
        self.commit(&write)?;
        Ok(answers)
    }

    /// Decides by what was found without a lock; None where that is no more so, or may be no more so.
    fn at_once(
        &mut self,
        members: &[&Prepared],
        maybe_committed: bool,
        (counter, known): (Counter, Known),
        found: Found,
    ) -> Result<Option<Answers>, Failure> {
        let now = self.clock.now_micros();
        let (answers, write) = plan::decide_appends(members, maybe_committed, known, counter, now);
        if write.rows.is_empty() {
            // There is no write that would show whether it is still so.
            return Ok((found == Found::Looked).then_some(answers));
        }
        if !self.backend.write_at_once(counter, &write)? {
            return Ok(None);
        }
        (self.committed)(Position::from_i64(write.counter.position));
        Ok(Some(answers))
    }

    fn commit(&mut self, write: &Write<'_>) -> Result<(), Failure> {
        self.backend.commit().map_err(|error| Failure {
            error,
            maybe_committed: true,
        })?;
        (self.committed)(Position::from_i64(write.counter.position));
        Ok(())
    }

    fn import(&mut self, import: &Import) -> Result<Position, LogError> {
        let mut maybe_committed = false;
        loop {
            let result = self.try_import(import, maybe_committed);
            if result.is_err() {
                self.backend.rollback();
            }
            match result {
                Err(failure) if failure.maybe_committed && !maybe_committed => maybe_committed = true,
                // The cursor tells the next run of the import what is in, so that an open outcome costs nothing.
                other => return other.map_err(|failure| failure.error),
            }
        }
    }

    fn try_import(&mut self, import: &Import, maybe_committed: bool) -> Result<Position, Failure> {
        let counter = self.backend.begin()?;
        if maybe_committed && self.backend.has_cursor(&import.cursor)? {
            self.backend.rollback();
            return Ok(Position::from_i64(counter.position));
        }
        let known = self.backend.known(&plan::ask_import(&import.lines))?;
        let write = plan::decide_import(&import.lines, known, counter, self.clock.now_micros())?;
        if !write.rows.is_empty() {
            self.backend.write(&write)?;
        }
        self.backend
            .save_cursor(import.previous.as_ref(), &import.cursor)?;
        self.commit(&write)?;
        Ok(Position::from_i64(write.counter.position))
    }
}

#[cfg(test)]
mod tests;
