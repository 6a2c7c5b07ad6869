//! The client of a remote host: what it says where something is wrong.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::Host;
use crate::api::Push;
use crate::api::{HostUrl, RemoteOperator};
use crate::core::PluginName;
use crate::deploy::operator::{OperateError, Operator, Verb};
use crate::deploy::plugins::Condition;

fn at(host: &Host, token: &str) -> RemoteOperator {
    let url = HostUrl::parse(&host.url(""), false).expect("an address");
    RemoteOperator::at(&url, token, None).expect("a client")
}

fn admin(host: &Host) -> RemoteOperator {
    let bearer = host.token.bearer();
    at(host, bearer.trim_start_matches("Bearer "))
}

/// A server that answers every request so.
fn fake(answer: &'static str) -> HostUrl {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    HostUrl::parse(&format!("http://{address}"), false).expect("an address")
}

#[test]
fn errors_name_the_host_the_path_and_the_status() {
    let host = Host::start();
    let remote = admin(&host);
    assert_eq!(remote.status().expect("a status").log.head, 42);
    let said = remote
        .operate("busy", Verb::Rebuild)
        .expect_err("an error")
        .to_string();
    for words in [
        "it is busy",
        &host.url(""),
        "POST /v1/projections/busy/rebuild",
        "409",
    ] {
        let words = words.trim_start_matches("http://");
        assert!(said.contains(words), "'{words}' is missing: {said}");
    }
    let said = at(&host, "a-wrong-token")
        .status()
        .expect_err("an error")
        .to_string();
    assert!(
        said.contains("401") && said.contains("token") && !said.contains("a-wrong-token"),
        "{said}"
    );
}

#[test]
fn a_plugin_goes_over_as_it_is() {
    let host = Host::start();
    let name = PluginName::new("orders").expect("a name");
    let push = Push {
        name: &name,
        bytes: b"new",
        reason: Some("Günther says that it is due"),
    };
    let installed = admin(&host).push(push, &Condition::Absent).expect("taken");
    assert_eq!(installed.state, "deploying");
    let last = host.operator.installed.lock().pop().expect("an upload");
    assert_eq!(last, ("orders".to_owned(), b"new".to_vec(), Condition::Absent));
    let (_, page) = host.get("/v1/events?stream_type=lamphouse.audit");
    assert_eq!(
        page["events"][0]["metadata"]["reason"],
        "Günther says that it is due"
    );
    let garbage = Push {
        bytes: b"garbage",
        ..push
    };
    let refused = admin(&host).push(garbage, &Condition::None);
    assert!(matches!(refused, Err(OperateError::Invalid(why)) if why.contains("it is garbage")));
    let gone = admin(&host).remove("a/b", None, &Condition::None);
    assert!(matches!(gone, Err(OperateError::NotFound(why)) if why.contains("a/b.wasm")));
}

#[test]
fn the_token_does_not_follow_a_redirect() {
    let url = fake(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let remote = RemoteOperator::at(&url, "a-token", None).expect("a client");
    let said = remote.status().expect_err("an error").to_string();
    assert!(said.contains("302") && said.contains("elsewhere"), "{said}");
}

#[test]
fn another_program_is_told_from_a_host() {
    let url = fake("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\nConnection: close\r\n\r\nOops");
    let remote = RemoteOperator::at(&url, "a-token", None).expect("a client");
    let said = remote.status().expect_err("an error").to_string();
    assert!(said.contains("another program"), "{said}");
    let url = fake("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>");
    let remote = RemoteOperator::at(&url, "a-token", None).expect("a client");
    let said = remote.status().expect_err("an error").to_string();
    assert!(said.contains("does not understand"), "{said}");
}

#[test]
fn a_host_that_is_gone_is_said_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let url = HostUrl::parse(&format!("http://{address}"), false).expect("an address");
    let remote = RemoteOperator::at(&url, "a-token", None).expect("a client");
    let said = remote.status().expect_err("an error").to_string();
    assert!(
        said.contains(&address.to_string()) && said.contains("see whether a host runs there"),
        "{said}"
    );
}

#[test]
fn what_is_no_token_or_certificate_is_refused() {
    let url = HostUrl::parse("https://lamp.example", false).expect("an address");
    for token in ["", "  ", "two words", "a\nb", "é"] {
        assert!(RemoteOperator::at(&url, token, None).is_err(), "{token:?}");
    }
    for roots in [
        &b""[..],
        b"no certificate",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        assert!(RemoteOperator::at(&url, "a-token", Some(roots)).is_err());
    }
}
