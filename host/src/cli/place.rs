//! Where a command works: on a project folder, or on a host elsewhere (`--url`).

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::runtime::{Handle, Runtime};

use super::UsageError;
use super::args::Globals;
use super::dead_letters::find_event;
use super::events::PAGE_EVENTS;
use super::session::{Reached, Session, runtime};
use super::table::plain;
use crate::api::{HostUrl, RemoteOperator};
use crate::core::{Position, StoredEvent};
use crate::log::EventQuery;

/// Where a remote host is, and what lets one in.
const URL: &str = "LAMPHOUSE_URL";
const TOKEN: &str = "LAMPHOUSE_TOKEN";
const TOKEN_FILE: &str = "LAMPHOUSE_TOKEN_FILE";
const CA: &str = "LAMPHOUSE_CA";

/// Where a command works.
pub(super) enum Place {
    /// A project folder on this machine.
    Project(Box<Session>),
    /// A host that a person named.
    Host(Remote),
}

/// A host that a person named.
pub(super) struct Remote {
    pub(super) operator: RemoteOperator,
    runtime: Runtime,
}

impl Place {
    /// The host that is named, else the project folder.
    pub(super) fn open(globals: &Globals) -> Result<Self> {
        match named(globals)? {
            Some(url) => Ok(Self::Host(Remote::open(&url, globals)?)),
            None => Ok(Self::Project(Box::new(Session::open(globals)?))),
        }
    }

    pub(super) fn runtime(&self) -> &Handle {
        match self {
            Self::Project(session) => session.runtime(),
            Self::Host(remote) => remote.runtime.handle(),
        }
    }

    /// A host to ask.
    pub(super) fn reach(&self) -> Result<Reached> {
        match self {
            Self::Project(session) => session.reach(),
            Self::Host(remote) => Ok(Reached {
                operator: Box::new(remote.operator.clone()),
                remote: true,
            }),
        }
    }

    /// A host that runs and can be asked over its API.
    pub(super) fn running(&self) -> Result<RemoteOperator> {
        match self {
            Self::Host(remote) => Ok(remote.operator.clone()),
            Self::Project(session) => match session.running_host()? {
                Some(operator) => Ok(operator),
                None => bail!(
                    "no host runs for this project: start one ('lamphouse serve'), or name one by --url; a file can be \
                     copied into {} too",
                    session.config.plugins.display()
                ),
            },
        }
    }

    /// The id of the event of a position or an id.
    pub(super) fn event_id(&self, text: &str) -> Result<String> {
        match self {
            Self::Project(session) => Ok(find_event(&*session.log()?, text)?.id.to_string()),
            Self::Host(remote) => remote.event_id(text),
        }
    }

    /// The events of a query, up to its limit, a page at a time.
    pub(super) fn pages(
        &self,
        query: EventQuery,
    ) -> Result<Box<dyn Iterator<Item = Result<Vec<StoredEvent>>>>> {
        match self {
            Self::Project(session) => {
                let log = session.log()?;
                Ok(Box::new(
                    super::events::pages(log, query).map(|page| page.map_err(Into::into)),
                ))
            }
            Self::Host(remote) => Ok(Box::new(remote_pages(remote.operator.clone(), query))),
        }
    }
}

impl Remote {
    fn open(url: &str, globals: &Globals) -> Result<Self> {
        let usage = |why: String| anyhow::Error::new(UsageError(why));
        let url = HostUrl::parse(url, globals.insecure_http).map_err(usage)?;
        let token = token(globals)?;
        let roots = match globals.ca.clone().or_else(|| path_of(CA)) {
            Some(path) => Some(read(&path, "the certificates")?),
            None => None,
        };
        let operator = RemoteOperator::at(&url, &token, roots.as_deref())
            .map_err(|why| usage(format!("{why}; see --token-file and --ca")))?;
        Ok(Self {
            operator,
            runtime: runtime()?,
        })
    }

