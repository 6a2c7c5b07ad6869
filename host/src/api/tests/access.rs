//! Who may do what: each route for each kind of caller.
//!
//! A new route needs a line in [`ROUTES`]; the list of routes comes from the served document, so that none is forgotten.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::Host;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Nothing at all, not even a token.
    Nothing,
    /// Any token, whatever its role.
    Token,
    Append,
    Read,
    Admin,
}
use Needs::{Admin, Append, Nothing, Read, Token};

/// What is sent, if anything.
type Body = Option<fn() -> Value>;

/// A route: method, path as in the document, the path to ask for, the body, what it needs.
type Route = (&'static str, &'static str, &'static str, Body, Needs);

/// Every route. For a path that is asked for, any answer but 401 and 403 says that the caller was let in.
const ROUTES: &[Route] = &[
    ("get", "/healthz", "/healthz", None, Nothing),
    ("get", "/readyz", "/readyz", None, Nothing),
    ("get", "/metrics", "/metrics", None, Token),
    ("post", "/v1/append", "/v1/append", Some(an_order), Append),
    ("get", "/v1/events", "/v1/events", None, Read),
    (
        "get",
        "/v1/streams/{stream_id}",
        "/v1/streams/order-1",
        None,
        Read,
    ),
    (
        "get",
        "/v1/streams/{stream_id}/state",
        "/v1/streams/order-1/state?projector=orders",
        None,
        Read,
    ),
    ("get", "/v1/catalog", "/v1/catalog", None, Read),
    (
        "get",
        "/v1/catalog/{event_type}/{schema_version}",
        "/v1/catalog/OrderPlaced/1",
        None,
        Read,
    ),
    ("get", "/v1/asyncapi.json", "/v1/asyncapi.json", None, Read),
    ("get", "/v1/tables", "/v1/tables", None, Read),
    ("get", "/v1/tables/{table}", "/v1/tables/orders", None, Read),
    ("get", "/v1/changes", "/v1/changes", None, Read),
    ("get", "/v1/status", "/v1/status", None, Admin),
    ("get", "/v1/projections", "/v1/projections", None, Admin),
    (
        "get",
        "/v1/projections/{name}",
        "/v1/projections/orders",
        None,
        Admin,
    ),
    (
        "get",
        "/v1/projections/{name}/diff",
        "/v1/projections/orders/diff",
        None,
        Admin,
    ),
    (
        "post",
        "/v1/projections/{name}/{verb}",
        "/v1/projections/orders/rebuild",
        Some(nothing),
        Admin,
    ),
    ("get", "/v1/plugins", "/v1/plugins", None, Admin),
    ("get", "/v1/plugins/{name}", "/v1/plugins/orders", None, Admin),
    ("put", "/v1/plugins/{name}", "/v1/plugins/orders", None, Admin),
    ("delete", "/v1/plugins/{name}", "/v1/plugins/orders", None, Admin),
    ("get", "/v1/dead-letters", "/v1/dead-letters", None, Admin),
    (
        "get",
        "/v1/dead-letters/{projection}/{event}",
        "/v1/dead-letters/orders/1",
        None,
        Admin,
    ),
    ("get", "/v1/explain/{event}", "/v1/explain/1", None, Admin),
    ("get", "/v1/discards", "/v1/discards", None, Admin),
    (
        "post",
        "/v1/dead-letters/{projection}/retry",
        "/v1/dead-letters/orders/retry",
        Some(nothing),
        Admin,
    ),
    (
        "post",
        "/v1/dead-letters/{projection}/discard",
        "/v1/dead-letters/orders/discard",
        Some(nothing),
        Admin,
    ),
];

/// Routes whose callers are limited to stream types or tables: what a token that is limited to others is refused.
const OUT_OF_LIMITS: &[(&str, &str, Body)] = &[
    ("post", "/v1/append", Some(an_order)),
    ("get", "/v1/events?stream_type=order", None),
    ("get", "/v1/streams/order-1", None),
    ("get", "/v1/streams/order-1/state?projector=orders", None),
    ("get", "/v1/tables/orders", None),
];

fn an_order() -> Value {
    let event = json!({"event_type": "OrderPlaced", "data": {}, "metadata": {"reason": "a test of access"}});
    json!({"streams": [{"stream_id": "order-1", "stream_type": "order", "events": [event]}]})
}

fn nothing() -> Value {
    json!({})
}

/// Tokens as they would be in the file, by name.
pub(super) struct Tokens {
    pub(super) text: String,
}

const HASHED: &str = "a token of the tests: ";

impl Tokens {
    pub(super) fn new() -> Self {
        Self { text: String::new() }
    }

    pub(super) fn with(mut self, name: &str, roles: &str, more: &str) -> Self {
        let hash = HEXLOWER.encode(&crate::config::tokens::hash(&secret(name)));
        self.text.push_str(&format!(
            "[tokens.{name}]\nhash = \"sha256:{hash}\"\nroles = [{roles}]\n{more}\n"
        ));
        self
    }

    pub(super) fn host(self) -> Host {
        Host::start_with(|config| super::write_tokens(&config.tokens, &self.text))
    }
}

pub(super) fn secret(name: &str) -> String {
    // Without spaces, as a token is.
    format!("{}{name}", HASHED.replace([' ', ':'], "_"))
}

/// The tokens of most tests here.
fn of_every_role() -> Tokens {
    Tokens::new()
        .with("appender", "\"append\"", "")
        .with("reader", "\"read\"", "")
        .with("operator", "\"admin\"", "")
        .with("expired", "\"admin\"", "expires_at = 2020-01-01")
        .with(
            "elsewhere",
            "\"append\", \"read\"",
            "stream_types = [\"invoice\"]\ntables = [\"invoices\"]",
        )
}

impl Host {
    fn status_of(&self, token: Option<&str>, method: &str, path: &str, body: Body) -> u16 {
        let request = ureq::http::Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(self.url(path));
        let request = match token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        let (kind, body) = match body {
            Some(body) => ("application/json", body().to_string()),
            None => ("", String::new()),
        };
        let request = match kind {
            "" => request,
            kind => request.header("Content-Type", kind),
        };
        let request = request.body(body).expect("a request");
        Self::agent().run(request).expect("an answer").status().as_u16()
    }
}

#[test]
fn each_route_lets_in_whom_it_should_and_nobody_else() {
    let host = of_every_role().host();
    // So that what is read is there.
    assert_eq!(
        host.status_of(Some(&secret("appender")), "post", "/v1/append", Some(an_order)),
        200
    );
    let (_, document) = host.get("/v1/openapi.json");
    let mut routes: Vec<(String, String)> = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            routes.push((method.clone(), path.clone()));
        }
    }
    for (method, path) in &routes {
        let known = ROUTES
            .iter()
            .any(|(m, p, ..)| (*m, *p) == (method.as_str(), path.as_str()));
        assert!(known, "{method} {path} has no line in ROUTES: say what it needs");
    }
    assert_eq!(routes.len(), ROUTES.len(), "a line in ROUTES is of no route");

    let admin = host.token.bearer().replace("Bearer ", "");
    for &(method, path, asked, body, needs) in ROUTES {
        let ask = |token: Option<&str>| host.status_of(token, method, asked, body);
        for (who, token, may) in [
            ("nobody", None, needs == Nothing),
            (
                "a wrong token",
                Some("lamphouse_wrong".to_owned()),
                needs == Nothing,
            ),
            ("an expired one", Some(secret("expired")), needs == Nothing),
        ] {
            let status = ask(token.as_deref());
            assert_eq!(status != 401, may, "{method} {path} by {who}: {status}");
            assert_ne!(status, 403, "{method} {path} by {who}");
        }
        for (who, token, role) in [
            ("appender", secret("appender"), Append),
            ("reader", secret("reader"), Read),
            ("operator", secret("operator"), Admin),
            ("the owner of the data folder", admin.clone(), Admin),
        ] {
            let status = ask(Some(&token));
            let may = matches!(needs, Nothing | Token) || role == Admin || role == needs;
            assert_eq!(status != 403, may, "{method} {path} by {who}: {status}");
            assert_ne!(status, 401, "{method} {path} by {who}");
        }
    }
}

