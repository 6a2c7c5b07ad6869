//! What the database itself holds: immutability, checks, versions of the schema, the same log on both.

use super::*;
use crate::core::Position;

scenarios! {
    the_database_refuses_every_change,
    the_database_checks_what_it_is_given,
    the_databases_limits_follow_the_configuration,
    a_newer_schema_is_refused,
    many_may_open_at_once,
    history_says_who_what_why_and_when,
    a_writer_of_another_process_is_noticed,
}

/// An INSERT that would be right but for what `change` makes of it.
fn insert(place: &Place, verb: &str, change: impl Fn(&str) -> Option<&'static str>) -> String {
    let sqlite = place.is_sqlite();
    let columns = [
        ("position", "3"),
        (
            "id",
            if sqlite {
                "randomblob(16)"
            } else {
                "gen_random_uuid()"
            },
        ),
        ("stream_id", "'a'"),
        ("stream_type", "'order'"),
        ("stream_version", "3"),
        ("event_type", "'A'"),
        ("schema_version", "1"),
        ("data", "'{}'"),
        ("metadata", "'{\"reason\":\"long enough\"}'"),
        ("occurred_at", if sqlite { "0" } else { "'epoch'" }),
        ("recorded_at", "(SELECT recorded_at FROM log)"),
    ];
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = columns
        .iter()
        .map(|(name, value)| change(name).unwrap_or(value))
        .collect();
    format!(
        "BEGIN; UPDATE log SET position = 3; {verb} INTO events ({}) VALUES ({}); COMMIT",
        names.join(", "),
        values.join(", ")
    )
}

fn two_events(place: &Place) -> std::sync::Arc<dyn EventLog> {
    let log = place.open();
    log.append(append_to("a", ExpectedVersion::Any, 2)).unwrap();
    log
}

fn the_database_refuses_every_change(place: &Place) {
    let log = two_events(place);
    let before = log.event(Position(1)).unwrap().unwrap();
    let mut attempts: Vec<String> = vec![
        "UPDATE events SET data = '{}'".into(),
        "UPDATE events SET data = '{}' WHERE position = 1".into(),
        "DELETE FROM events".into(),
        "DELETE FROM events WHERE position = 2".into(),
        "DELETE FROM log".into(),
        "UPDATE log SET position = 1".into(),
        "INSERT INTO log SELECT * FROM log".into(),
        insert(place, "INSERT", |name| (name == "position").then_some("2")),
        insert(place, "INSERT", |name| (name == "position").then_some("NULL")),
        insert(place, "INSERT", |name| {
            (name == "id").then_some("(SELECT id FROM events WHERE position = 1)")
        }),
        insert(place, "INSERT", |name| (name == "stream_version").then_some("2")),
        insert(place, "INSERT", |name| (name == "position").then_some("2")).replace("; COMMIT", "")
            + " ON CONFLICT (position) DO UPDATE SET data = '[]'; COMMIT",
    ];
    if place.is_sqlite() {
        for pragma in [
            "PRAGMA recursive_triggers = OFF; ",
            "PRAGMA recursive_triggers = ON; ",
        ] {
            for (column, value) in [
                ("position", "1"),
                ("id", "(SELECT id FROM events WHERE position = 1)"),
                ("stream_version", "1"),
            ] {
                for verb in ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"] {
                    attempts.push(
                        pragma.to_owned() + &insert(place, verb, |name| (name == column).then_some(value)),
                    );
                }
            }
            attempts.push(format!(
                "{pragma}UPDATE OR REPLACE events SET position = 1 WHERE position = 2"
            ));
            attempts.push(format!("{pragma}REPLACE INTO log SELECT * FROM log"));
        }
    } else {
        attempts.push("TRUNCATE events".into());
        attempts.push("TRUNCATE events CASCADE".into());
        attempts.push("TRUNCATE log".into());
        attempts.push("SET session_replication_role = replica; DELETE FROM events".into());
    }
    for attempt in attempts {
        let error = place.raw(&attempt).expect_err(&attempt);
        assert!(!error.contains("syntax error"), "{attempt}: {error}");
        assert_eq!(log.head().unwrap().position, Position(2), "{attempt}");
        let after = log.event(Position(1)).unwrap().unwrap();
        assert_eq!(
            (after.id, after.data.get()),
            (before.id, before.data.get()),
            "{attempt}"
        );
    }
    assert_eq!(
        log.append(append_to("a", ExpectedVersion::Any, 1))
            .unwrap()
            .position,
        Position(3)
    );
}

