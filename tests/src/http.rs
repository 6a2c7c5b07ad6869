//! A small HTTP client on one kept connection: what a scenario sends and gets is in plain sight.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::project::Project;
use crate::wait;

/// A connection to the API of a project's host, which is opened when it is needed.
pub struct Http {
    address: String,
    token: String,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Http {
    /// To the host that runs for a project, with the project's own token.
    ///
    /// # Panics
    /// When no host says where it listens.
    #[track_caller]
    pub fn to(project: &Project) -> Self {
        let status = project.status().unwrap_or_else(|error| panic!("{error}"));
        let address = status["host"]["address"].as_str();
        let address = address.unwrap_or_else(|| panic!("no address: {status:#}"));
        let token = std::fs::read_to_string(project.path(".lamphouse/token"));
        let token = token.expect("a token").trim().to_owned();
        Self {
            address: address.to_owned(),
            token,
            stream: None,
        }
    }

    /// Another connection to the same host.
    pub fn another(&self) -> Self {
        Self {
            address: self.address.clone(),
            token: self.token.clone(),
            stream: None,
        }
    }

    /// Where the host listens: `127.0.0.1:7117`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `GET` without further headers.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], None)
    }

    /// `POST` of JSON.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], Some(body))
    }

    /// Any request; the path is sent as it is.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.try_ask(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Any request; Err where the host is not there or ends the connection.
    ///
    /// # Errors
    /// The socket's own.
    pub fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(wait::SHORT))?;
                stream.set_write_timeout(Some(Duration::from_secs(30)))?;
                BufReader::new(stream)
            }
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n",
            self.address, self.token
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        match body {
            Some(body) => {
                let body = body.to_string();
                request.push_str(&format!(
                    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
            }
            None => request.push_str("\r\n"),
        }
        stream.get_mut().write_all(request.as_bytes())?;
        let answer = read(&mut stream, method)?;
        if answer.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn read(stream: &mut BufReader<TcpStream>, method: &str) -> io::Result<Answer> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad(&line))?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut answer = Answer {
        status,
        headers,
        body: String::new(),
    };
    if method != "HEAD" && status != 304 {
        let length = answer
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let mut body = vec![0; length.ok_or_else(|| bad("an answer without a length"))?];
        stream.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).map_err(|_| bad("a body that is no UTF-8"))?;
    }
    Ok(answer)
}
