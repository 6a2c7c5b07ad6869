//! Projections and dead letters.

use serde_json::{Value, json};

use super::Host;
use crate::deploy::operator::Verb;

impl Host {
    /// Sends a body of a type to a path; gives the status and the whole answer.
    fn post(&self, path: &str, kind: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let kind = match kind {
            "" => String::new(),
            kind => format!("Content-Type: {kind}\n"),
        };
        self.raw(&format!(
            "POST {path} HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nConnection: close\n{kind}Content-Length: {length}\n\n{body}"
        ))
    }

    fn asked(&self) -> Vec<Verb> {
        self.operator
            .asked
            .lock()
            .iter()
            .map(|(_, verb)| verb.clone())
            .collect()
    }
}

#[test]
fn an_order_is_a_path_and_may_have_a_body_in_json() {
    let host = Host::start();
    let path = "/v1/projections/orders/rebuild";
    assert_eq!(host.post(path, "", "").0, 200, "nothing more is to be said");
    assert_eq!(host.post(path, "application/json", "{}").0, 200);
    assert_eq!(host.post(path, "application/json", "null").0, 200);
    assert_eq!(
        host.post(
            path,
            "application/json; charset=utf-8",
            r#"{"reason":"the ledger differs"}"#
        )
        .0,
        200
    );
    assert_eq!(host.asked(), vec![Verb::Rebuild; 4]);
    assert_eq!(host.post(path, "text/plain", "{}").0, 415);
    assert_eq!(host.post(path, "", "{}").0, 415);
    assert_eq!(host.post(path, "application/json", r#"{"reasn":"x"}"#).0, 400);
    assert_eq!(host.post(path, "application/json", r#"{"reason":"#).0, 400);
    assert_eq!(
        host.post(path, "application/json", r#"{"breaking":true}"#).0,
        400,
        "of a rebuild"
    );
    let (status, answer) = host.post(path, "application/json", &" ".repeat((64 << 10) + 1));
    assert_eq!(status, 413, "{answer}");
    assert_eq!(host.post("/v1/projections/orders/destroy", "", "").0, 404);
    assert_eq!(host.post("/v1/projections/%FF/rebuild", "", "").0, 400);
    assert_eq!(host.asked().len(), 4);
}

#[test]
fn each_order_means_what_it_says() {
    let host = Host::start();
    let order = |verb: &str, body: &str| {
        let path = format!("/v1/projections/orders/{verb}");
        assert_eq!(host.post(&path, "application/json", body).0, 200, "{verb} {body}");
    };
    order("pause", r#"{"reason":"a look at the rows"}"#);
    order("resume", "{}");
    order("cutover", r#"{"breaking":true}"#);
    order("rollback", "{}");
    let reason = "a look at the rows".to_owned();
    let asked = [
        Verb::Pause { reason },
        Verb::Resume,
        Verb::Cutover { breaking: true },
        Verb::Rollback { breaking: false },
    ];
    assert_eq!(host.asked(), asked);
}

#[test]
fn the_header_gives_a_pause_its_reason() {
    let host = Host::start();
    let (status, _) = host.raw(
        "POST /v1/projections/orders/pause HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nConnection: close\n\
         Lamphouse-Reason: the ledger differs, G%C3%BCnther says\n\n",
    );
    assert_eq!(status, 200);
    let reason = "the ledger differs, Günther says".to_owned();
    assert_eq!(host.asked(), [Verb::Pause { reason }]);
}

#[test]
fn what_goes_on_is_accepted_and_says_where_to_watch() {
    let host = Host::start();
    let (status, answer) = host.post("/v1/projections/long/rebuild", "", "");
    assert_eq!(status, 202, "{answer}");
    assert!(answer.contains("location: /v1/projections/long\r\n"), "{answer}");
    assert!(answer.contains("\"done\":false"), "{answer}");
    let (status, answer) = host.post("/v1/dead-letters/long/retry", "", "");
    assert_eq!(status, 202, "{answer}");
    assert!(
        answer.contains("location: /v1/dead-letters?projection=long\r\n"),
        "{answer}"
    );
}

#[test]
fn a_discard_needs_a_reason_and_one_thing_to_discard() {
    let host = Host::start();
    let path = "/v1/dead-letters/orders/discard";
    let id = "0195f3a8-7c1e-7d3f-8b5a-000000000001";
    for (body, words) in [
        (json!({"reason": "it is a test order"}), "event_id"),
        (json!({"event_id": id}), "say why"),
        (json!({"event_id": id, "reason": ""}), "say why"),
        (
            json!({"event_id": id, "stream_id": "order-7", "reason": "it is a test order"}),
            "not both",
        ),
        (json!({"event_id": id, "reason": "it is a \u{0} order"}), "U+0000"),
        (json!({"event_id": id, "reson": "it is a test order"}), "reson"),
    ] {
        let (status, answer) = host.post(path, "application/json", &body.to_string());
        assert!(status == 400 && answer.contains(words), "{status} {answer}");
    }
    assert_eq!(host.post(path, "", "").0, 415, "a discard says what and why");
    let body = json!({"event_id": id, "reason": "it is a test order"});
    assert_eq!(host.post(path, "application/json", &body.to_string()).0, 200);
    let body = json!({"stream_id": "order-7", "reason": "it is a test order", "by": "Ada"});
    assert_eq!(host.post(path, "application/json", &body.to_string()).0, 200);
    let by: Vec<String> = host
        .asked()
        .into_iter()
        .map(|verb| match verb {
            Verb::DiscardDeadLetters { by, .. } => by,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(by, ["admin", "Ada"], "the token's name, unless somebody is named");
}

#[test]
fn queries_are_checked() {
    let host = Host::start();
    for path in [
        "/v1/dead-letters?limit=0",
        "/v1/dead-letters?limit=1001",
        "/v1/dead-letters?after=7",
        "/v1/dead-letters?after=x-3",
        "/v1/dead-letters?after=9007199254740992-1",
        "/v1/dead-letters?generation=x",
        "/v1/dead-letters?generation=-1",
        "/v1/dead-letters?projektion=orders",
        "/v1/discards?limit=0",
        "/v1/discards?after=7",
        "/v1/discards?after=x-orders",
        "/v1/projections/orders/diff?limit=0",
        "/v1/projections/orders/diff?limit=1001",
        "/v1/projections/orders/diff?from=x",
        "/v1/projections/orders/diff?form=1",
    ] {
        let (status, problem) = host.get(path);
        assert_eq!(status, 400, "{path}: {problem}");
    }
    for path in [
        "/v1/dead-letters?projection=orders",
        "/v1/discards?projection=orders",
        "/v1/projections/orders/diff",
        "/v1/projections/orders",
        "/v1/plugins/orders",
        "/v1/dead-letters/orders/7",
    ] {
        let (status, problem) = host.get(path);
        assert_eq!(status, 404, "{path}: {problem}");
    }
    assert_eq!(host.get("/v1/explain/seven").0, 422);
    assert_eq!(host.get("/v1/projections"), (200, json!({"projections": []})));
    assert_eq!(host.get("/v1/plugins"), (200, json!({"plugins": []})));
    let empty = json!({"dead_letters": [], "next": null});
    assert_eq!(
        host.get("/v1/dead-letters?stream_id=a%00b&after=3-1"),
        (200, empty)
    );
    assert_eq!(host.get("/v1/discards?after=3-orders").1["discarded"], json!([]));
}

#[test]
fn the_document_holds_no_shapeless_answer() {
    let host = Host::start();
    let (_, document) = host.get("/v1/openapi.json");
    let status = &document["components"]["schemas"]["HostStatus"]["properties"];
    for name in ["host", "log", "projections", "upcasters", "files", "problems"] {
        assert!(status[name].is_object(), "{name}: {status}");
    }
    let operations = document["paths"].as_object().expect("paths");
    for (path, operation) in operations.iter().filter(|(path, _)| path.contains("projections")) {
        for answer in operation.as_object().expect("operations").values() {
            let schema = &answer["responses"]["200"]["content"]["application/json"]["schema"];
            assert!(schema["$ref"].is_string(), "{path}: {schema}");
        }
    }
    assert_ne!(
        document["paths"]["/v1/plugins/{name}"]["delete"]["responses"]["401"],
        Value::Null
    );
}