#[test]
fn what_is_out_of_a_tokens_limits_is_refused() {
    let host = of_every_role().host();
    assert_eq!(
        host.status_of(Some(&secret("appender")), "post", "/v1/append", Some(an_order)),
        200
    );
    for &(method, path, body) in OUT_OF_LIMITS {
        let status = host.status_of(Some(&secret("elsewhere")), method, path, body);
        assert_eq!(status, 403, "{method} {path}");
    }
    let invoice = || {
        let mut append = an_order();
        append["streams"][0]["stream_type"] = json!("invoice");
        append["streams"][0]["stream_id"] = json!("invoice-1");
        append
    };
    assert_eq!(
        host.status_of(Some(&secret("elsewhere")), "post", "/v1/append", Some(invoice)),
        200
    );
}

#[test]
fn a_limited_reader_gets_whole_pages_of_what_it_may_see() {
    let host = of_every_role().host();
    for number in 0..20 {
        let stream_type = if number % 4 == 0 { "invoice" } else { "order" };
        let event = json!({"event_type": "A", "data": {}, "metadata": {"reason": "a test of access"}});
        let id = format!("{stream_type}-{number}");
        let body = json!({"streams": [{"stream_id": id, "stream_type": stream_type, "events": [event]}]});
        assert_eq!(host.append(None, &body).0, 200);
    }
    let get = |path: &str| -> Value {
        let request = Host::agent()
            .get(host.url(path))
            .header("Authorization", format!("Bearer {}", secret("elsewhere")));
        request
            .call()
            .expect("an answer")
            .body_mut()
            .read_json()
            .expect("JSON")
    };
    let page = get("/v1/events?limit=4");
    let positions: Vec<u64> = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["position"].as_u64().expect("a position"))
        .collect();
    assert_eq!((positions, &page["next"]), (vec![1, 5, 9, 13], &json!(13)));
    let rest = get("/v1/events?limit=4&after=13&event_type=A");
    assert_eq!(
        (rest["events"].as_array().expect("events").len(), &rest["next"]),
        (1, &Value::Null)
    );
    assert_eq!(get("/v1/events?stream_id=order-1")["events"], json!([]));
}

