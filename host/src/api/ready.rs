//! `GET /healthz` and `GET /readyz`: whether the process lives, and whether it should get requests.
//!
//! They are asked by whoever restarts processes and whoever deals out requests. A plugin's fault is neither's business:
//! a new process meets the same event with the same plugin. So health asks nothing but whether the host itself still
//! decides; readiness asks whether what is read here is fresh; and faults are in `/metrics` and in the status.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use super::access::Caller;
use super::body::blocking;
use super::metrics::ReadyPolicy;
use super::server::Shared;
use crate::deploy::operator::{HostStatus, OperateError, ProjectionStatus};

/// The thread that decides may be silent for so long: it waits for databases, and for plugins that it loads. Raise it
/// where a restart would come too early; lower it to notice a bug of ours sooner.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// A database that takes longer to answer is away.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// An answer is good for so long: whoever asks more often, which needs no token, costs the databases nothing.
const ANSWER_KEPT: Duration = Duration::from_millis(250);

/// What the host was last found to lack, and when. Who asks while somebody else's answer is being found out waits for it.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<Option<Answered>>>);

/// When it was found out, and why the host is not ready.
type Answered = (Instant, Arc<[Reason]>);

/// What readiness is decided on.
pub(super) struct Found {
    pub(super) status: HostStatus,
    /// Databases that do not answer.
    away: Vec<Reason>,
}

/// Why a host should get no requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// For whoever knows a token.
    pub(super) full: String,
    /// The same without names, for everybody.
    pub(super) bare: &'static str,
}

impl Reason {
    fn new(bare: &'static str, full: impl Into<String>) -> Self {
        Self {
            full: full.into(),
            bare,
        }
    }
}

/// Whether the process lives
///
/// Needs no token, and asks no database. 503 means that the host's deciding thread has stopped: restart the process.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "watch",
    security(()),
    responses(
        (status = 200, description = "It lives", body = String, content_type = "text/plain"),
        (status = 503, description = "Its deciding thread has stopped; a restart helps", body = String,
            content_type = "text/plain"),
    )
)]
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    match silence(shared.watch.projections.since_beat()) {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reason.full)).into_response(),
    }
}

