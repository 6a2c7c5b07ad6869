//! How rows go out, and what is said when they do not.

use serde_json::json;

use super::on_each;

#[test]
fn all_cells_are_the_same_on_both_databases() {
    let mut bodies = Vec::new();
    on_each(|host, _| {
        let body = |accept| host.ask("GET", "/v1/tables/people", &[("Accept", accept)]).body;
        let (json, csv) = (body("application/json"), body("text/csv"));
        let first: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            first[0],
            json!({"id": 1, "name": "Ada", "note": "plain", "age": 36, "big": "9223372036854775807", "ratio": 0.5,
                "price": "1.50", "active": true, "born": "1815-12-10T00:00:00.000000Z", "data": "AP8=", "doc": {"a": 1},
                "select": "x", "order": 1, "and": "p", "not": 1})
        );
        let mut lines = csv.split("\r\n");
        assert_eq!(
            lines.next(),
            Some("id,name,note,age,big,ratio,price,active,born,data,doc,select,order,and,not")
        );
        assert_eq!(lines.nth(5), Some("6,,,,6,,,,,,,,6,,"));
        assert!(
            json.starts_with("[{\"id\":1,\"name\":\"Ada\",\"note\":"),
            "{json}"
        );
        BODIES.with(|bodies| bodies.borrow_mut().push((json, csv)));
    });
    BODIES.with(|seen| bodies.extend(seen.borrow_mut().drain(..)));
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:#?}");
}

