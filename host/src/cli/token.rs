//! `lamphouse token`: who may call the HTTP API of this project's host. The commands write the file of the tokens, which a
//! running host follows.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::UsageError;
use super::output::{Output, Style};
use super::session::Session;
use super::table::{Cell, Look, lay_out};
use crate::config::tokens::{self, Role, TokenEntry};

/// What a new file begins with.
const HEADER: &str = "\
# Who may call the HTTP API: 'lamphouse token --help'. A host that runs follows this file; hashes of tokens are here, never
# the tokens. Comments stay.

";

/// Say who may call the HTTP API, and what they may do
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Make a token, and show it once
///
/// The file holds its hash alone: whoever loses it gets a new one. A running host knows it within a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse token add shop --role append --stream-type order
  lamphouse token add reports --role read --table orders --table customers --expires 2027-01-01
  lamphouse token add ops --role admin

Roles:
  append  append events
  read    read events and tables, and subscribe to them
  admin   everything, and operate the host; cannot be limited

--stream-type limits what is appended and which events are read, --table which tables; each may be given several times.")]
struct Add {
    /// Who will have it, in letters, digits, _ - . and @; the record of what admins do knows them by it
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is for: append, read or admin; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// Only streams of this type; may be given several times [default: all]
    #[arg(long = "stream-type", value_name = "TYPE")]
    stream_types: Vec<String>,
    /// Only this table; may be given several times [default: all]
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// Until when it is good: a date, which is its beginning in UTC, or RFC 3339 [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<DateTime<Utc>>,
}

/// List who has a token
#[derive(Debug, clap::Args)]
struct List {}

/// Take a token out; a running host refuses it within a second
#[derive(Debug, clap::Args)]
struct Remove {
    /// Whose
    #[arg(value_name = "NAME")]
    name: String,
}

/// What `--json` prints of a token.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    roles: &'a BTreeSet<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_types: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<&'a BTreeSet<String>>,
    expires_at: Option<String>,
    expired: bool,
}

impl TokenArgs {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let file = &session.config.tokens;
        match self.command {
            TokenCommand::Add(add) => add.run(file, &session.config.data, out),
            TokenCommand::List(List {}) => list(file, out),
            TokenCommand::Remove(remove) => remove.run(file, &session.config.data, out),
        }
    }
}

impl Add {
    fn run(self, file: &Path, data: &Path, out: &mut Output) -> Result<()> {
        let now = Utc::now();
        let wrong = |message: String| anyhow!(UsageError(message));
        tokens::check_name(&self.name).map_err(|error| wrong(format!("a token {error}")))?;
        if self.expires.is_some_and(|end| end <= now) {
            bail!(wrong(
                "--expires is in the past: the token would never be good".to_owned()
            ));
        }
        let limited = !self.stream_types.is_empty() || !self.tables.is_empty();
        if limited && self.roles.contains(&Role::Admin) {
            bail!(wrong(
                "the role admin may do everything and cannot be limited: leave out --stream-type and --table, or the role"
                    .to_owned()
            ));
        }
        let only = |list: Vec<String>| (!list.is_empty()).then(|| list.into_iter().collect());
        let secret = tokens::new_secret();
        let entry = TokenEntry {
            name: self.name,
            hash: tokens::hash(&secret),
            roles: self.roles.into_iter().collect(),
            stream_types: only(self.stream_types),
            tables: only(self.tables),
            expires_at: self.expires,
        };
        change(file, data, |text| {
            let text = if text.is_empty() { HEADER } else { text };
            let text =
                tokens::add(text, &entry, now).map_err(|error| anyhow!("{}: {error}", file.display()))?;
            // What would not be read is not written.
            tokens::parse(file, &text)?;
            Ok(text)
        })?;
        if out.json {
            return out.document(&serde_json::json!({ "name": entry.name, "token": secret, "file": file }));
        }
        super::progress::say(&format!(
            "The token of '{}', which nobody can see again; it goes into the header 'Authorization: Bearer TOKEN':",
            entry.name
        ));
        out.line(secret)
    }
}

impl Remove {
    fn run(self, file: &Path, data: &Path, out: &mut Output) -> Result<()> {
        change(file, data, |text| {
            tokens::remove(text, &self.name)
                .map_err(|error| anyhow!("{}: {error}", file.display()))?
                .with_context(|| {
                    format!(
                        "{} holds no token '{}'; see 'lamphouse token list'",
                        file.display(),
                        self.name
                    )
                })
        })?;
        if out.json {
            return out.document(&serde_json::json!({ "removed": self.name, "file": file }));
        }
        out.line(format!("the token '{}' is removed", self.name))
    }
}

fn list(file: &Path, out: &mut Output) -> Result<()> {
    let entries = tokens::parse(file, &read(file)?)?;
    if out.json {
        let now = Utc::now();
        let shown: Vec<Shown<'_>> = entries.iter().map(|entry| Shown::of(entry, now)).collect();
        return out.document(&serde_json::json!({ "file": file, "tokens": shown }));
    }
    if entries.is_empty() {
        super::progress::say(&format!(
            "{} holds no token; see 'lamphouse token add --help'",
            file.display()
        ));
        return Ok(());
    }
    let lines = render(&entries, Utc::now(), out.width(), out.style);
    lines.iter().try_for_each(|line| out.line(line))
}