fn the_database_checks_what_it_is_given(place: &Place) {
    let log = two_events(place);
    let refused = |column: &'static str, value: &'static str| {
        let attempt = insert(place, "INSERT", |name| (name == column).then_some(value));
        let error = place.raw(&attempt).expect_err(&attempt);
        assert!(!error.contains("syntax error"), "{attempt}: {error}");
    };
    refused("data", "'{'");
    refused("metadata", "'[]'");
    refused("metadata", "'{}'");
    refused("metadata", "'{\"reason\":null}'");
    refused("metadata", "'{\"reason\":\"too short\"}'");
    refused("metadata", "'{\"reason\":17}'");
    refused("metadata", "'{'");
    refused("position", "4");
    refused("stream_version", "4");
    refused("stream_version", "1");
    refused("stream_type", "'invoice'");
    refused("stream_id", "''");
    refused("schema_version", "0");
    refused(
        "data",
        if place.is_sqlite() {
            "'\"' || hex(zeroblob(600000)) || '\"'"
        } else {
            "'\"' || repeat('x', 1200000) || '\"'"
        },
    );
    let before = if place.is_sqlite() { "1" } else { "'epoch'" };
    refused("recorded_at", before);
    if !place.is_sqlite() {
        refused("data", "'\"\\u0000\"'");
        refused("data", "'\"\\ud800\"'");
        refused("data", "'1e999999'");
    }
    // Without the counter row's word no position is given.
    let uncounted = insert(place, "INSERT", |_| None).replace("UPDATE log SET position = 3; ", "");
    place.raw(&uncounted).expect_err("an insert beyond the counter");
    assert_eq!(log.head().unwrap().position, Position(2));
    place.raw(&insert(place, "INSERT", |_| None)).unwrap();
    assert_eq!(
        log.append(append_to("a", ExpectedVersion::Any, 1))
            .unwrap()
            .position,
        Position(4)
    );
}