thread_local! {
    static BODIES: std::cell::RefCell<Vec<(String, String)>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn columns_come_in_the_order_and_by_the_names_that_are_asked_for() {
    on_each(|host, _| {
        let body = host
            .read("/v1/tables/people?select=price,\"the id\":id,id&limit=1")
            .body;
        assert_eq!(body, r#"[{"price":"1.50","the id":1,"id":1}]"#);
        let all = host.read("/v1/tables/people?select=*,again:id&limit=1").json();
        let names: Vec<&String> = all[0].as_object().unwrap().keys().collect();
        assert_eq!(
            (names.len(), names[15].as_str(), &all[0]["again"]),
            (16, "again", &json!(1))
        );
    });
}

#[test]
fn ranges_and_counts_are_told_as_postgrest_does() {
    on_each(|host, _| {
        let ask = |query: &str, headers: &[(&str, &str)]| {
            let answer = host.ask("GET", &format!("/v1/tables/people?select=id&{query}"), headers);
            let header = |name| answer.header(name).unwrap_or("-").to_owned();
            (
                answer.status,
                header("content-range"),
                header("lamphouse-next-offset"),
            )
        };
        let told = |status, range: &str, next: &str| (status, range.to_owned(), next.to_owned());
        let counted = ("Prefer", "count=exact");
        assert_eq!(ask("", &[]), told(200, "0-8/*", "-"));
        assert_eq!(ask("", &[counted]), told(200, "0-8/9", "-"));
        assert_eq!(ask("limit=4", &[]), told(200, "0-3/*", "4"));
        assert_eq!(ask("limit=4", &[counted]), told(206, "0-3/9", "4"));
        assert_eq!(ask("limit=4&offset=8", &[counted]), told(206, "8-8/9", "-"));
        assert_eq!(
            ask("", &[("Range", "2-4"), ("Range-Unit", "items")]),
            told(200, "2-4/*", "5")
        );
        assert_eq!(
            ask("age=gt.18", &[("Range", "0-0"), ("Prefer", "count=planned")]),
            told(206, "0-0/4", "1")
        );
        assert_eq!(ask("offset=9", &[counted]), told(206, "*/9", "-"));
        assert_eq!(ask("offset=10", &[counted]), told(416, "*/9", "-"));
        assert_eq!(ask("offset=10", &[]), told(200, "*/*", "-"));
        assert_eq!(ask("name=eq.nobody", &[counted]), told(200, "*/0", "-"));
        assert_eq!(ask("", &[("Range", "4-2")]).0, 416);
        assert_eq!(ask("", &[("Range", "x")]).0, 400);
        let answer = host.ask("GET", "/v1/tables/people", &[counted]);
        assert_eq!(answer.header("preference-applied"), Some("count=exact"));
        assert_eq!(answer.header("range-unit"), Some("items"));
    });
}

#[test]
fn one_object_is_one_row_or_nothing() {
    on_each(|host, _| {
        let form = [("Accept", "application/vnd.pgrst.object+json")];
        let one = host.ask("GET", "/v1/tables/people?select=id,name&id=eq.3", &form);
        assert_eq!((one.status, one.body.as_str()), (200, r#"{"id":3,"name":"Åse"}"#));
        assert_eq!(
            one.header("content-type"),
            Some("application/vnd.pgrst.object+json")
        );
        for (query, count) in [("id=gt.7", "has 2"), ("id=eq.99", "has none")] {
            let none = host.ask("GET", &format!("/v1/tables/people?{query}"), &form);
            assert!(
                none.status == 406 && none.detail().contains(count),
                "{}",
                none.body
            );
        }
        assert_eq!(
            host.ask("GET", "/v1/tables/people", &[("Accept", "text/html")])
                .status,
            406
        );
    });
}

#[test]
fn an_answer_says_what_it_reflects_and_is_not_sent_twice() {
    on_each(|host, filled| {
        let answer = host.read("/v1/tables/people?id=eq.1");
        let generation = filled.generation.id.0.to_string();
        assert_eq!(answer.header("lamphouse-position"), Some("1"));
        assert_eq!(answer.header("lamphouse-generation"), Some(generation.as_str()));
        assert_eq!(answer.header("lamphouse-projection"), Some("shop"));
        assert_eq!(answer.header("lamphouse-parked-events"), None);
        let tag = answer.header("etag").unwrap().to_owned();
        let known = [("If-None-Match", tag.as_str())];
        let again = host.ask("GET", "/v1/tables/people?id=eq.1", &known);
        assert_eq!(
            (again.status, again.body.as_str(), again.header("etag")),
            (304, "", Some(tag.as_str()))
        );
        assert_eq!(again.header("lamphouse-position"), Some("1"));
        let csv = [known[0], ("Accept", "text/csv")];
        assert_eq!(host.ask("GET", "/v1/tables/people?id=eq.1", &csv).status, 200);
        assert_eq!(host.ask("GET", "/v1/tables/people?id=eq.2", &known).status, 200);
        filled.advance(1, 2);
        assert_eq!(host.ask("GET", "/v1/tables/people?id=eq.1", &known).status, 200);
        let head = host.ask("HEAD", "/v1/tables/people?id=eq.1", &[]);
        assert_eq!(
            (head.status, head.body.as_str(), head.header("content-range")),
            (200, "", Some("0-0/*"))
        );
    });
}

#[test]
fn the_list_has_tables_with_their_columns() {
    on_each(|host, filled| {
        let list = host.read("/v1/tables").json();
        let [table] = &list["tables"].as_array().unwrap()[..] else {
            panic!("{list}");
        };
        assert_eq!(
            (
                &table["name"],
                &table["projection"],
                &table["position"],
                &table["parked_events"]
            ),
            (&json!("people"), &json!("shop"), &json!(1), &json!(0))
        );
        assert_eq!(table["generation"], json!(filled.generation.id.0));
        assert_eq!(table["primary_key"], json!(["id"]));
        assert_eq!(
            table["columns"][0],
            json!({"name": "id", "kind": "integer", "nullable": false})
        );
        assert_eq!(
            table["columns"][6],
            json!({"name": "price", "kind": "decimal", "scale": 2, "nullable": true})
        );
        assert_eq!(host.read("/v1/tables?select=name").status, 400);
    });
}

#[test]
fn a_wrong_request_is_told_what_is_wrong() {
    on_each(|host, _| {
        for (path, status, words) in [
            ("/v1/tables/persons", 404, "there are: people"),
            ("/v1/tables/People", 404, "there are: people"),
            ("/v1/tables/people?salary=gt.1", 400, "it has: id, name, note"),
            ("/v1/tables/people?select=salary", 400, "it has: id"),
            ("/v1/tables/people?order=salary", 400, "it has: id"),
            (
                "/v1/tables/people?age=gt.old",
                400,
                "column 'age' is integer and takes whole numbers",
            ),
            ("/v1/tables/people?age=eq.null", 400, "found by is.null"),
            ("/v1/tables/people?price=in.(1,2,x)", 400, "decimal(2)"),
            ("/v1/tables/people?age=36", 400, "as in age=eq.36"),
            ("/v1/tables/people?age=fts.36", 400, "the operators are eq, neq"),
            ("/v1/tables/people?name=is.true", 400, "only boolean columns"),
            (
                "/v1/tables/people?age=like.3*",
                400,
                "'like' and 'ilike' are for text",
            ),
            ("/v1/tables/people?name=like.a\\", 400, "lone \\"),
            (
                &format!("/v1/tables/people?name=like.{}", "x".repeat(1_001)),
                400,
                "at most 1000 bytes",
            ),
            ("/v1/tables/people?limit=1001", 400, "rows_max under [query]"),
            ("/v1/tables/people?select=id,id", 400, "are called 'id'"),
            ("/v1/tables/people?and=(id.eq.1", 400, "missing"),
            ("/v1/tables/people?select=id::text", 400, "casts"),
        ] {
            let answer = host.read(path);
            assert!(
                answer.status == status && answer.detail().contains(words),
                "{path}: {} {}",
                answer.status,
                answer.body
            );
        }
        let long = format!("/v1/tables/people?name=eq.{}", "x".repeat(17_000));
        assert_eq!(host.read(&long).status, 414);
        let strict = [("Prefer", "handling=strict, tx=rollback")];
        assert_eq!(host.ask("GET", "/v1/tables/people", &strict).status, 400);
    });
}