    fn event_id(&self, text: &str) -> Result<String> {
        if let Ok(id) = uuid::Uuid::parse_str(text) {
            return Ok(id.to_string());
        }
        let Ok(position) = text.replace([',', '_'], "").parse::<u64>() else {
            bail!(UsageError(format!(
                "'{}' is neither a position nor an event id",
                plain(text)
            )));
        };
        let query = EventQuery {
            after: Some(Position(position.saturating_sub(1))),
            limit: 1,
            ..EventQuery::default()
        };
        let page = self.operator.events(&query)?;
        match page.events.first().filter(|event| event.position.0 == position) {
            Some(event) => Ok(event.id.to_string()),
            None => bail!("the log has no event {}", plain(text)),
        }
    }
}

/// The events of a query at a remote host; it may give fewer a page than it is asked for.
fn remote_pages(
    operator: RemoteOperator,
    mut query: EventQuery,
) -> impl Iterator<Item = Result<Vec<StoredEvent>>> {
    let mut left = query.limit;
    std::iter::from_fn(move || {
        query.limit = left.min(PAGE_EVENTS);
        if query.limit == 0 {
            return None;
        }
        match operator.events(&query) {
            Ok(page) => {
                left = left.saturating_sub(page.events.len() as u64);
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => left = 0,
                }
                (!page.events.is_empty()).then_some(Ok(page.events))
            }
            Err(error) => {
                left = 0;
                Some(Err(error.into()))
            }
        }
    })
}

/// The host that is named: by an option, or, where no project is named either, by the environment.
pub(super) fn named(globals: &Globals) -> Result<Option<String>> {
    if globals.url.is_some() && globals.project.is_some() {
        bail!(UsageError(
            "--url and --project name two places: give one of them".to_owned()
        ));
    }
    let from_env = || text_of(URL).filter(|_| globals.project.is_none());
    Ok(globals.url.clone().or_else(from_env))
}

/// Refuses `--url` where a command works on files alone.
pub(super) fn here_only(globals: &Globals, command: &str) -> Result<()> {
    if globals.url.is_some() {
        bail!(UsageError(format!(
            "'lamphouse {command}' works on a project folder; --url is not for it"
        )));
    }
    Ok(())
}

/// Refuses a named host where a command needs the project's own files and databases; else opens the project.
pub(super) fn project(globals: &Globals, command: &str) -> Result<Session> {
    here_only(globals, command)?;
    if named(globals)?.is_some() {
        bail!(UsageError(format!(
            "'lamphouse {command}' works on a project folder, and {URL} names a host elsewhere: give --project DIR, or \
             unset it"
        )));
    }
    Session::open(globals)
}

fn token(globals: &Globals) -> Result<String> {
    let of_file = |path: &Path| -> Result<String> {
        let bytes = read(path, "the token")?;
        String::from_utf8(bytes).with_context(|| format!("the token in {} is no text", path.display()))
    };
    if let Some(token) = &globals.token {
        return Ok(token.clone());
    }
    if let Some(path) = &globals.token_file {
        return of_file(path);
    }
    if let Some(token) = text_of(TOKEN) {
        return Ok(token);
    }
    match path_of(TOKEN_FILE) {
        Some(path) => of_file(&path),
        None => bail!(UsageError(format!(
            "a host elsewhere wants a token: give it in {TOKEN}, or in a file that only you can read by --token-file"
        ))),
    }
}

/// Reads a small file.
fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    /// More is no token and no list of certificates.
    const BYTES_MAX: u64 = 4 << 20;
    let length = std::fs::metadata(path)
        .with_context(|| format!("{what} cannot be read from {}", path.display()))?
        .len();
    if length > BYTES_MAX {
        bail!(
            "{} has {length} bytes, which is too large for {what}",
            path.display()
        );
    }
    std::fs::read(path).with_context(|| format!("{what} cannot be read from {}", path.display()))
}

fn text_of(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn path_of(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os(name)
        .filter(|path| !path.is_empty())
        .map(Into::into)
}
