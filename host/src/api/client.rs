//! A running host, reached over its admin surface.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

use super::Token;
use super::problem::Problem;
use crate::core::PluginName;
use crate::deploy::operator::{HostStatus, OperateError, Operator, Outcome, Verb};

/// Longer than the host gives itself for a request.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);
/// Loopback answers at once or not at all.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);

/// Asks a host in another process.
pub struct RemoteOperator {
    agent: Agent,
    address: String,
    token: Token,
}

impl RemoteOperator {
    /// The host at `address`, for example `127.0.0.1:7117`. Nothing is sent yet.
    pub fn new(address: &str, token: Token) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(ANSWER_TIME_MAX))
            .timeout_connect(Some(CONNECT_TIME_MAX))
            .http_status_as_error(false)
            // A proxy for the outside world must not see the token.
            .proxy(None)
            .max_redirects(0)
            .build()
            .new_agent();
        Self {
            agent,
            address: address.to_owned(),
            token,
        }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        response: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, OperateError> {
        let address = &self.address;
        let away = |error: String| OperateError::Unavailable(format!("the host at {address}: {error}"));
        let mut response = response.map_err(|error| {
            away(format!(
                "{error}; it is recorded as running there: see whether it still is, and its log"
            ))
        })?;
        let status = response.status();
        let body = response
            .body_mut()
            .read_to_string()
            .map_err(|error| away(error.to_string()))?;
        if status.is_success() {
            return serde_json::from_str(&body).map_err(|error| {
                away(format!(
                    "answered in a way that this version does not understand: {error}"
                ))
            });
        }
        let detail = match serde_json::from_str::<Problem>(&body) {
            Ok(problem) => problem.detail,
            Err(_) => {
                return Err(away(format!(
                    "answered {status}; perhaps another program listens there"
                )));
            }
        };
        Err(match status.as_u16() {
            404 => OperateError::NotFound(detail),
            503 | 504 => OperateError::Unavailable(detail),
            _ => OperateError::Refused(detail),
        })
    }
}

impl Operator for RemoteOperator {
    fn status(&self) -> Result<HostStatus, OperateError> {
        let url = format!("http://{}/v1/status", self.address);
        self.answer(
            self.agent
                .get(&url)
                .header("Authorization", self.token.bearer())
                .call(),
        )
    }

    fn operate(&self, projection: &str, verb: Verb) -> Result<Outcome, OperateError> {
        // A valid name is safe in a path; any other names no projection.
        let name = PluginName::new(projection).map_err(|error| {
            OperateError::NotFound(format!("there is no projection '{projection}': {error}"))
        })?;
        let url = format!("http://{}/v1/projections/{name}/operate", self.address);
        let request = self.agent.post(&url).header("Authorization", self.token.bearer());
        self.answer(request.send_json(&verb))
    }
}
