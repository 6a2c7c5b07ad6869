//! A host that is operated over HTTP: plugins, projections, dead letters, and the commands from elsewhere.

mod plugins;
mod projections;
mod remote;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lamphouse_tests::Project;
use serde_json::Value;

/// Where a project's host listens, and what lets one in.
struct Api {
    address: String,
    token: String,
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    /// A header's value; empty where there is none.
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines();
        let mut found = lines.filter_map(|line| line.split_once(':'));
        let value = found.find(|(given, _)| given.eq_ignore_ascii_case(name));
        value.map_or("", |(_, value)| value.trim())
    }

    /// The detail of a problem.
    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }
}

impl Api {
    fn of(project: &Project) -> Self {
        let status = project.status().unwrap();
        let address = status["host"]["address"].as_str();
        Self {
            address: address
                .unwrap_or_else(|| panic!("no address: {status:#}"))
                .to_owned(),
            token: std::fs::read_to_string(project.path(".lamphouse/token"))
                .unwrap()
                .trim()
                .to_owned(),
        }
    }

    fn head(&self, line: &str, headers: &str, length: usize) -> String {
        format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n{headers}Content-Length: \
             {length}\r\n\r\n",
            self.address, self.token
        )
    }

    #[track_caller]
    fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = self.head(line, headers, body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // Who is refused by the head alone need not read the body.
        let _ = stream.write_all(body);
        read(stream)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"")
    }

    /// The JSON of an answer that must be good.
    #[track_caller]
    fn ok(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {:#}", answer.body);
        answer.body
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.ask(
            &format!("POST {path}"),
            "Content-Type: application/json\r\n",
            body.as_bytes(),
        )
    }

    #[track_caller]
    fn put(&self, name: &str, bytes: &[u8]) -> Answer {
        self.put_with(name, "", bytes)
    }

    #[track_caller]
    fn put_with(&self, name: &str, headers: &str, bytes: &[u8]) -> Answer {
        let headers = format!("Content-Type: application/wasm\r\n{headers}");
        self.ask(&format!("PUT /v1/plugins/{name}"), &headers, bytes)
    }

    /// Type, action and reason of what is on record, the first events of each action left out.
    fn on_record(&self) -> Vec<[String; 3]> {
        let page = self.ok("/v1/events?stream_type=lamphouse.audit&limit=1000");
        let events = page["events"].as_array().unwrap().iter();
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events
            .map(|event| {
                [
                    of(&event["event_type"]),
                    of(&event["data"]["action"]),
                    of(&event["metadata"]["reason"]),
                ]
            })
            .filter(|[event_type, ..]| event_type != "lamphouse.AdminActionRequested")
            .collect()
    }
}

fn read(mut stream: TcpStream) -> Answer {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {answer} {ended:?}")),
        body: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")),
        head: head.to_owned(),
    }
}
