//! `/v1/plugins`: the files of the plugin folder.
//!
//! *Invariants:* a name is a plugin's name, so that no path is made of what a caller says; a file is received whole, and
//! within its limit, before anything looks at it; one at a time is compiled; what may not be deployed never replaces
//! what is there.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Admin;
use super::audit::audited;
use super::body::{self, blocking, content_type, segments};
use super::operate::answered;
use super::problem::Problem;
use super::server::Shared;
use crate::core::{PluginDigest, PluginName};
use crate::deploy::audit::Action;
use crate::deploy::plugins::{self, Condition, Installed, PluginDetail, PluginStatus, Removed};
use crate::deploy::uploads::{Received, UploadError};

/// What an upload must be.
const WASM: &str = "application/wasm";
/// A sender that says nothing for so long is given up. Raise it for lines that stall; lower it to have room sooner.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long an upload waits for those before it to be compiled.
const TURN_TIME_MAX: Duration = Duration::from_secs(120);
/// When to come again, in seconds.
const AGAIN_AFTER: u32 = 5;
/// Pieces that are received and not yet written.
const PIECES_MAX: usize = 16;

/// Every plugin.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plugins {
    /// The files of the plugin folder by name, then what is deployed without a file.
    plugins: Vec<PluginStatus>,
}

/// What came of an upload, and where to watch it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Uploaded {
    #[serde(flatten)]
    installed: Installed,
    /// Paths of the projections that it makes or concerns.
    watch: Vec<String>,
}

/// List the plugins
#[utoipa::path(
    get,
    path = "/v1/plugins",
    tag = "operate",
    responses((status = 200, description = "Every file of the plugin folder, and what is deployed without one", body = Plugins))
)]
pub(super) async fn list(State(shared): State<Shared>, Admin(_): Admin) -> Result<Response, Problem> {
    let status = blocking(move || shared.operator.status()).await?;
    Ok(body::json(&Plugins {
        plugins: plugins::list(&status),
    }))
}

/// Show one plugin
///
/// How it stands, and what is in its file: subscriptions, tables, rules, options, imports. `ETag` is the file's digest.
#[utoipa::path(
    get,
    path = "/v1/plugins/{name}",
    tag = "operate",
    params(("name" = String, Path, description = "Its file's name without `.wasm`, or the plugin's own where it has no file")),
    responses(
        (status = 200, description = "The plugin", body = PluginDetail,
            headers(("ETag" = String, description = "The file's digest; none where it is not known"))),
        (status = 400, description = "The path is no text", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Admin(_): Admin,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let name = segments(name)?;
    let shown = blocking(move || shared.operator.plugin(&name)).await?;
    let digest = shown
        .status
        .digest
        .clone()
        .filter(|_| shown.status.file.is_some());
    Ok(tagged(body::json(&shown), digest.as_deref()))
}

/// Deploy a plugin
///
/// The body is the `.wasm` file. It is checked as a file of the plugin folder is checked; if it may be deployed, it
/// replaces `NAME.wasm` there in one step, and the host deploys it: 202, and `Location` says where to watch it. 200 when
/// these very bytes are deployed already. `If-Match` with a digest (the `ETag`) replaces that file alone, and
/// `If-None-Match: *` replaces none. It is put on record in the event log first, and what came of it afterwards.
#[utoipa::path(
    put,
    path = "/v1/plugins/{name}",
    tag = "operate",
    params(
        ("name" = String, Path, description = "The file's name without `.wasm`: a lower-case ASCII letter, then letters, \
            digits, `_` and `-`, at most 48", pattern = "^[a-z][a-z0-9_-]{0,47}$"),
        ("If-Match" = Option<String>, Header, description = "Digests, quoted, with commas between them; or `*`"),
        ("If-None-Match" = Option<String>, Header, description = "`*`"),
        ("Lamphouse-Reason" = Option<String>, Header, description = "Why, for the record; percent-encoded UTF-8")
    ),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The plugin's file"),
    responses(
        (status = 200, description = "These bytes are deployed already", body = Uploaded,
            headers(("ETag" = String, description = "The file's digest"))),
        (status = 202, description = "It is being deployed", body = Uploaded,
            headers(
                ("ETag" = String, description = "The file's digest"),
                ("Location" = String, description = "Where to watch it"),
            )),
        (status = 400, description = "The name, a condition or the reason is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 408, description = "The sender has said nothing for too long", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The file holds another plugin, or nothing can be deployed as things stand",
            body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The file is not the one that was named", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "It is larger than `[limits] plugin_bytes_max`", body = Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "It is not of type application/wasm", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "It may not be deployed; says why, as `plugin check` does", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many uploads are under way", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(shared): State<Shared>,
    Admin(caller): Admin,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = PluginName::new(&segments(name)?).map_err(|why| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the file cannot be named so: {why}"),
        )
    })?;
    if !content_type(&headers).eq_ignore_ascii_case(WASM) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be a plugin's file, of type application/wasm",
        ));
    }
    let condition = condition(&headers)?;
    let uploads = shared.uploads.clone();
    let Ok(_room) = uploads.receiving.clone().try_acquire_owned() else {
        let why = "too many plugins are being uploaded; try again in a few seconds";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, why).retry_after(AGAIN_AFTER));
    };
    let received = receive(&shared, &headers, body).await?;
    let turn = tokio::time::timeout(TURN_TIME_MAX, uploads.compiling.clone().acquire_owned());
    let Ok(Ok(turn)) = turn.await else {
        let why = "other plugins are still being compiled; try again in a few seconds";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).retry_after(AGAIN_AFTER));
    };
    let action = Action::install(&name, &received);
    let operator = shared.operator.clone();
    let said = |installed: &Installed| installed.message.clone();
    let installed = audited(&shared, &caller, &headers, action, said, move || {
        // Until it is over, also where the caller has gone.
        let _turn = turn;
        operator.install(&name, received, &condition)
    })
    .await?;
    let digest = installed.digest.clone();
    let place = format!("/v1/plugins/{}", installed.name);
    let is_done = installed.state == "deployed";
    let watch = installed.projections.iter();
    let uploaded = Uploaded {
        watch: watch.map(|name| format!("/v1/projections/{name}")).collect(),
        installed,
    };
    Ok(tagged(answered(is_done, &place, &uploaded), Some(&digest)))
}

