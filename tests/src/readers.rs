//! Readers that query without pause, each on its own connection, and report whatever is not as it should be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::client::Client;
use crate::project::Project;

/// One round of a reader: any number of reads on its connection. Err says what was wrong.
pub type Round = Box<dyn FnMut(&mut Client) -> Result<(), String> + Send>;

/// Readers at work; stopped by [`Readers::finish`].
pub struct Readers {
    stop: Arc<AtomicBool>,
    wrong: Arc<Mutex<Vec<String>>>,
    threads: Vec<(String, Arc<AtomicU64>, JoinHandle<()>)>,
}

impl Readers {
    /// Starts one thread a reader.
    pub fn start(project: &Project, readers: Vec<(&str, Round)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let threads = readers
            .into_iter()
            .map(|(name, mut round)| {
                // Opened before the first cutover, and used ever after.
                let mut client = project.client();
                let (stop, wrong, rounds) = (stop.clone(), wrong.clone(), Arc::new(AtomicU64::new(0)));
                let (name, counted) = (name.to_owned(), rounds.clone());
                let reader = name.clone();
                let work = move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Err(said) = round(&mut client) {
                            let mut wrong = wrong.lock().expect("the list of what is wrong");
                            wrong.push(format!(
                                "{reader}, round {}: {said}",
                                counted.load(Ordering::Relaxed)
                            ));
                            if wrong.len() > 50 {
                                return;
                            }
                        }
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                };
                (name, rounds, std::thread::spawn(work))
            })
            .collect();
        Self { stop, wrong, threads }
    }

    /// What was wrong so far.
    ///
    /// # Panics
    /// When a reader died holding the list.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("the list of what is wrong").clone()
    }

    /// Stops them; gives the number of rounds of all.
    ///
    /// # Panics
    /// When a reader saw anything wrong, or never read.
    #[track_caller]
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        let mut idle = Vec::new();
        for (name, rounds, thread) in self.threads {
            thread.join().expect("a reader that does not panic");
            let rounds = rounds.load(Ordering::Relaxed);
            if rounds == 0 {
                idle.push(name);
            }
            all += rounds;
        }
        let wrong = self.wrong.lock().expect("the list of what is wrong");
        assert!(
            wrong.is_empty(),
            "{} bad reads; the first:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(8)].join("\n")
        );
        assert!(idle.is_empty(), "readers that never finished a round: {idle:?}");
        all
    }
}

/// A round that asks one query and holds its rows against what is expected.
pub fn always(sql: &str, good: impl Fn(&[crate::client::TextRow]) -> bool + Send + 'static) -> Round {
    let sql = sql.to_owned();
    Box::new(move |client| {
        let rows = client.query(&sql).map_err(|error| format!("{error:#}"))?;
        if good(&rows) {
            Ok(())
        } else {
            Err(format!("{sql} gave {:?}", &rows[..rows.len().min(4)]))
        }
    })
}

/// The same as a statement that stays prepared; its values must be text.
pub fn always_prepared(
    sql: &str,
    good: impl Fn(&[crate::client::TextRow]) -> bool + Send + 'static,
) -> Round {
    let sql = sql.to_owned();
    Box::new(move |client| {
        let rows = client
            .query_prepared(&sql)
            .map_err(|error| format!("{error:#}"))?;
        if good(&rows) {
            Ok(())
        } else {
            Err(format!("{sql} gave {:?}", &rows[..rows.len().min(4)]))
        }
    })
}

/// A round in one transaction with one snapshot: the same query again and again for a while, which must give the same rows to its end.
pub fn one_transaction(sql: &str, hold: std::time::Duration) -> Round {
    let sql = sql.to_owned();
    Box::new(move |client| {
        let said = |error: anyhow::Error| format!("{error:#}");
        let begin = match client {
            Client::Sqlite(_) => "BEGIN",
            Client::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        };
        client.execute(begin).map_err(said)?;
        let first = client.query(&sql).map_err(said)?;
        let end = std::time::Instant::now() + hold;
        while std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let again = client.query(&sql).map_err(said)?;
            if again != first {
                let cut = |rows: &[crate::client::TextRow]| format!("{:?}", &rows[..rows.len().min(2)]);
                return Err(format!(
                    "{sql} gave {} and then {} in one transaction",
                    cut(&first),
                    cut(&again)
                ));
            }
        }
        client.execute("COMMIT").map_err(said)
    })
}
