//! What always holds in a log, looked at by plain SQL.

use crate::project::Project;

/// Every event once, gapless positions, gapless versions in each stream, a record time that never goes back. `events` are
/// those that somebody appended; what the host has put on record of what admins did comes beside.
///
/// # Panics
/// When one of them does not hold.
#[track_caller]
pub fn assert_whole(project: &Project, events: usize) {
    let mut log = project.log_client();
    let mut number = |sql: &str| log.number(sql).unwrap_or_else(|error| panic!("{error:#}"));
    let events = i64::try_from(events).expect("a count");
    let appended = "SELECT count(*) FROM events WHERE substr(event_type, 1, 10) <> 'lamphouse.'";
    assert_eq!(number(appended), events, "events in the log");
    let all = number("SELECT count(*) FROM events");
    assert_eq!(
        number("SELECT coalesce(max(position), 0) FROM events"),
        all,
        "the last position"
    );
    assert_eq!(
        number("SELECT count(DISTINCT id) FROM events"),
        all,
        "different event ids"
    );
    let broken = "SELECT count(*) FROM (SELECT stream_id FROM events GROUP BY stream_id \
                  HAVING min(stream_version) <> 1 OR max(stream_version) <> count(*)) AS broken";
    assert_eq!(number(broken), 0, "streams with a gap in their versions");
    let back = "SELECT count(*) FROM (SELECT recorded_at < lag(recorded_at) OVER (ORDER BY position) AS back \
                FROM events) AS pairs WHERE back";
    assert_eq!(number(back), 0, "record times that go back");
}