fn the_databases_limits_follow_the_configuration(place: &Place) {
    let limits = AppendLimits {
        reason_required: false,
        reason_chars_min: 2,
        ..AppendLimits::default()
    };
    let log = place.open_with(&limits, Clock::system());
    let with = |metadata: &str| {
        request(vec![stream(
            "a",
            ExpectedVersion::Any,
            vec![NewEvent {
                metadata: json(metadata),
                ..event("A", "1")
            }],
        )])
    };
    log.append(with("{}")).unwrap();
    log.append(with(r#"{"reason":"ok"}"#)).unwrap();
    check_invalid(log.append(with(r#"{"reason":"x"}"#)), &["2 to 500"]);
    drop(log);
    let log = place.open();
    check_invalid(log.append(with("{}")), &["reason_required"]);
    place
        .raw(&insert(place, "INSERT", |name| {
            (name == "metadata").then_some("'{}'")
        }))
        .expect_err("the database's own check follows");
}

fn a_newer_schema_is_refused(place: &Place) {
    drop(two_events(place));
    let table = if place.is_sqlite() {
        "_sqlx_migrations"
    } else {
        "log_migrations"
    };
    place
        .raw(&format!(
            "INSERT INTO {table} (version, description, success, checksum, execution_time) VALUES (99999, 'the future', true, 'x', 0)"
        ))
        .unwrap();
    let opened = place
        .try_open(&AppendLimits::default(), Clock::system())
        .map(|log| log.id());
    check_invalid(opened, &["newer version of Lamphouse", "99999"]);
}

fn many_may_open_at_once(place: &Place) {
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| place.open().id())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "one log has one identity: {ids:?}"
    );
}

fn history_says_who_what_why_and_when(place: &Place) {
    let occurred_at = Some("2010-12-01T08:26:00Z".parse().unwrap());
    let log = place.open();
    log.append(request(vec![stream(
        "a",
        ExpectedVersion::Any,
        vec![NewEvent {
            occurred_at,
            ..event("Placed", "{\"n\":7}")
        }],
    )]))
    .unwrap();
    let (when, n) = if place.is_sqlite() {
        ("occurred_at", "data ->> '$.n'")
    } else {
        (
            "to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
            "data ->> 'n'",
        )
    };
    let row = place.text(&format!(
        "SELECT stream_id || '|' || who || '|' || what || '|' || why || '|' || {when} || '|' || ({n}) FROM event_history"
    ));
    assert_eq!(
        row,
        "a|tester|Placed|because a test says so|2010-12-01T08:26:00.000Z|7"
    );
}

fn a_writer_of_another_process_is_noticed(place: &Place) {
    let log = two_events(place);
    let other = place.open();
    let signal = other.signal();
    // What came before it is watched is noticed too.
    let seen = signal.seen();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    other.watch().unwrap();
    other.watch().unwrap();
    assert_ne!(signal.wait(seen, std::time::Duration::from_secs(10)), seen);
    let seen = signal.seen();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    assert_ne!(
        signal.wait(seen, std::time::Duration::from_secs(10)),
        seen,
        "the other host hears of it"
    );
    assert_eq!(other.head().unwrap().position, Position(4));
    let mine = log.signal();
    let seen = mine.seen();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    assert_ne!(mine.seen(), seen, "in this process, right after the commit");
}

/// Tables and columns, without the types, which differ by nature.
#[test]
fn both_databases_describe_the_same_log() {
    let Some(postgres) = Place::postgres("both_databases_describe_the_same_log") else {
        return;
    };
    let sqlite = Place::sqlite();
    drop((sqlite.open(), postgres.open()));
    let in_sqlite = sqlite.text(
        "SELECT group_concat(line, char(10)) FROM (SELECT m.name || '.' || c.name || \
         CASE WHEN c.\"notnull\" OR c.pk THEN ' not null' ELSE '' END AS line \
         FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
         WHERE m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' AND m.type IN ('table', 'view') \
         ORDER BY m.name, c.cid)",
    );
    let in_postgres = postgres.text(
        "SELECT string_agg(table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END, \
         E'\\n' ORDER BY table_name COLLATE \"C\", ordinal_position) FROM information_schema.columns \
         WHERE table_schema = 'lamphouse' AND table_name <> 'log_migrations'",
    );
    assert_eq!(in_sqlite, in_postgres);
    for table in ["events", "log", "idempotency", "import_cursors", "event_history"] {
        assert!(in_sqlite.contains(&format!("{table}.")), "{in_sqlite}");
    }
}

#[test]
fn lamphouse_append_is_an_append_of_the_callers_transaction() {
    use sqlx::Connection as _;
    let Some(place) = Place::postgres("lamphouse_append_is_an_append_of_the_callers_transaction") else {
        return;
    };
    let log = place.open();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    let call = |rest: &str| {
        format!(
            "SELECT lamphouse.append('a', 'order', 'A', '{{\"n\":1}}', '{{\"reason\":\"long enough\"}}'{rest})"
        )
    };
    let code = |error: sqlx::Error| {
        error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()))
    };
    let mut connection = place.pg();
    let mut position = |sql: String| {
        place.block_on(async {
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql))
                .fetch_one(&mut connection)
                .await
                .map_err(code)
        })
    };
    assert_eq!(position(call("")), Ok(2));
    assert_eq!(
        position(call(", expected_version => 1")),
        Err(Some("LH409".into()))
    );
    assert_eq!(
        position(call(", expected_version => 2, idempotency_key => 'k'")),
        Ok(3)
    );
    assert_eq!(
        position(call(", expected_version => 2, idempotency_key => 'k'")),
        Ok(3),
        "the first answer"
    );
    assert_eq!(
        position(call(", idempotency_key => 'k'")),
        Err(Some("LH422".into()))
    );
    assert_eq!(
        position(call("").replace("'order'", "'invoice'")),
        Err(Some("23514".into()))
    );
    assert_eq!(
        position(call("").replace("long enough", "short")),
        Err(Some("23514".into()))
    );
    assert_eq!(
        position(call("").replace("'a'", "E'a\\n'")),
        Err(Some("23514".into()))
    );
    let nest = |depth: usize| {
        call("").replace(
            "{\"n\":1}",
            &format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        )
    };
    assert_eq!(position(nest(129)), Err(Some("23514".into())));
    assert_eq!(position(nest(128)), Ok(4));

    // The event is there if and only if the caller commits; the host's appends wait their turn, and no gap is left.
    place.block_on(async {
        let mut connection = place.options().connect().await.unwrap();
        let mut open = connection.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(call("")))
            .execute(&mut *open)
            .await
            .unwrap();
        open.rollback().await.unwrap();
    });
    let answer = log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    assert_eq!((answer.position, answer.streams[0].version.0), (Position(5), 5));

    // A key is one key, whoever uses it.
    let same = AppendRequest {
        streams: vec![stream(
            "b",
            ExpectedVersion::NoStream,
            vec![NewEvent {
                metadata: json("{\"reason\": \"long enough\"}"),
                ..event("A", "{\"n\": 1}")
            }],
        )],
        idempotency: Some(IdempotencyKey {
            scope: "sql".into(),
            key: "shared".into(),
        }),
    };
    assert_eq!(
        position(call(", expected_version => 0, idempotency_key => 'shared'").replace("'a'", "'b'")),
        Ok(6)
    );
    let answer = log.append(same).unwrap();
    assert!(answer.repeated);
    assert_eq!((answer.position, answer.streams[0].version.0), (Position(6), 1));
}

