//! The API over a real socket, with an operator that remembers what it was asked, and a real log.

mod access;
mod audit;
mod log;
mod operate;
mod plugins;
mod remote;
mod subscribe;
mod tables;
mod watch;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Entrance, RemoteOperator, Shared, Subscriptions, Token, Watch, bind, serve};
use crate::config::{Config, DatabaseUrl};
use crate::core::PluginName;
use crate::core::bell::Bell;
use crate::core::clock::Clock;
use crate::core::limits::{AppendLimits, PluginLimits, StateLimits, UnknownTypes};
use crate::deploy::detail::{ProjectionDetail, detail};
use crate::deploy::operator::{
    HostInfo, HostStatus, LettersOutcome, LogStatus, OperateError, Operator, Outcome, ProjectionStatus, Verb,
};
use crate::deploy::plugins::{Condition, Installed, PluginDetail, Removed};
use crate::deploy::story::LetterDetail;
use crate::deploy::uploads::{Received, Uploads};
use crate::deploy::{Catalog, Explanation, States};
use crate::plugin::Sandbox;
use crate::schemas::Schemas;
use crate::tables::ddl::Dialect;
use crate::tables::{QueryLimits, TableStore};

#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<(String, Verb)>>,
    installed: Mutex<Vec<(String, Vec<u8>, Condition)>>,
    problems: Mutex<Vec<String>>,
    projections: Mutex<Vec<ProjectionStatus>>,
}

impl Operator for Recorder {
    fn status(&self) -> Result<HostStatus, OperateError> {
        Ok(HostStatus {
            host: HostInfo {
                running: true,
                role: "owner".to_owned(),
                settled: true,
                ..HostInfo::default()
            },
            log: LogStatus {
                database: "sqlite".to_owned(),
                id: "an-id".to_owned(),
                head: 42,
            },
            projections: self.projections.lock().clone(),
            upcasters: Vec::new(),
            files: Vec::new(),
            problems: self.problems.lock().clone(),
        })
    }

    fn projection(&self, name: &str) -> Result<ProjectionDetail, OperateError> {
        detail(self.status()?, &[], Dialect::Sqlite, name)
    }

    fn dead_letter(&self, projection: &str, _: &str) -> Result<LetterDetail, OperateError> {
        Err(OperateError::NotFound(format!(
            "there is no projection '{projection}'"
        )))
    }

    fn explain(&self, event: &str) -> Result<Explanation, OperateError> {
        Err(OperateError::Invalid(format!(
            "'{event}' is neither a position nor an event id"
        )))
    }

    fn plugin(&self, name: &str) -> Result<PluginDetail, OperateError> {
        Err(OperateError::NotFound(format!("there is no plugin '{name}'")))
    }

    fn install(
        &self,
        name: &PluginName,
        received: Received,
        condition: &Condition,
    ) -> Result<Installed, OperateError> {
        let bytes = received.read().expect("the upload");
        self.installed
            .lock()
            .push((name.to_string(), bytes.clone(), condition.clone()));
        let deploying = |state: &str| Installed {
            name: name.to_string(),
            file: format!("{name}.wasm"),
            kind: "projector".to_owned(),
            plugin: "orders".to_owned(),
            version: "1.0.0".to_owned(),
            digest: received.digest().to_string(),
            bytes: received.len(),
            state: state.to_owned(),
            message: "it is taken".to_owned(),
            projections: vec!["orders".to_owned()],
        };
        match &bytes[..] {
            b"there already" => Ok(deploying("deployed")),
            b"garbage" => Err(OperateError::Invalid(format!("{name}.wasm: it is garbage"))),
            b"changed" => Err(OperateError::Changed("it is another".to_owned())),
            b"slow" => {
                std::thread::sleep(std::time::Duration::from_millis(300));
                Ok(deploying("deploying"))
            }
            _ => Ok(deploying("deploying")),
        }
    }

    fn remove_plugin(&self, name: &str, condition: &Condition) -> Result<Removed, OperateError> {
        match (name, condition) {
            ("orders", Condition::None) => Ok(Removed {
                file: "orders.wasm".to_owned(),
                message: "orders.wasm is removed".to_owned(),
                projections: vec!["orders".to_owned()],
            }),
            ("orders", _) => Err(OperateError::Changed("it is another".to_owned())),
            _ => Err(OperateError::NotFound(format!("there is no {name}.wasm"))),
        }
    }