/// Whether it should get requests
///
/// Needs no token; with one, the reasons name projections. Ready is a host that owns the tables and has taken in its
/// plugin folder, whose databases answer, and whose projections all have public tables that are level with the log within
/// `[host] ready_lag_events_max` and `ready_lag_ms_max`. Paused and removed projections are left out, and those with
/// `ready = false`.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "watch",
    security(()),
    responses(
        (status = 200, description = "It should", body = String, content_type = "text/plain"),
        (status = 503, description = "It should not; one line for each reason", body = String,
            content_type = "text/plain"),
    )
)]
pub(super) async fn ready(State(shared): State<Shared>, caller: Option<Extension<Arc<Caller>>>) -> Response {
    let readiness = shared.watch.readiness.clone();
    let mut kept = readiness.0.lock().await;
    let reasons = match &*kept {
        Some((at, reasons)) if at.elapsed() < ANSWER_KEPT => reasons.clone(),
        _ => {
            let reasons: Arc<[Reason]> = look(shared).await.into();
            *kept = Some((Instant::now(), reasons.clone()));
            reasons
        }
    };
    drop(kept);
    if reasons.is_empty() {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let mut lines: Vec<&str> = reasons
        .iter()
        .map(|reason| match caller {
            Some(_) => reason.full.as_str(),
            None => reason.bare,
        })
        .collect();
    lines.dedup();
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", lines.join("\n"))).into_response()
}

/// Why the host is not ready, as it is now.
async fn look(shared: Shared) -> Vec<Reason> {
    let silent = shared.watch.projections.since_beat();
    let policy = shared.watch.ready.clone();
    let asking = tokio::time::timeout(ANSWER_TIME_MAX, blocking(move || ask(&shared)));
    match asking.await {
        Ok(Ok(found)) => reasons(&found, &policy, silent),
        Ok(Err(problem)) => vec![Reason::new("the host does not answer", problem.detail)],
        Err(_) => vec![Reason::new(
            "a database does not answer",
            format!(
                "a database does not answer within {} s",
                ANSWER_TIME_MAX.as_secs()
            ),
        )],
    }
}

/// The status, and which databases are away.
pub(super) fn ask(shared: &Shared) -> Result<Found, OperateError> {
    let mut away = Vec::new();
    if let Err(error) = shared.log.head() {
        away.push(Reason::new(
            "the event log cannot be read",
            format!("the event log cannot be read: {}", one_line(&error.to_string())),
        ));
    }
    if let Err(error) = shared.store.owner_address() {
        away.push(Reason::new(
            "the read tables cannot be read",
            format!("the read tables cannot be read: {}", one_line(&error.to_string())),
        ));
    }
    Ok(Found {
        status: shared.operator.status()?,
        away,
    })
}

fn silence(silent: Option<Duration>) -> Option<Reason> {
    let silent = silent.filter(|silent| *silent > SILENCE_MAX)?;
    let full = format!(
        "the thread that decides what runs has not been heard of for {} s, which is a bug of ours",
        silent.as_secs()
    );
    Some(Reason::new("the thread that decides what runs has stopped", full))
}

/// Why the host is not ready.
pub(super) fn reasons(found: &Found, policy: &ReadyPolicy, silent: Option<Duration>) -> Vec<Reason> {
    let Found { status, away } = found;
    if let Some(reason) = silence(silent) {
        return vec![reason];
    }
    if !away.is_empty() {
        return away.clone();
    }
    if status.host.role != "owner" {
        let full = "another host owns the tables, and this one stands by; send requests to the owner";
        return vec![Reason::new(
            "another host owns the tables, and this one stands by",
            full,
        )];
    }
    if !status.host.settled {
        let why = "what is stored, or a file of the plugin folder, is still being taken in";
        return vec![Reason::new(why, why)];
    }
    let waited_for = status
        .projections
        .iter()
        .filter(|one| one.paused.is_none() && one.state != "removed" && policy.waits_for(&one.name));
    waited_for.flat_map(|one| lacks(one, policy)).collect()
}

/// Why a projection's tables should not be read.
fn lacks(projection: &ProjectionStatus, policy: &ReadyPolicy) -> Vec<Reason> {
    let name = &projection.name;
    let Some(live) = &projection.live else {
        return vec![Reason::new(
            "a projection has no public tables yet",
            format!(
                "{name} has no public tables yet: {}",
                one_line(&projection.message)
            ),
        )];
    };
    let mut lacks = Vec::new();
    if projection.state == "diverged" {
        lacks.push(Reason::new(
            "the tables of a projection follow another log",
            format!("the tables of {name} follow another log"),
        ));
    }
    if live.lag_events > policy.lag_events_max {
        lacks.push(Reason::new(
            "a projection is too many events behind the log",
            format!(
                "{name} is {} events behind the log, and [host] ready_lag_events_max is {}",
                live.lag_events, policy.lag_events_max
            ),
        ));
    }
    if live.lag_ms > policy.lag_ms_max {
        lacks.push(Reason::new(
            "an event waits too long for a projection",
            format!(
                "an event has been waiting for {name} for {} ms, and [host] ready_lag_ms_max is {}",
                live.lag_ms, policy.lag_ms_max
            ),
        ));
    }
    lacks
}

/// A text that stays on its line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::operator::{GenerationStatus, HostInfo, LogStatus};

    fn generation(lag_events: u64, lag_ms: u64) -> GenerationStatus {
        serde_json::from_value(serde_json::json!({
            "generation": 1, "version": "1.0.0", "digest": "", "state": "live", "checkpoint": 100 - lag_events,
            "lag_events": lag_events, "lag_ms": lag_ms, "events_per_second": null, "time_left_ms": null,
            "activity": "following", "cache_is_whole": true, "cache_bytes": 0, "tables": [], "fault": null, "log": [],
        }))
        .expect("a generation")
    }

    fn projection(state: &str, live: Option<GenerationStatus>) -> ProjectionStatus {
        ProjectionStatus {
            name: "orders".to_owned(),
            state: state.to_owned(),
            healthy: true,
            message: "generation g1 is\nbeing built".to_owned(),
            needs_decision: false,
            hindered: false,
            paused: (state == "paused").then(String::new),
            held: None,
            refused: None,
            incomplete: None,
            reordered: false,
            live,
            others: Vec::new(),
        }
    }

    fn said(role: &str, settled: bool, projections: Vec<ProjectionStatus>) -> Vec<String> {
        let status = HostStatus {
            host: HostInfo {
                role: role.to_owned(),
                settled,
                ..HostInfo::default()
            },
            log: LogStatus {
                database: "sqlite".to_owned(),
                id: String::new(),
                head: 100,
            },
            projections,
            upcasters: Vec::new(),
            files: Vec::new(),
            problems: vec!["the plugin folder is gone".to_owned()],
        };
        let policy = ReadyPolicy {
            lag_events_max: 10,
            lag_ms_max: 1_000,
            by_name: [("slow".to_owned(), false)].into(),
            ..ReadyPolicy::default()
        };
        let found = Found {
            status,
            away: Vec::new(),
        };
        let reasons = reasons(&found, &policy, Some(Duration::from_secs(1)));
        for reason in &reasons {
            assert!(!reason.bare.contains("orders"), "{reason:?}");
        }
        reasons.into_iter().map(|reason| reason.full).collect()
    }

    fn one(projection: ProjectionStatus) -> Vec<String> {
        said("owner", true, vec![projection])
    }

    #[test]
    fn level_within_the_limits_is_ready() {
        assert_eq!(
            one(projection("live", Some(generation(10, 1_000)))),
            [""; 0].map(str::to_owned)
        );
        assert_eq!(said("owner", true, Vec::new()).len(), 0);
    }

    #[test]
    fn behind_is_not_ready_by_events_and_by_time() {
        assert_eq!(
            one(projection("live", Some(generation(11, 1_001)))),
            [
                "orders is 11 events behind the log, and [host] ready_lag_events_max is 10",
                "an event has been waiting for orders for 1001 ms, and [host] ready_lag_ms_max is 1000",
            ]
        );
    }

    #[test]
    fn a_first_build_is_not_ready_and_a_later_one_is() {
        assert_eq!(
            one(projection("building", None)),
            ["orders has no public tables yet: generation g1 is being built"]
        );
        assert_eq!(one(projection("building", Some(generation(0, 0)))).len(), 0);
    }

    #[test]
    fn a_fault_counts_only_once_the_tables_are_behind() {
        assert_eq!(one(projection("faulted", Some(generation(3, 500)))).len(), 0);
        assert_eq!(one(projection("faulted", Some(generation(3, 5_000)))).len(), 1);
        assert_eq!(one(projection("diverged", Some(generation(0, 0)))).len(), 1);
    }

    #[test]
    fn what_a_person_stopped_or_left_out_is_not_waited_for() {
        assert_eq!(one(projection("paused", Some(generation(90, 9_000)))).len(), 0);
        assert_eq!(one(projection("removed", None)).len(), 0);
        let slow = ProjectionStatus {
            name: "slow".to_owned(),
            ..projection("live", Some(generation(90, 9_000)))
        };
        assert_eq!(one(slow).len(), 0);
    }

    #[test]
    fn a_standby_and_a_host_that_still_looks_around_are_not_ready() {
        let level = || vec![projection("live", Some(generation(0, 0)))];
        assert!(said("standby", true, level())[0].contains("stands by"));
        assert!(said("owner", false, level())[0].contains("taken in"));
    }

    #[test]
    fn a_silent_conductor_is_neither_healthy_nor_ready() {
        assert_eq!(silence(None), None);
        assert_eq!(silence(Some(SILENCE_MAX)), None);
        let reason = silence(Some(SILENCE_MAX + Duration::from_secs(1))).expect("a reason");
        assert!(reason.full.contains("301 s"), "{}", reason.full);
    }
}
