//! What a host says of streams at a time, of its event types, and what it holds appends to.

mod schemas;
mod state;
mod types;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lamphouse_tests::Project;
use serde_json::Value;

/// Where a project's host listens, and what lets one in.
struct Api {
    address: String,
    token: String,
}

impl Api {
    fn of(project: &Project) -> Self {
        let status = project.status().unwrap();
        let address = status["host"]["address"].as_str();
        Self {
            address: address
                .unwrap_or_else(|| panic!("no address: {status:#}"))
                .to_owned(),
            token: std::fs::read_to_string(project.path(".lamphouse/token")).unwrap(),
        }
    }

    /// The status of an answer, and its JSON.
    fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path} HTTP/1.1"), "")
    }

    #[track_caller]
    fn ok(&self, path: &str) -> Value {
        let (status, answer) = self.get(path);
        assert_eq!(status, 200, "{path}: {answer:#}");
        answer
    }

    fn ask(&self, line: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "{line}\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            self.token.trim(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = match head.to_lowercase().contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_owned(),
        };
        (
            status.unwrap_or_else(|| panic!("no status: {answer}")),
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {answer}")),
        )
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        if length == 0 {
            break;
        }
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
    whole
}
