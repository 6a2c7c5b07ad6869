//! Subscriptions: what is told, in which order, and from where it goes on.

mod changes;
mod ends;
mod events;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use lamphouse_contract::{Column, ColumnType, Descriptor, TableSchema};
use serde_json::{Value, json};

use super::Host;
use super::log::{event, stream};
use crate::core::{GenerationId, PluginDigest, PluginName, Position};
use crate::tables::{Checkpoint, Flush, GenerationRecord, Switch, TableFlush, TableWriter};

/// One Server-Sent Event.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    id: Option<u64>,
    name: String,
    data: Value,
}

/// A client that reads a stream.
struct Follower {
    reader: BufReader<TcpStream>,
    status: u16,
    head: String,
    /// Of the body, what was read and not yet used.
    text: String,
    comments: usize,
}

impl Follower {
    fn open(host: &Host, path: &str, last_id: Option<u64>) -> Self {
        Self::open_by(host, &host.token.bearer(), path, last_id)
    }

    /// The same by whoever shows this.
    fn open_by(host: &Host, authorization: &str, path: &str, last_id: Option<u64>) -> Self {
        let mut socket = TcpStream::connect(host.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let last = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\n{last}\r\n",
            host.address
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            reader,
            status,
            head: head.to_ascii_lowercase(),
            text: String::new(),
            comments: 0,
        }
    }

    /// A stream that begins.
    fn of(host: &Host, path: &str, last_id: Option<u64>) -> Self {
        let follower = Self::open(host, path, last_id);
        assert_eq!(follower.status, 200, "{path}: {}", follower.head);
        follower
    }

    /// Adds one chunk; false: the stream is over.
    fn read(&mut self) -> bool {
        let mut size = String::new();
        if self.reader.read_line(&mut size).unwrap() == 0 {
            return false;
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        self.text.push_str(&String::from_utf8(chunk).unwrap());
        size > 0
    }

    /// The next event; None: the stream is over.
    fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
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
                        Some(("retry", time)) => assert!(time.parse::<u64>().unwrap() > 0),
                        Some(("", _)) => self.comments += 1,
                        _ => assert!(line.is_empty(), "{line}"),
                    }
                }
                if !told.name.is_empty() {
                    return Some(told);
                }
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// The next event but for positions.
    fn one(&mut self) -> Told {
        loop {
            let told = self.next().expect("the stream goes on");
            if told.name != "position" {
                return told;
            }
        }
    }

    fn hello(&mut self) -> Value {
        let hello = self.next().expect("a first word");
        assert_eq!(hello.name, "hello");
        hello.data
    }
}

impl Host {
    fn add(&self, id: &str, stream_type: &str, event_type: &str, data: &Value) {
        let mut one = stream(id, &json!("any"), &[event(event_type, data)]);
        one["stream_type"] = json!(stream_type);
        let (status, answer) = self.append(None, &json!({"streams": [one]}));
        assert_eq!(status, 200, "{answer}");
    }

    /// Makes `NAME(id, n)` public.
    fn table(&self, name: &str) -> Table {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            nullable: false,
            initial: None,
        };
        let descriptor = Arc::new(Descriptor {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            subscriptions: Vec::new(),
            tables: vec![TableSchema {
                name: name.to_owned(),
                columns: vec![column("id", ColumnType::Text), column("n", ColumnType::Integer)],
                primary_key: vec![0],
                indexes: Vec::new(),
            }],
            options: Vec::new(),
        });
        let digest = PluginDigest::of(name.as_bytes());
        let store = &self.shared.store;
        let generation = store
            .create_generation(
                &PluginName::new(name).unwrap(),
                &digest,
                "1.0.0",
                &descriptor,
                &[],
                1,
            )
            .unwrap();
        let mut table = Table {
            writer: store.writer(&generation).unwrap(),
            generation,
            at: Checkpoint::default(),
            ring: self.shared.written.clone(),
        };
        table.switch(None);
        table
    }
}

/// A public table and who writes it.
struct Table {
    writer: Box<dyn TableWriter>,
    generation: GenerationRecord,
    at: Checkpoint,
    ring: crate::core::bell::Bell,
}

impl Table {
    fn next(&mut self, put: &[(&str, i64)], remove: &[&str]) -> Flush {
        let from = self.at;
        self.at.position = Position(from.position.0 + 1);
        let row = |(id, n): &(&str, i64)| -> Arc<lamphouse_contract::Row> {
            Arc::new(Box::new([
                lamphouse_contract::Value::Text((*id).into()),
                lamphouse_contract::Value::Integer(*n),
            ]))
        };
        Flush {
            from,
            to: self.at,
            tables: vec![TableFlush {
                upserts: put.iter().map(row).collect(),
                removes: remove
                    .iter()
                    .map(|id| -> lamphouse_contract::Key {
                        Box::new([lamphouse_contract::Value::Text((*id).into())])
                    })
                    .collect(),
                ..TableFlush::default()
            }],
            letters: None,
        }
    }

    fn write(&mut self, put: &[(&str, i64)], remove: &[&str]) {
        let flush = self.next(put, remove);
        self.writer.flush(&flush, true).unwrap();
        self.ring.ring();
    }

    fn switch(&mut self, from: Option<GenerationId>) {
        let flush = self.next(&[], &[]);
        let switch = Switch {
            projection: self.generation.projection.clone(),
            from,
            to: self.generation.id,
            breaking: false,
            parks_no_more: false,
            from_diverged: true,
            hold: None,
            now: 2,
        };
        self.writer.switch(&flush, &switch).unwrap();
        self.ring.ring();
    }
}
