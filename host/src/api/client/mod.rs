//! A running host, reached over its API: the one of a project on this machine, or a remote one.
//!
//! *Invariants:* the token goes to the address that was given and nowhere else: redirects are not followed, and no proxy
//! is asked; an answer is read up to a limit.

mod address;
mod requests;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody};

pub use address::HostUrl;
pub use requests::{DeadLetterPage, DiscardPage, EventPage, PluginPage, Push, StreamPage};

use super::Token;
use super::problem::Problem;
use crate::deploy::operator::OperateError;

/// Longer than the host gives itself for a request.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);
/// The same for an upload, which is compiled too.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(310);
/// Loopback answers at once or not at all.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Other machines take longer.
const CONNECT_FAR_TIME_MAX: Duration = Duration::from_secs(15);
/// Bytes of an answer; pages of events are the largest.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Asks a host in another process.
#[derive(Clone)]
pub struct RemoteOperator {
    agent: Agent,
    base: String,
    bearer: String,
    /// Whether a person gave the address; else the project's tables did.
    is_given: bool,
}

impl RemoteOperator {
    /// The host of a project on this machine, at `address`, for example `127.0.0.1:7117`. Nothing is sent yet.
    pub fn new(address: &str, token: Token) -> Self {
        Self {
            agent: agent(CONNECT_TIME_MAX, None),
            base: format!("http://{address}"),
            bearer: token.bearer(),
            is_given: false,
        }
    }

    /// The host at an address that a person gave. `roots` is a file of certificates (PEM) to trust in place of the
    /// platform's. Nothing is sent yet.
    ///
    /// # Errors
    /// The token or the certificates are none.
    pub fn at(url: &HostUrl, token: &str, roots: Option<&[u8]>) -> Result<Self, String> {
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token is empty or holds what no token holds".to_owned());
        }
        Ok(Self {
            agent: agent(CONNECT_FAR_TIME_MAX, Some(tls(roots)?)),
            base: url.base().to_owned(),
            bearer: format!("Bearer {token}"),
            is_given: true,
        })
    }

    /// Where it is: `https://host:7117`.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, OperateError> {
        self.send(Method::GET, path, &[], ())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, OperateError> {
        self.post_with(path, &[], body)
    }

    fn post_with<T: DeserializeOwned>(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<T, OperateError> {
        let body = serde_json::to_string(body).map_err(|error| {
            OperateError::Refused(format!("the request cannot be written as JSON: {error}"))
        })?;
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.send(Method::POST, path, &all, body)
    }

    fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsSendBody,
    ) -> Result<T, OperateError> {
        let url = format!("{}{path}", self.base);
        let is_upload = method == Method::PUT;
        let what = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("Authorization", &self.bearer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(body)
            .map_err(|error| OperateError::Refused(format!("{what} cannot be asked for: {error}")))?;
        let time_max = if is_upload {
            UPLOAD_TIME_MAX
        } else {
            ANSWER_TIME_MAX
        };
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(time_max))
            .build();
        self.answer(&what, self.agent.run(request))
    }

    fn answer<T: DeserializeOwned>(
        &self,
        what: &str,
        response: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, OperateError> {
        let base = match self.is_given {
            true => self.base.as_str(),
            false => self.base.trim_start_matches("http://"),
        };
        let away = |error: String| OperateError::Unavailable(format!("the host at {base}: {error}"));
        let mut response = response.map_err(|error| away(format!("{error}; {}", self.advice(&error))))?;
        let status = response.status();
        let moved = response.headers().get("Location").cloned();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|error| away(error.to_string()))?;
        if status.is_success() {
            return serde_json::from_str(&body).map_err(|error| {
                away(format!(
                    "answered {what} in a way that this version does not understand: {error}"
                ))
            });
        }
        if status.is_redirection() {
            let place = moved
                .as_ref()
                .and_then(|place| place.to_str().ok())
                .unwrap_or("elsewhere");
            return Err(away(format!(
                "answered {what} with {status}, to {place:?}; a token goes only where it is sent to: give the address \
                 that is meant"
            )));
        }
        let detail = match serde_json::from_str::<Problem>(&body) {
            Ok(problem) if self.is_given => {
                format!("{} ({base} answered {what} with {status})", problem.detail)
            }
            Ok(problem) => problem.detail,
            Err(_) => {
                return Err(away(format!(
                    "answered {what} with {status}; perhaps another program listens there"
                )));
            }
        };
        Err(match status.as_u16() {
            404 => OperateError::NotFound(detail),
            412 => OperateError::Changed(detail),
            422 => OperateError::Invalid(detail),
            429 | 503 | 504 => OperateError::Unavailable(detail),
            _ => OperateError::Refused(detail),
        })
    }

    /// What to do where no answer came.
    fn advice(&self, error: &ureq::Error) -> &'static str {
        let text = error.to_string();
        match (self.is_given, self.base.starts_with("https:")) {
            (false, _) => "it is recorded as running there: see whether it still is, and its log",
            // What `openssl req -x509` makes unless it is told otherwise.
            (true, true) if text.contains("CaUsedAsEndEntity") => {
                "its certificate is that of an authority: give the host one that is not (basicConstraints CA:FALSE), and \
                 the authority's to --ca FILE (or LAMPHOUSE_CA)"
            }
            (true, true) if text.contains("ertificate") || text.contains("Issuer") => {
                "its certificate is not trusted here: give the certificates of your authority by --ca FILE (or LAMPHOUSE_CA)"
            }
            (true, true) => "see whether a host runs there, and whether it serves https",
            (true, false) => "see whether a host runs there, and whether it serves http or https",
        }
    }
}

fn agent(connect_time_max: Duration, tls: Option<TlsConfig>) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(connect_time_max))
        .http_status_as_error(false)
        // A proxy for the outside world must not see the token.
        .proxy(None)
        .max_redirects(0);
    match tls {
        Some(tls) => config.tls_config(tls).build().new_agent(),
        None => config.build().new_agent(),
    }
}

fn tls(roots: Option<&[u8]>) -> Result<TlsConfig, String> {
    let roots = match roots {
        None => RootCerts::PlatformVerifier,
        Some(pem) => {
            let mut certificates: Vec<Certificate<'static>> = Vec::new();
            for item in parse_pem(pem) {
                match item {
                    Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                    Ok(_) => {}
                    Err(error) => return Err(format!("the certificates cannot be read: {error}")),
                }
            }
            if certificates.is_empty() {
                return Err("there is no certificate in it (PEM: -----BEGIN CERTIFICATE-----)".to_owned());
            }
            RootCerts::new_with_certs(&certificates)
        }
    };
    Ok(TlsConfig::builder().root_certs(roots).build())
}