#[test]
fn keys_of_different_tokens_are_different_keys() {
    let host = Tokens::new()
        .with("one", "\"append\"", "")
        .with("other", "\"append\"", "")
        .host();
    for (name, repeated) in [("one", false), ("one", true), ("other", false)] {
        let request = Host::agent()
            .post(host.url("/v1/append"))
            .header("Authorization", format!("Bearer {}", secret(name)))
            .header("Idempotency-Key", "job-17");
        let answer: Value = request
            .send_json(an_order())
            .expect("an answer")
            .body_mut()
            .read_json()
            .expect("JSON");
        assert_eq!(answer["repeated"], json!(repeated), "{answer}");
    }
}

#[test]
fn a_token_counts_from_when_it_is_in_the_file_to_when_it_is_not() {
    let host = Tokens::new().host();
    let status = || host.status_of(Some(&secret("reader")), "get", "/v1/events", None);
    let wait_for = |wanted: u16| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while status() != wanted {
            assert!(std::time::Instant::now() < until, "still {}", status());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    assert_eq!(status(), 401);
    let file = host.folder().join("tokens.toml");
    super::write_tokens(&file, &of_every_role().text);
    wait_for(200);
    super::write_tokens(&file, "this is no TOML");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let (_, document) = host.get("/v1/status");
        let problems = document["problems"].to_string();
        if problems.contains("not TOML") {
            break;
        }
        assert!(std::time::Instant::now() < until, "{problems}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(status(), 200, "those of before stay good");
    super::write_tokens(&file, "");
    wait_for(401);
    assert_eq!(host.get("/v1/status").1["problems"], json!([]));
}

#[test]
fn the_owners_token_is_good_on_this_machine_alone() {
    let host = Host::start_with(|config| {
        config.names = vec!["lamphouse.example.com".to_owned()];
        super::write_tokens(&config.tokens, &of_every_role().text);
    });
    let ask = |token: &str, host_name: &str, more: &str| {
        let request = format!(
            "GET /v1/status HTTP/1.1\nHost: {host_name}\nAuthorization: Bearer {token}\n{more}Connection: close\n\n"
        );
        host.raw(&request).0
    };
    let owner = host.token.bearer().replace("Bearer ", "");
    assert_eq!(ask(&owner, "HOST", ""), 200);
    assert_eq!(ask(&owner, "lamphouse.example.com", ""), 401);
    assert_eq!(ask(&owner, "HOST", "X-Forwarded-For: 10.0.0.1\n"), 401);
    let operator = secret("operator");
    assert_eq!(ask(&operator, "lamphouse.example.com", ""), 200);
    assert_eq!(ask(&operator, "Lamphouse.Example.com:443", ""), 200);
    assert_eq!(ask(&operator, "HOST", "X-Forwarded-For: 10.0.0.1\n"), 200);
    assert_eq!(ask(&operator, "other.example.com", ""), 403);
}

#[test]
fn a_token_in_the_address_is_refused_whoever_sends_it() {
    let host = Host::start();
    for path in [
        "/v1/events?access_token=x",
        "/v1/events?limit=1&token=x",
        "/healthz?token=x",
    ] {
        let (status, answer) = host.raw(&format!(
            "GET {path} HTTP/1.1\nHost: HOST\nAuthorization: TOKEN\nConnection: close\n\n"
        ));
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains("Authorization: Bearer"), "{answer}");
    }
}

#[test]
fn a_page_of_another_origin_cannot_call_anything() {
    let host = Host::start_with(|config| config.cors_origins = vec!["https://app.example.com".to_owned()]);
    let port = host.address.port();
    let body = "{}";
    let length = body.len();
    let evil = "Origin: https://evil.example\n";
    let post = "POST /v1/projections/orders/rebuild HTTP/1.1\nHost: HOST\nConnection: close\n";
    for request in [
        // A preflight.
        format!(
            "OPTIONS /v1/status HTTP/1.1\nHost: HOST\nConnection: close\n{evil}Access-Control-Request-Method: GET\n\n"
        ),
        // A simple request, with the token even.
        format!("GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\n{evil}Authorization: TOKEN\n\n"),
        // A form, or a fetch in the mode no-cors.
        format!("{post}{evil}Content-Type: text/plain\nContent-Length: {length}\n\n{body}"),
        format!(
            "{post}{evil}Content-Type: application/json\nAuthorization: TOKEN\nContent-Length: {length}\n\n{body}"
        ),
        // What a browser sends without an Origin.
        "GET /healthz HTTP/1.1\nHost: HOST\nConnection: close\nSec-Fetch-Site: cross-site\n\n".to_owned(),
        "GET /healthz HTTP/1.1\nHost: HOST\nConnection: close\nSec-Fetch-Site: same-site\n\n".to_owned(),
        // A sandboxed frame, and this host as an origin of its own, which it is not.
        "GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\nOrigin: null\nAuthorization: TOKEN\n\n"
            .to_owned(),
        format!(
            "GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\nOrigin: http://127.0.0.1:{port}\nAuthorization: TOKEN\n\n"
        ),
        // Two of them.
        format!(
            "GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\nOrigin: https://app.example.com\n{evil}Authorization: TOKEN\n\n"
        ),
    ] {
        let (status, answer) = host.raw(&request);
        assert_eq!(status, 403, "{request}{answer}");
        let answer = answer.to_lowercase();
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
    assert!(host.operator.asked.lock().is_empty());
}

#[test]
fn a_page_that_was_named_may_call() {
    let host = Host::start_with(|config| config.cors_origins = vec!["https://app.example.com".to_owned()]);
    let ours = "Origin: https://app.example.com\n";
    let (status, answer) = host.raw(&format!(
        "OPTIONS /v1/append HTTP/1.1\nHost: HOST\nConnection: close\n{ours}Access-Control-Request-Method: POST\n\
         Access-Control-Request-Headers: authorization,content-type,idempotency-key\n\n"
    ));
    let answer = answer.to_lowercase();
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: https://app.example.com"),
        "{answer}"
    );
    assert!(
        answer.contains("authorization") && answer.contains("idempotency-key"),
        "{answer}"
    );
    assert!(!answer.contains("allow-credentials"), "{answer}");
    let (status, answer) = host.raw(&format!(
        "GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\n{ours}Sec-Fetch-Site: cross-site\nAuthorization: TOKEN\n\n"
    ));
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer
            .to_lowercase()
            .contains("access-control-allow-origin: https://app.example.com"),
        "{answer}"
    );
    // The token is needed all the same, and the page may read that.
    let (status, answer) = host.raw(&format!(
        "GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\n{ours}\n"
    ));
    assert_eq!(status, 401);
    let answer = answer.to_lowercase();
    assert!(
        answer.contains("access-control-allow-origin") && answer.contains("www-authenticate: bearer"),
        "{answer}"
    );
}

#[test]
fn the_head_of_a_request_is_bounded() {
    let host = Host::start();
    let ask = |more: String| {
        host.raw(&format!(
            "GET /healthz HTTP/1.1\nHost: HOST\nConnection: close\n{more}\n"
        ))
    };
    assert_eq!(ask("X: y\n".repeat(90)).0, 200);
    assert_eq!(ask("X: y\n".repeat(110)).0, 431);
    let long = |bytes: usize| format!("X: {}\n", "y".repeat(bytes));
    assert_eq!(ask(long(40 << 10)).0, 200);
    assert_eq!(ask(long(80 << 10)).0, 431);
}