    fn operate(&self, projection: &str, verb: Verb) -> Result<Outcome, OperateError> {
        match projection {
            "orders" => {
                self.asked.lock().push((projection.to_owned(), verb));
                Ok(Outcome {
                    message: "it is done".to_owned(),
                    done: true,
                    generation: Some(3),
                    letters: None,
                })
            }
            "long" => Ok(Outcome {
                message: "it goes on".to_owned(),
                done: false,
                generation: Some(4),
                letters: matches!(verb, Verb::RetryDeadLetters { .. }).then(|| LettersOutcome {
                    more: true,
                    ..LettersOutcome::default()
                }),
            }),
            "busy" => Err(OperateError::Refused("it is busy".to_owned())),
            "away" => Err(OperateError::Unavailable("the database is away".to_owned())),
            "broken" => panic!("a bug"),
            _ => Err(OperateError::NotFound(format!(
                "there is no projection '{projection}'"
            ))),
        }
    }
}

/// Subscriptions that a host of these tests takes.
const SUBSCRIPTIONS_MAX: usize = 4;

struct Host {
    address: SocketAddr,
    operator: Arc<Recorder>,
    written: Bell,
    watch: Watch,
    shared: Shared,
    token: Token,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    runtime: tokio::runtime::Runtime,
    data: tempfile::TempDir,
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its threads must not outlive the runtime.
        self.shared.subscriptions.end();
    }
}

impl Host {
    fn start() -> Self {
        Self::made(None, Watch::default(), |_| {})
    }

    /// With these read tables; else with none.
    fn on(store: Option<Arc<dyn TableStore>>) -> Self {
        Self::made(store, Watch::default(), |_| {})
    }

    fn watched(watch: Watch) -> Self {
        Self::made(None, watch, |_| {})
    }

    /// A host whose configuration was changed before.
    fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::made(None, Watch::default(), change)
    }

    fn made(store: Option<Arc<dyn TableStore>>, watch: Watch, change: impl FnOnce(&mut Config)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let data = tempfile::tempdir().expect("a folder");
        let mut config = Config::defaults(data.path());
        config.data = data.path().to_owned();
        change(&mut config);
        let entrance = Entrance::open(&config).expect("an entrance");
        let token = Token::load_or_create(data.path()).expect("a token");
        let operator = Arc::new(Recorder::default());
        let listening = runtime.block_on(bind("127.0.0.1:0")).expect("a free port");
        let address = listening.address().expect("an address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let log = crate::log::open(
            &DatabaseUrl::Sqlite(data.path().join("log.db")),
            &AppendLimits::default(),
            Clock::system(),
            runtime.handle().clone(),
        )
        .expect("a log");
        let store = store.unwrap_or_else(|| {
            let url = DatabaseUrl::Sqlite(data.path().join("tables.db"));
            crate::tables::open(&url, runtime.handle().clone()).expect("tables")
        });
        let written = Bell::default();
        let sandbox = Sandbox::new(PluginLimits::default(), None).expect("a sandbox");
        let states = States::new(
            sandbox.clone(),
            log.clone(),
            store.clone(),
            StateLimits::default(),
        );
        let schemas = Arc::new(Schemas::load(&data.path().join("schemas"), UnknownTypes::Allow));
        let catalog = Catalog::new(log.clone(), store.clone(), sandbox, schemas.clone());
        let (log_there, store_there) = (log.clone(), store.clone());
        let shared = Shared {
            operator: operator.clone(),
            log,
            store,
            catalog: Arc::new(catalog),
            schemas,
            states: Arc::new(states),
            written: written.clone(),
            query: QueryLimits {
                rows_max: 1_000,
                time_max: std::time::Duration::from_secs(10),
            },
            subscriptions: Subscriptions::new(&log_there, &store_there, &written, SUBSCRIPTIONS_MAX),
            uploads: Arc::new(Uploads::new(data.path(), 1_000)),
            body_bytes_max: 1 << 20,
            watch: watch.clone(),
            noted: entrance.noted(),
        };
        runtime.spawn(serve(vec![listening], shared.clone(), entrance, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            operator,
            written,
            watch,
            shared,
            token,
            stop: Some(stop),
            runtime,
            data,
        }
    }

    /// The project's folder, which is the data folder too.
    fn folder(&self) -> &Path {
        self.data.path()
    }

    fn client(&self) -> RemoteOperator {
        RemoteOperator::new(&self.address.to_string(), self.token.clone())
    }

    /// Sends a request as it is (`HOST` and `TOKEN` filled in); gives the status and the whole answer.
    fn raw(&self, request: &str) -> (u16, String) {
        let host = self.address.to_string();
        let request = request
            .replace("HOST", &host)
            .replace("TOKEN", &self.token.bearer())
            .replace('\n', "\r\n");
        let mut stream = TcpStream::connect(self.address).expect("connected");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        (
            answer
                .split(' ')
                .nth(1)
                .expect("a status")
                .parse()
                .expect("a number"),
            answer,
        )
    }
}