/// Remove a plugin
///
/// Its file goes from the plugin folder, and its projection stops. The projection's tables stay readable as they are. A
/// removed upcaster stays in use until somebody switches to tables that were built without it.
#[utoipa::path(
    delete,
    path = "/v1/plugins/{name}",
    tag = "operate",
    params(
        ("name" = String, Path, description = "The file's name without `.wasm`"),
        ("If-Match" = Option<String>, Header, description = "Digests, quoted, with commas between them; or `*`"),
        ("Lamphouse-Reason" = Option<String>, Header, description = "Why, for the record; percent-encoded UTF-8")
    ),
    responses(
        (status = 200, description = "It is removed", body = Removed),
        (status = 400, description = "A condition or the reason is wrong", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is no such file", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "This host does not look at the plugin folder", body = Problem,
            content_type = "application/problem+json"),
        (status = 412, description = "The file is not the one that was named", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    Admin(caller): Admin,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = segments(name)?;
    let condition = condition(&headers)?;
    let action = Action::remove_plugin(&name);
    let operator = shared.operator.clone();
    let said = |removed: &Removed| removed.message.clone();
    let removed = audited(&shared, &caller, &headers, action, said, move || {
        operator.remove_plugin(&name, &condition)
    });
    Ok(body::json(&removed.await?))
}

/// Takes the body in, a piece at a time; writing is left to a thread that may block.
async fn receive(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Received, Problem> {
    let uploads = shared.uploads.clone();
    let bytes_max = uploads.bytes_max();
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max) {
        return Err(failed(UploadError::TooLarge { bytes_max }));
    }
    let (pieces, mut incoming) = tokio::sync::mpsc::channel::<Bytes>(PIECES_MAX);
    let (whole, is_whole) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::task::spawn_blocking(move || -> Result<Option<Received>, UploadError> {
        let mut upload = uploads.begin()?;
        while let Some(piece) = incoming.blocking_recv() {
            upload.write(&piece)?;
        }
        // Where the sender went away in the middle, it goes.
        match is_whole.blocking_recv() {
            Ok(()) => upload.finish().map(Some),
            Err(_) => Ok(None),
        }
    });
    let mut stream = body.into_data_stream();
    loop {
        let Ok(next) = tokio::time::timeout(SILENCE_MAX, stream.next()).await else {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "nothing came for {} s; nothing was changed",
                    SILENCE_MAX.as_secs()
                ),
            ));
        };
        match next {
            None => break,
            Some(Ok(piece)) => {
                // Who writes has ended because something is wrong, and says what.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Some(Err(error)) => {
                return Err(Problem::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body ended in the middle: {error}; nothing was changed"),
                ));
            }
        }
    }
    drop(pieces);
    // Whoever writes may have ended already.
    let _ = whole.send(());
    match writing.await {
        Ok(Ok(Some(received))) => Ok(received),
        Ok(Err(error)) => Err(failed(error)),
        Ok(Ok(None)) | Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the upload could not be kept, which is a bug of ours",
        )),
    }
}

fn failed(error: UploadError) -> Problem {
    let status = match &error {
        UploadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        UploadError::Io { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}

fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let wrong = |why: &str| Err(Problem::new(StatusCode::BAD_REQUEST, why));
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().trim())
    };
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Condition::None),
        (Some("*"), None) => Ok(Condition::Present),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some(tags), None) => {
            let digest = |tag: &str| {
                let tag = tag.trim();
                let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                PluginDigest::parse(bare.unwrap_or(tag))
            };
            match tags.split(',').map(digest).collect() {
                Some(digests) => Ok(Condition::OneOf(digests)),
                None => wrong("If-Match names digests (the ETag of GET /v1/plugins/NAME), or is *"),
            }
        }
        (None, Some(_)) => wrong("If-None-Match may be * alone"),
        (Some(_), Some(_)) => wrong("If-Match and If-None-Match contradict each other"),
    }
}

fn tagged(mut answer: Response, digest: Option<&str>) -> Response {
    let tag = digest.and_then(|digest| HeaderValue::from_str(&format!("\"{digest}\"")).ok());
    if let Some(tag) = tag {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}
