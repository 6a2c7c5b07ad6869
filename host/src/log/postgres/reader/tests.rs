//! Which plan the server makes for what a reader asks.

use std::sync::Arc;

use lamphouse_contract::Subscription;
use lamphouse_contract::fields::{Field, FieldKind, Plan};

use sqlx::Executor as _;

use super::*;
use crate::config::DatabaseUrl;
use crate::log::conformance::{Place, filled_unevenly};

fn filter(types: &[&str]) -> EventFilter {
    EventFilter {
        any_of: types
            .iter()
            .map(|name| Subscription {
                event_type: Some((*name).to_owned()),
                stream_type: None,
                schema_versions: vec![],
            })
            .collect(),
        ..EventFilter::default()
    }
}

#[test]
fn the_index_serves_rare_types_and_nothing_else() {
    let Some(place) = Place::postgres("the_index_serves_rare_types_and_nothing_else") else {
        return;
    };
    let (log, _) = filled_unevenly(&place);
    let DatabaseUrl::Postgres(url) = &place.url else {
        panic!("not PostgreSQL")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::new(url, runtime.handle().clone()).unwrap();
    let reader = |types: &[&str]| {
        PostgresReader::new(
            server.clone(),
            &filter(types),
            Ranges::default(),
            Measures::default(),
        )
    };

    for types in [&["Rare", "Nothing"][..], &["Rare"]] {
        let way = reader(types).way(Position::START, Position(6_000)).unwrap();
        assert_eq!(way, (Position(6_000), Some(vec![100, 2_000, 5_900])), "{types:?}");
    }
    for types in [&["Often"][..], &["Rare", "Common"]] {
        let way = reader(types).way(Position::START, Position(6_000)).unwrap();
        assert_eq!(way, (Position(6_000), None), "{types:?}");
    }

    // As it is, and when the server knows how often each type comes.
    for analysis in ["", "ANALYZE lamphouse.events"] {
        place.raw(analysis).unwrap();
        let plan = |types: &str, sql: &str, values: &str| {
            let prepare = format!("PREPARE asked{types} AS {sql}");
            let explain = format!("EXPLAIN (COSTS OFF) EXECUTE asked{values}");
            let explained = if values.is_empty() {
                format!("EXPLAIN (COSTS OFF) {sql}")
            } else {
                explain
            };
            let lines: Vec<String> = runtime.block_on(async {
                let mut connection = server.connect().await.unwrap();
                if !values.is_empty() {
                    connection.execute(AssertSqlSafe(prepare)).await.unwrap();
                }
                sqlx::query_scalar(AssertSqlSafe(explained))
                    .persistent(false)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            });
            lines.join("\n")
        };
        let looked_up = plan("", LOOK_UP, "(0, 6000, 2000, '{Rare,Nothing}')");
        assert!(
            looked_up.contains("using events_by_type on events e")
                && looked_up.contains("Index Cond: ((ROW(event_type, \"position\") > ROW(")
                && !looked_up.contains("Filter"),
            "{looked_up}"
        );
        let by_position = |plan: String| {
            assert!(
                plan.contains("Index Scan using events_pkey") && !plan.contains("events_by_type"),
                "{plan}"
            );
        };
        for types in [&["Rare"][..], &["Common"], &["Rare", "Often"]] {
            let reader = reader(types);
            let condition = &reader.live.0;
            let (names, of_types) = (
                types.iter().map(|name| format!(", '{name}'")).collect::<String>(),
                ", text".repeat(types.len()),
            );
            by_position(plan(
                &format!("(bigint, bigint, bigint{of_types})"),
                &live(condition),
                &format!("(0, 6000, 100{names})"),
            ));
            by_position(plan(
                &format!("(bigint[], bigint, bigint{of_types})"),
                &fetched(condition),
                &format!("('{{100,2000}}', 6000, 100{names})"),
            ));
            by_position(plan(
                "",
                &copied(Columns::ALL, Position::START, Position(6_000), &reader.literal),
                "",
            ));
        }
    }
    drop(log);
}

/// A question for each event of a large range would take longer than the range.
#[test]
fn events_that_are_not_as_declared_are_asked_for_one_by_one_only_so_often() {
    let Some(place) =
        Place::postgres("events_that_are_not_as_declared_are_asked_for_one_by_one_only_so_often")
    else {
        return;
    };
    let (log, events) = filled_unevenly(&place);
    let DatabaseUrl::Postgres(url) = &place.url else {
        panic!("not PostgreSQL")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::new(url, runtime.handle().clone()).unwrap();
    let filter = filter(&["Often", "Common"]);
    let mut plan = Plan::default();
    for event_type in ["Often", "Common"] {
        // Their data are texts.
        let field = Field {
            path: "/data",
            kind: FieldKind::Integer,
        };
        plan.add(event_type, [field]).unwrap();
    }
    let mut reader = PostgresReader::new(server, &filter, Ranges::default(), Measures::default());
    let mut batch = EventBatch::with_fields(Some(Arc::new(plan))).lean(&filter);
    reader
        .read(
            Position::START,
            log.head().unwrap(),
            10_000,
            usize::MAX,
            &mut batch,
        )
        .unwrap();
    assert_eq!(batch.len(), events.len() - 3, "all but the rare ones");
    assert_eq!(reader.read_again, READ_AGAIN_MAX);
}