/// Writes the file of the tokens as it must be.
fn write_tokens(file: &Path, text: &str) {
    std::fs::write(file, text).expect("written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("changed");
}

#[test]
fn the_client_sees_what_the_operator_says() {
    let host = Host::start();
    assert_eq!(host.client().status().expect("a status").log.head, 42);
    let verb = Verb::Pause {
        reason: "a look at the rows".to_owned(),
    };
    let outcome = host.client().operate("orders", verb.clone()).expect("an outcome");
    assert_eq!(outcome.generation, Some(3));
    assert_eq!(*host.operator.asked.lock(), [("orders".to_owned(), verb)]);
}

#[test]
fn errors_keep_their_kind_and_their_words() {
    let host = Host::start();
    let ask = |name| host.client().operate(name, Verb::Rebuild).expect_err("an error");
    assert!(matches!(ask("busy"), OperateError::Refused(detail) if detail == "it is busy"));
    assert!(matches!(ask("away"), OperateError::Unavailable(detail) if detail == "the database is away"));
    assert!(matches!(ask("unknown"), OperateError::NotFound(detail) if detail.contains("'unknown'")));
    assert!(matches!(ask("../status"), OperateError::NotFound(detail) if detail.contains("'../status'")));
    assert!(matches!(ask("broken"), OperateError::Refused(detail) if detail.contains("bug")));
}

#[test]
fn nobody_listening_is_said() {
    let mut host = Host::start();
    let client = host.client();
    drop(host.stop.take());
    host.runtime
        .block_on(async { tokio::time::sleep(std::time::Duration::from_millis(200)).await });
    assert!(
        matches!(client.status(), Err(OperateError::Unavailable(detail)) if detail.contains(&host.address.to_string()))
    );
}

#[test]
fn a_wrong_token_is_refused() {
    let host = Host::start();
    let other = tempfile::tempdir().expect("a folder");
    let wrong = Token::load_or_create(other.path()).expect("a token");
    let client = RemoteOperator::new(&host.address.to_string(), wrong);
    assert!(matches!(client.status(), Err(OperateError::Refused(detail)) if detail.contains("token")));
    let (status, answer) = host.raw("GET /v1/status HTTP/1.1\nHost: HOST\nConnection: close\n\n");
    assert_eq!(status, 401);
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[test]
fn a_foreign_host_name_or_any_origin_is_refused() {
    let host = Host::start();
    let port = host.address.port();
    for name in [
        format!("evil.example:{port}"),
        "127.0.0.1".to_owned(),
        "localhost:1".to_owned(),
        format!("127.0.0.1.evil:{port}"),
    ] {
        let request =
            format!("GET /v1/status HTTP/1.1\nHost: {name}\nAuthorization: TOKEN\nConnection: close\n\n");
        assert_eq!(host.raw(&request).0, 403, "{name}");
    }
    let (status, _) =
        host.raw("GET /v1/status HTTP/1.1\nHost: HOST\nOrigin: http://HOST\nAuthorization: TOKEN\nConnection: close\n\n");
    assert_eq!(status, 403);
    let request = format!(
        "GET /v1/status HTTP/1.1\nHost: localhost:{port}\nAuthorization: TOKEN\nConnection: close\n\n"
    );
    assert_eq!(host.raw(&request).0, 200);
}

#[test]
fn a_port_in_use_names_the_key() {
    let host = Host::start();
    let error = host
        .runtime
        .block_on(bind(&host.address.to_string()))
        .expect_err("in use")
        .to_string();
    assert!(error.contains("[host] listen"), "{error}");
}