fn render(entries: &[TokenEntry], now: DateTime<Utc>, width: Option<usize>, style: Style) -> Vec<String> {
    let all = |names: &Option<BTreeSet<String>>| match names {
        None => "all".to_owned(),
        Some(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    };
    let rows: Vec<Vec<Cell>> = entries
        .iter()
        .map(|entry| {
            let roles: Vec<&str> = entry.roles.iter().map(|role| role.as_str()).collect();
            let expires = match entry.expires_at {
                None => "never".to_owned(),
                Some(at) if entry.is_good(now) => written(at),
                Some(at) => format!("{} (expired)", written(at)),
            };
            vec![
                Cell::text(&entry.name).look(Look::Bold),
                Cell::text(roles.join(", ")),
                Cell::text(all(&entry.stream_types)),
                Cell::text(all(&entry.tables)),
                Cell::text(expires),
            ]
        })
        .collect();
    lay_out(
        &["token", "roles", "stream types", "tables", "expires"],
        &rows,
        width,
        style,
    )
}

impl<'a> Shown<'a> {
    fn of(entry: &'a TokenEntry, now: DateTime<Utc>) -> Self {
        Self {
            name: &entry.name,
            roles: &entry.roles,
            stream_types: entry.stream_types.as_ref(),
            tables: entry.tables.as_ref(),
            expires_at: entry.expires_at.map(written),
            expired: !entry.is_good(now),
        }
    }
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    tokens::read_time(text)
        .ok_or_else(|| "give a date such as 2027-01-01, or a time with its zone".to_owned())
}

/// The file's text; empty where there is none.
fn read(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

/// Replaces the file's text at once, readable by its owner alone; who changes it at the same time waits.
fn change(file: &Path, data: &Path, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("{} cannot be made", data.display()))?;
    let lock = data.join("tokens.lock");
    let held = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock)
        .and_then(|held| held.lock().map(|()| held))
        .with_context(|| format!("{} cannot be locked", lock.display()))?;
    // A link stays a link, and what it points to is replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let text = change(&read(&target)?)?;
    let partial = beside(&target, &format!(".{}", std::process::id()));
    let written = write(&partial, &text).and_then(|()| fs::rename(&partial, &target));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written.with_context(|| format!("{} cannot be written", target.display()))?;
    if let Some(folder) = target.parent() {
        // The name is on the disk too; where a folder cannot be synced, the file is there all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    drop(held);
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    file.with_file_name(name)
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_change_replaces_the_file_and_a_failure_leaves_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, data) = (folder.path().join("tokens.toml"), folder.path().join("data"));
        change(&file, &data, |text| Ok(format!("{text}one"))).expect("written");
        change(&file, &data, |text| Ok(format!("{text} two"))).expect("written");
        assert!(change(&file, &data, |_| bail!("no")).is_err());
        assert_eq!(fs::read_to_string(&file).expect("there"), "one two");
        let mode = fs::metadata(&file).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            2,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, target) = (folder.path().join("tokens.toml"), folder.path().join("real.toml"));
        fs::write(&target, "").expect("written");
        std::os::unix::fs::symlink(&target, &file).expect("linked");
        change(&file, folder.path(), |_| Ok("one".to_owned())).expect("written");
        assert!(fs::symlink_metadata(&file).expect("there").is_symlink());
        assert_eq!(fs::read_to_string(&target).expect("there"), "one");
    }

    #[test]
    fn tokens_show_in_columns() {
        let now: DateTime<Utc> = "2026-11-22T07:00:00Z".parse().expect("a time");
        let entry =
            |name: &str, roles: &[Role], stream_types: &[&str], expires_at: Option<&str>| TokenEntry {
                name: name.to_owned(),
                hash: tokens::hash(name),
                roles: roles.iter().copied().collect(),
                stream_types: (!stream_types.is_empty())
                    .then(|| stream_types.iter().map(|name| (*name).to_owned()).collect()),
                tables: None,
                expires_at: expires_at.map(|at| at.parse().expect("a time")),
            };
        let entries = [
            entry(
                "shop",
                &[Role::Append, Role::Read],
                &["order", "customer"],
                Some("2027-01-01T00:00:00Z"),
            ),
            entry("ops", &[Role::Admin], &[], None),
            entry("old", &[Role::Read], &[], Some("2026-01-01T00:00:00Z")),
        ];
        insta::assert_snapshot!(render(&entries, now, None, Style::default()).join("\n"), @r"
        token  roles         stream types     tables  expires
        shop   append, read  customer, order  all     2027-01-01T00:00:00Z
        ops    admin         all              all     never
        old    read          all              all     2026-01-01T00:00:00Z (expired)
        ");
    }
}
