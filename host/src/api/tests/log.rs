//! Appends and reads.

use serde_json::{Value, json};

use super::Host;

impl Host {
    pub(super) fn agent() -> ureq::Agent {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        let request = Self::agent().get(self.url(path));
        let mut answer = request
            .header("Authorization", self.token.bearer())
            .call()
            .expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().expect("JSON"),
        )
    }

    pub(super) fn append(&self, key: Option<&str>, body: &Value) -> (u16, Value) {
        let mut request = Self::agent()
            .post(self.url("/v1/append"))
            .header("Authorization", self.token.bearer());
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let mut answer = request.send_json(body).expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().expect("JSON"),
        )
    }
}

pub(super) fn event(event_type: &str, data: &Value) -> Value {
    json!({"event_type": event_type, "data": data, "metadata": {"reason": "appended by a test"}})
}

pub(super) fn stream(id: &str, expected: &Value, events: &[Value]) -> Value {
    json!({"stream_id": id, "stream_type": "order", "expected_version": expected, "events": events})
}

pub(super) fn one(id: &str, event_type: &str) -> Value {
    json!({"streams": [stream(id, &json!("any"), &[event(event_type, &json!({}))])]})
}

#[test]
fn what_is_appended_is_read_in_order_and_to_the_letter() {
    let host = Host::start();
    let placed = event(
        "OrderPlaced",
        &json!({"total": "12.50", "big": 9_007_199_254_740_993_i64}),
    );
    let body = json!({"streams": [
        stream("order-1", &json!("no-stream"), &[placed, event("OrderPaid", &json!({}))]),
        stream("order-2", &json!("any"), &[event("OrderPlaced", &json!([1]))]),
    ]});
    let (status, appended) = host.append(None, &body);
    assert_eq!(
        (status, appended),
        (
            200,
            json!({"position": 3, "repeated": false, "streams": [
                {"stream_id": "order-1", "version": 2}, {"stream_id": "order-2", "version": 1}]})
        )
    );
    let (status, all) = host.get("/v1/events");
    assert_eq!(
        (status, &all["head"], &all["next"]),
        (200, &json!(3), &Value::Null)
    );
    let positions: Vec<&Value> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["position"])
        .collect();
    assert_eq!(positions, [&json!(1), &json!(2), &json!(3)]);
    assert_eq!(
        all["events"][0]["data"],
        json!({"total": "12.50", "big": 9_007_199_254_740_993_i64})
    );

    let (_, some) = host.get("/v1/events?event_type=OrderPlaced&backward=true&limit=1");
    assert_eq!(
        (&some["events"][0]["position"], &some["next"]),
        (&json!(3), &json!(3))
    );
    let (_, rest) = host.get("/v1/events?event_type=OrderPlaced&backward=true&limit=1&after=3");
    assert_eq!(
        (&rest["events"][0]["position"], &rest["next"]),
        (&json!(1), &Value::Null)
    );

    let (status, stream) = host.get("/v1/streams/order-1?limit=1");
    assert_eq!(
        (
            status,
            &stream["version"],
            &stream["stream_type"],
            &stream["next"]
        ),
        (200, &json!(2), &json!("order"), &json!(1))
    );
    let (_, past) = host.get("/v1/streams/order-1?after=2");
    assert_eq!((&past["version"], &past["events"]), (&json!(2), &json!([])));
    assert_eq!(host.get("/v1/streams/order-3").0, 404);
}

#[test]
fn a_conflict_says_what_is_there_and_appends_nothing() {
    let host = Host::start();
    assert_eq!(host.append(None, &one("order-1", "OrderPlaced")).0, 200);
    let body = json!({"streams": [
        stream("order-2", &json!("any"), &[event("OrderPlaced", &json!({}))]),
        stream("order-1", &json!(7), &[event("OrderPaid", &json!({}))]),
    ]});
    let (status, problem) = host.append(None, &body);
    assert_eq!(
        (
            status,
            &problem["stream_id"],
            &problem["expected"],
            &problem["actual"]
        ),
        (409, &json!("order-1"), &json!("7"), &json!(1)),
        "{problem}"
    );
    assert_eq!(host.get("/v1/events").1["head"], json!(1));
}

