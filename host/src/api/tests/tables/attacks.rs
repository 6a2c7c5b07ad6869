//! SQL by every way into a request: what comes back is refused or harmless, and the tables are as before.

use super::{Host, on_each};

const PAYLOADS: &[&str] = &[
    "'",
    "\"",
    "';--",
    "' OR '1'='1",
    "\" OR \"1\"=\"1",
    "1 OR 1=1",
    "1; DROP TABLE people",
    "x'; DROP TABLE people; --",
    "\"; DROP TABLE people; --",
    "people\"; DELETE FROM people; --",
    ") UNION SELECT * FROM lamphouse_plugins --",
    "1) UNION SELECT name,sql FROM sqlite_schema --",
    "1 UNION SELECT usename,passwd FROM pg_shadow",
    "(SELECT pg_sleep(10))",
    "1;SELECT pg_sleep(10)--",
    "' || pg_sleep(10) || '",
    "$1",
    "?1",
    ":id",
    "@@version",
    "/**/",
    "%27%20OR%201=1",
    "\\'; --",
    "\\",
    "$$; DROP TABLE people; $$",
    "E'\\x27'",
    "ＯＲ １＝１",
    "ʼ; DROP TABLE people; --",
    "id) FROM people; --",
    "id, (SELECT count(*) FROM people)",
    "CASE WHEN 1=1 THEN id ELSE name END",
    "lamphouse_like('%', name, 1)",
    "load_extension('x')",
    "../../etc/passwd",
    "null",
    "NULL) OR (1=1",
];

/// A query with the payload at each place where something can stand.
fn queries(payload: &str) -> Vec<String> {
    let mut all = Vec::new();
    for column in ["id", "name", "price", "active", "born", "data", "doc"] {
        for operator in ["eq", "neq", "gt", "lt", "like", "ilike", "is", "not.eq"] {
            all.push(format!("{column}={operator}.{payload}"));
        }
        all.push(format!("{column}={payload}"));
        all.push(format!("{column}={payload}.1"));
        all.push(format!("{column}=not.{payload}.1"));
        all.push(format!("{column}=in.({payload})"));
        all.push(format!("{column}=in.(\"{payload}\")"));
        all.push(format!("{column}=in.(1,{payload}"));
        all.push(format!("and=({column}.eq.{payload})"));
        all.push(format!(
            "or=(id.eq.1,not.and({column}.neq.\"{payload}\",id.lt.5))"
        ));
    }
    for place in [
        "select=P",
        "select=id,P",
        "select=P:id",
        "select=\"P\":id",
        "select=id:P",
        "order=P",
        "order=id.P",
        "order=id.desc.P",
        "order=id,P",
        "limit=P",
        "offset=P",
        "limit=1P",
        "min_position=P",
        "min_position_wait_ms=P",
        "and=P",
        "or=(P)",
        "not.and=(P)",
        "not.or=(id.eq.1,P)",
        "and=(P.eq.1)",
        "and=(id.P.1)",
        "P=eq.1",
        "P=P",
        "P",
        "id.P=eq.1",
        "people.id=eq.1&P=in.(1)",
        "columns=P",
        "on_conflict=P",
    ] {
        all.push(place.replace('P', payload));
    }
    all
}

#[test]
fn no_parameter_takes_sql() {
    on_each(|host, filled| {
        let before = state(host);
        for payload in PAYLOADS {
            // What parts a query would part the payload too.
            let payload = payload.replace('&', "");
            for query in queries(&payload) {
                let answer = host.read(&format!("/v1/tables/people?{query}"));
                check(&query, answer.status, &answer.body);
            }
            for table in [
                payload.clone(),
                format!("people{payload}"),
                format!("people\"{payload}"),
            ] {
                let path = table.replace(['/', '?'], "_");
                let answer = host.read(&format!("/v1/tables/{path}"));
                assert!(
                    matches!(answer.status, 400 | 404),
                    "{path}: {} {}",
                    answer.status,
                    answer.body
                );
                check(&path, answer.status, &answer.body);
            }
            if !payload.is_ascii() {
                continue;
            }
            for header in [
                "Range",
                "Range-Unit",
                "Prefer",
                "Accept",
                "If-None-Match",
                "Lamphouse-Min-Position",
                "Accept-Profile",
            ] {
                let answer = host.ask(
                    "GET",
                    "/v1/tables/people?select=id",
                    &[(header, payload.as_str())],
                );
                check(header, answer.status, &answer.body);
            }
        }
        assert_eq!(state(host), before, "on {}", filled.name);
        // A value that looks like SQL is a value: it finds the row that has it.
        let found = host.read("/v1/tables/people?select=id&name=eq.O'Brien; DROP TABLE people; --");
        assert_eq!(found.ids(), [4]);
    });
}

/// Refused, or rows: never a failure, and never a word of the database's own or of what is not public.
fn check(what: &str, status: u16, body: &str) {
    assert!(
        matches!(status, 200 | 206 | 304 | 400 | 404 | 406 | 414 | 416),
        "{what}: {status} {body}"
    );
    if status == 200 {
        for secret in ["CREATE TABLE", "sqlite_autoindex", "SCRAM", "descriptor"] {
            assert!(!body.contains(secret), "{what}: {body}");
        }
    } else {
        for word in ["SQLSTATE", "syntax error", "unrecognized token", "near \""] {
            assert!(!body.contains(word), "{what}: {body}");
        }
    }
}

#[test]
fn a_value_that_is_no_row_finds_none_and_one_that_is_finds_it_alone() {
    on_each(|host, _| {
        for payload in PAYLOADS {
            let equal = host.read(&format!("/v1/tables/people?select=id&name=eq.{payload}"));
            let expected: &[i64] = if *payload == "null" { &[8] } else { &[] };
            assert_eq!(equal.ids(), expected, "{payload}");
            let quoted = payload.replace('\\', "\\\\").replace('"', "\\\"");
            let within = host.read(&format!(
                "/v1/tables/people?select=id&or=(name.eq.\"{quoted}\",id.eq.9)"
            ));
            let expected: &[i64] = if *payload == "null" { &[8, 9] } else { &[9] };
            assert_eq!(within.ids(), expected, "{payload}");
        }
    });
}

fn state(host: &Host) -> (String, String) {
    (host.read("/v1/tables/people").body, host.read("/v1/tables").body)
}
