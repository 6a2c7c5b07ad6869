//! A small client of the API: streams of Server-Sent Events, and appends one after the other.

use std::io;
use std::time::Duration;

use lamphouse_tests::Project;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where a host answers, and with which token.
#[derive(Clone)]
pub(super) struct Place {
    address: String,
    token: String,
}

impl Place {
    pub(super) fn of(project: &Project) -> Self {
        let status = project.status().unwrap();
        Self {
            address: status["host"]["address"].as_str().unwrap().to_owned(),
            token: std::fs::read_to_string(project.path(".lamphouse/token")).unwrap(),
        }
    }

    fn head(&self, request: &str, more: &str) -> String {
        format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{more}\r\n",
            self.address,
            self.token.trim()
        )
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// One Server-Sent Event.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: Option<u64>,
    pub(super) name: String,
    pub(super) data: Value,
}

/// A socket and what was read of it and not used. Reading can be given up at any moment without losing anything.
struct Socket {
    stream: TcpStream,
    there: Vec<u8>,
}

impl Socket {
    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads some more; the end is an error.
    async fn more(&mut self) -> io::Result<()> {
        let mut some = [0; 16 << 10];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut some) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.there.extend_from_slice(&some[..read]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is before `end`, which is left out.
    async fn until(&mut self, end: &[u8]) -> io::Result<String> {
        loop {
            if let Some(place) = find(&self.there, end) {
                return Ok(self.used(place, end.len()));
            }
            self.more().await?;
        }
    }

    /// Takes so many bytes, and leaves the next `skipped` out.
    fn used(&mut self, bytes: usize, skipped: usize) -> String {
        let rest = self.there.split_off(bytes + skipped);
        let mut used = std::mem::replace(&mut self.there, rest);
        used.truncate(bytes);
        String::from_utf8(used).unwrap()
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|there| there == what)
}

/// A stream of events.
pub(super) struct Connection {
    socket: Socket,
    /// Of the body, what was read and not used.
    body: String,
}

impl Connection {
    /// Opens a stream that goes on after `last`.
    pub(super) async fn open(place: &Place, path: &str, last: Option<u64>) -> Self {
        Self::over(place.connect().await, place, path, last).await
    }

    /// The same with little room in the client's system.
    pub(super) async fn open_narrow(place: &Place, path: &str, last: Option<u64>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 << 10).unwrap();
        let stream = socket.connect(place.address.parse().unwrap()).await.unwrap();
        Self::over(stream, place, path, last).await
    }

    async fn over(stream: TcpStream, place: &Place, path: &str, last: Option<u64>) -> Self {
        let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let request = place.head(&format!("GET {path}"), &last);
        let mut socket = Socket {
            stream,
            there: Vec::new(),
        };
        socket.send(request.as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, socket.until(b"\r\n\r\n"));
        let head = answer.await.expect("an answer in time").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        Self {
            socket,
            body: String::new(),
        }
    }

    /// The next event; None at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Told> {
        tokio::time::timeout(PATIENCE, self.try_next())
            .await
            .expect("an event in time")
            .unwrap()
    }

    /// The next event, if it comes within this time. Nothing is lost if it does not.
    pub(super) async fn next_within(&mut self, time: Duration) -> Option<Told> {
        match tokio::time::timeout(time, self.try_next()).await {
            Ok(told) => Some(told.unwrap().expect("the stream goes on")),
            Err(_) => None,
        }
    }

    /// The next event; None at the end of the stream, an error where it was cut off.
    pub(super) async fn try_next(&mut self) -> io::Result<Option<Told>> {
        loop {
            while let Some(end) = self.body.find("\n\n") {
                let rest = self.body.split_off(end + 2);
                let block = std::mem::replace(&mut self.body, rest);
                if let Some(told) = told(&block) {
                    return Ok(Some(told));
                }
            }
            // A chunk, once it is whole: its size in hexadecimal, and its bytes.
            let Some(line) = find(&self.socket.there, b"\r\n") else {
                self.socket.more().await?;
                continue;
            };
            let size = std::str::from_utf8(&self.socket.there[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return Ok(None);
            }
            if self.socket.there.len() < line + 2 + size + 2 {
                self.socket.more().await?;
                continue;
            }
            self.socket.used(line, 2);
            let text = self.socket.used(size, 2);
            self.body.push_str(&text);
        }
    }
}

fn told(block: &str) -> Option<Told> {
    let mut told = Told {
        id: None,
        name: String::new(),
        data: Value::Null,
    };
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => told.id = Some(id.parse().unwrap()),
            Some(("event", name)) => told.name = name.to_owned(),
            Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
            Some(("retry" | "", _)) => {}
            _ => assert!(line.is_empty(), "'{line}' is no line of an event"),
        }
    }
    (!told.name.is_empty()).then_some(told)
}

/// Sends requests over one connection.
pub(super) struct Appender {
    place: Place,
    socket: Socket,
    is_up: bool,
}

impl Appender {
    pub(super) async fn open(place: &Place) -> Self {
        Self {
            place: place.clone(),
            socket: Socket {
                stream: place.connect().await,
                there: Vec::new(),
            },
            is_up: true,
        }
    }

    /// Whether the host has answered so far.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Appends; gives the position.
    pub(super) async fn append(&mut self, body: &Value) -> u64 {
        let answer = self.request("POST /v1/append", &body.to_string()).await.unwrap();
        answer["position"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    /// Appends, unless the host is gone.
    pub(super) async fn try_append(&mut self, body: &Value) {
        self.is_up = self.request("POST /v1/append", &body.to_string()).await.is_ok();
    }

    async fn request(&mut self, request: &str, body: &str) -> io::Result<Value> {
        let more = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        let text = self.place.head(request, &more) + body;
        let whole = async {
            self.socket.send(text.as_bytes()).await?;
            let head = self.socket.until(b"\r\n\r\n").await?;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse::<usize>()
                    .ok()
            });
            let length = length.expect("a length");
            while self.socket.there.len() < length {
                self.socket.more().await?;
            }
            Ok(serde_json::from_str(&self.socket.used(length, 0)).unwrap())
        };
        tokio::time::timeout(PATIENCE, whole)
            .await
            .expect("an answer in time")
    }
}

/// Where the changes stand.
pub(super) async fn sequence(place: &Place) -> u64 {
    let mut connection = Connection::open(place, "/v1/changes", None).await;
    connection.next().await.unwrap().data["sequence"]
        .as_u64()
        .unwrap()
}

/// Position of the last event of this type, or of any.
pub(super) async fn last_of(place: &Place, event_type: &str) -> u64 {
    let mut client = Appender::open(place).await;
    let path = format!("GET /v1/events?backward=true&limit=1&event_type={event_type}");
    let answer = client.request(&path, "").await.unwrap();
    answer["events"][0]["position"].as_u64().unwrap()
}
