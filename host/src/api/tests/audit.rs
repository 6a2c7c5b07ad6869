//! What admins do is on record.

use serde_json::{Value, json};

use super::Host;

impl Host {
    fn operate(&self, projection: &str, reason: Option<&str>, verb: &Value) -> (u16, Value) {
        let mut body = verb.clone();
        let verb = body.as_object_mut().and_then(|body| body.remove("verb"));
        let verb = verb.as_ref().and_then(Value::as_str).expect("a verb");
        let mut request = Self::agent()
            .post(self.url(&format!("/v1/projections/{projection}/{verb}")))
            .header("Authorization", self.token.bearer());
        if let Some(reason) = reason {
            request = request.header("Lamphouse-Reason", reason);
        }
        let mut answer = request.send_json(body).expect("an answer");
        (
            answer.status().as_u16(),
            answer.body_mut().read_json().expect("JSON"),
        )
    }

    fn on_record(&self) -> Vec<Value> {
        let (_, page) = self.get("/v1/events?stream_type=lamphouse.audit");
        page["events"].as_array().expect("events").clone()
    }
}

#[test]
fn what_is_asked_is_on_record_before_and_after() {
    let host = Host::start();
    let verb = json!({"verb": "cutover", "breaking": true});
    assert_eq!(
        host.operate("orders", Some("the ledger agrees, G%C3%BCnther says"), &verb)
            .0,
        200
    );
    let events = host.on_record();
    let [requested, done] = &events[..] else {
        panic!("{events:#?}");
    };
    assert_eq!(requested["event_type"], "lamphouse.AdminActionRequested");
    assert_eq!(requested["stream_id"], "lamphouse.audit");
    let asked = json!({"by": "admin", "action": "cutover --breaking", "on": {"projection": "orders"}, "details": verb});
    assert_eq!(requested["data"], asked);
    assert_eq!(
        requested["metadata"],
        json!({"reason": "the ledger agrees, Günther says", "user_id": "admin"})
    );
    assert_eq!(done["event_type"], "lamphouse.ProjectionOperated");
    assert_eq!(done["data"]["outcome"], "done");
    assert_eq!(done["data"]["message"], "it is done");
    assert_eq!(done["metadata"]["causation_id"], requested["id"]);
    assert_eq!(done["metadata"]["reason"], requested["metadata"]["reason"]);
}

#[test]
fn what_fails_is_on_record_as_such() {
    let host = Host::start();
    for (projection, status, words) in [
        ("busy", 409, "it is busy"),
        ("unknown", 404, "no projection"),
        ("broken", 500, "bug"),
    ] {
        assert_eq!(
            host.operate(projection, None, &json!({"verb": "rebuild"})).0,
            status
        );
        let last = host.on_record().pop().expect("an event");
        assert_eq!(last["event_type"], "lamphouse.AdminActionFailed");
        assert_eq!(last["data"]["on"], json!({"projection": projection}));
        let message = last["data"]["message"].as_str().expect("a message");
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(host.on_record().len(), 6);
}

#[test]
fn a_reason_in_the_request_counts_and_one_that_is_none_is_refused() {
    let host = Host::start();
    let pause = json!({"verb": "pause", "reason": "a look at the rows"});
    assert_eq!(host.operate("orders", None, &pause).0, 200);
    assert_eq!(host.on_record()[0]["metadata"]["reason"], "a look at the rows");
    let (status, problem) = host.operate("orders", Some("no"), &json!({"verb": "resume"}));
    assert_eq!(status, 400, "{problem}");
    assert_eq!(host.on_record().len(), 2, "nothing was done");
    assert_eq!(host.operator.asked.lock().len(), 1);
}

#[test]
fn nobody_else_writes_the_record() {
    let host = Host::start();
    for (stream_id, stream_type, event_type) in [
        ("lamphouse.audit", "lamphouse.audit", "lamphouse.PluginDeleted"),
        ("a", "a", "lamphouse.PluginDeleted"),
        ("a", "lamphouse.audit", "A"),
        ("lamphouse.audit", "a", "A"),
    ] {
        let event = json!({"event_type": event_type, "data": {}, "metadata": {"reason": "forged by a test"}});
        let body =
            json!({"streams": [{"stream_id": stream_id, "stream_type": stream_type, "events": [event]}]});
        let (status, problem) = host.append(None, &body);
        assert_eq!(status, 400);
        assert!(
            problem["detail"].as_str().expect("a detail").contains("reserved"),
            "{problem}"
        );
    }
    assert!(host.on_record().is_empty());
}