#[test]
fn a_service_appends_without_rights_on_the_tables() {
    let Some(place) = Place::postgres("a_service_appends_without_rights_on_the_tables") else {
        return;
    };
    let log = place.open();
    let role = format!("lamphouse_{}", Uuid::new_v4().simple());
    let as_service = |sql: &str| place.raw(&format!("SET ROLE {role}; {sql}"));
    let append = "SELECT lamphouse.append('a', 'order', 'A', '1', '{\"reason\":\"long enough\"}')";
    place
        .raw(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA lamphouse TO {role}"
        ))
        .unwrap();
    let refused = as_service(append);
    place
        .raw(&format!("GRANT EXECUTE ON FUNCTION lamphouse.append TO {role}"))
        .unwrap();
    let appended = as_service(append);
    let written = as_service("UPDATE lamphouse.log SET position = position + 1");
    place
        .raw(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .unwrap();
    assert!(refused.unwrap_err().contains("permission denied"));
    appended.unwrap();
    assert!(written.unwrap_err().contains("permission denied"));
    assert_eq!(log.head().unwrap().position, Position(1));
}

/// A server that shuts our connections down, as a restart does.
#[test]
fn lost_connections_are_made_again() {
    let Some(place) = Place::postgres("lost_connections_are_made_again") else {
        return;
    };
    let log = place.open();
    let mut reader = log.reader(crate::core::EventFilter::default()).unwrap();
    let mut batch = crate::core::EventBatch::default();
    log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
    reader
        .read(Position::START, log.head().unwrap(), 10, 1 << 20, &mut batch)
        .unwrap();
    for round in 0..3 {
        place
            .raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            .unwrap();
        let answer = log.append(append_to("a", ExpectedVersion::Any, 1)).unwrap();
        assert_eq!(answer.position, Position(2 + round));
        let head = loop {
            match log.head() {
                Ok(head) => break head,
                Err(LogError::Unavailable(_)) => {}
                Err(other) => panic!("{other}"),
            }
        };
        let mut tries = 0;
        while let Err(error) = reader.read(Position(1), head, 10, 1 << 20, &mut batch) {
            assert!(matches!(error, LogError::Unavailable(_)), "{error}");
            tries += 1;
            assert!(tries < 3);
        }
        assert_eq!(batch.len() as u64, 1 + round);
    }
    let signal = log.signal();
    let seen = signal.seen();
    log.watch().unwrap();
    place
        .raw("SELECT lamphouse.append('z', 'order', 'A', '1', '{\"reason\":\"long enough\"}')")
        .unwrap();
    assert_ne!(signal.wait(seen, std::time::Duration::from_secs(10)), seen);
}

#[test]
fn clear_errors_for_places_that_are_not_there() {
    let place = Place::sqlite();
    let folder = place.folder.as_ref().unwrap().path().to_owned();
    let open = |url: DatabaseUrl| {
        crate::log::open(
            &url,
            &AppendLimits::default(),
            Clock::system(),
            place.runtime.handle().clone(),
        )
        .map(|log| log.id())
        .unwrap_err()
        .to_string()
    };
    let message = open(DatabaseUrl::Sqlite(folder.join("missing/log.db")));
    assert!(message.contains("missing does not exist"), "{message}");
    std::fs::write(
        folder.join("text.db"),
        "this is no database, and it is long enough to be looked at".repeat(40),
    )
    .unwrap();
    let message = open(DatabaseUrl::Sqlite(folder.join("text.db")));
    assert!(message.contains("not an event log"), "{message}");
    let message = open(DatabaseUrl::Postgres(
        "postgres://nobody:secret@127.0.0.1:1/none".to_owned(),
    ));
    assert!(
        message.contains("127.0.0.1:1") && message.contains("is the server running"),
        "{message}"
    );
    assert!(!message.contains("secret"), "{message}");
}