#[test]
fn a_repeated_append_adds_nothing_and_another_one_under_its_key_is_refused() {
    let host = Host::start();
    let first = host.append(Some("job-17"), &one("order-1", "OrderPlaced")).1;
    let again = host.append(Some("job-17"), &one("order-1", "OrderPlaced")).1;
    assert_eq!(
        (&first["repeated"], &again["repeated"], &again["position"]),
        (&json!(false), &json!(true), &first["position"])
    );
    let (status, problem) = host.append(Some("job-17"), &one("order-1", "OrderPaid"));
    assert_eq!(
        (status, &problem["idempotency_key"]),
        (422, &json!("job-17")),
        "{problem}"
    );
    assert_eq!(host.get("/v1/events").1["head"], json!(1));
}

#[test]
fn a_wrong_request_is_told_what_is_wrong_and_where() {
    let host = Host::start();
    let mut no_reason = one("order-1", "OrderPlaced");
    no_reason["streams"][0]["events"][0]["metadata"] = json!({});
    let mut misspelt = one("order-1", "OrderPlaced");
    misspelt["streams"][0]["events"][0]["dta"] = json!({});
    let mut version = one("order-1", "OrderPlaced");
    version["streams"][0]["expected_version"] = json!("none");
    for (body, words) in [
        (no_reason, "reason"),
        (misspelt, "streams[0].events[0]"),
        (version, "expected_version is \"any\""),
        (json!({"streams": []}), "names no stream"),
        (json!({}), "missing field `streams`"),
        (json!([]), "the body is not an append"),
    ] {
        let (status, problem) = host.append(None, &body);
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(status == 400 && detail.contains(words), "{status} {detail}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=-1",
        "after=9007199254740992",
        "recorded_from=today",
        "order=asc",
        "backward=perhaps",
    ] {
        let (status, problem) = host.get(&format!("/v1/events?{query}"));
        assert_eq!(status, 400, "{query}: {problem}");
    }
    let large = format!("{{\"streams\": [{}]}}", " ".repeat(1 << 20));
    let mut answer = Host::agent()
        .post(host.url("/v1/append"))
        .header("Authorization", host.token.bearer())
        .content_type("application/json")
        .send(&large)
        .expect("an answer");
    let problem: Value = answer.body_mut().read_json().expect("JSON");
    assert_eq!(problem["status"], json!(413));
    assert_eq!(host.get("/v1/events").1["head"], json!(0));
}

#[test]
fn a_page_ends_before_it_is_too_large() {
    let host = Host::start();
    let long = "x".repeat(900 << 10);
    for number in 1..=20 {
        let id = format!("note-{number}");
        let body = json!({"streams": [stream(&id, &json!("any"), &[event("Noted", &json!(long))])]});
        assert_eq!(host.append(None, &body).0, 200);
    }
    let (mut seen, mut pages, mut after) = (0, 0, json!(0));
    while !after.is_null() {
        let (_, page) = host.get(&format!("/v1/events?after={after}"));
        seen += page["events"].as_array().expect("events").len();
        after = page["next"].clone();
        pages += 1;
    }
    assert_eq!((seen, pages), (20, 3));
}

#[test]
fn the_document_names_every_route() {
    let host = Host::start();
    let (status, document) = host.get("/v1/openapi.json");
    assert_eq!(status, 200);
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(
        paths,
        [
            "/healthz",
            "/metrics",
            "/readyz",
            "/v1/append",
            "/v1/asyncapi.json",
            "/v1/catalog",
            "/v1/catalog/{event_type}/{schema_version}",
            "/v1/changes",
            "/v1/dead-letters",
            "/v1/dead-letters/{projection}/discard",
            "/v1/dead-letters/{projection}/retry",
            "/v1/dead-letters/{projection}/{event}",
            "/v1/discards",
            "/v1/events",
            "/v1/explain/{event}",
            "/v1/plugins",
            "/v1/plugins/{name}",
            "/v1/projections",
            "/v1/projections/{name}",
            "/v1/projections/{name}/diff",
            "/v1/projections/{name}/{verb}",
            "/v1/status",
            "/v1/streams/{stream_id}",
            "/v1/streams/{stream_id}/state",
            "/v1/tables",
            "/v1/tables/{table}"
        ]
    );
}
