//! `tokens.toml`: who may call the API, and what they may do.
//!
//! Only hashes are in the file. A token is 256 random bits, so that SHA-256 is enough: there is nothing to guess, which
//! slow hashes for passwords are there to hinder, and one hash a request costs nothing.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use toml_edit::{Array, Document, DocumentMut, Item, Table, Value, value};
use utoipa::ToSchema;

use super::ConfigErrors;
use super::section::{Findings, Section};

/// What every token begins with, so that scanners for leaked secrets know it.
pub const PREFIX: &str = "lamphouse_";
/// Tokens of one file: each is compared with what a request gives.
pub const TOKENS_MAX: usize = 1_000;
/// Bytes of the file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a hash begins with.
const ALGORITHM: &str = "sha256:";
/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;
/// Names that are somebody else's: the token of the data folder, and who else has idempotency keys.
const NAMES_TAKEN: [&str; 4] = ["admin", "cli", "import", "sql"];

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Append events.
    Append,
    /// Read events and tables, and subscribe to them.
    Read,
    /// Everything: what the others may, and operate the host.
    Admin,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "append" => Ok(Self::Append),
            "read" => Ok(Self::Read),
            "admin" => Ok(Self::Admin),
            _ => Err(format!(
                "'{}' is no role; there are: append, read, admin",
                text.chars().take(NAME_CHARS_MAX).collect::<String>()
            )),
        }
    }
}

/// One token of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Who has it; what the audit and idempotency keys know them by.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it is for; at least one.
    pub roles: BTreeSet<Role>,
    /// Stream types that it may append to and read; None: all.
    pub stream_types: Option<BTreeSet<String>>,
    /// Tables that it may read; None: all.
    pub tables: Option<BTreeSet<String>>,
    /// Until when it is good; None: for ever.
    pub expires_at: Option<DateTime<Utc>>,
}

impl TokenEntry {
    /// Whether it is good at this time.
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A new token; what the caller keeps, and nobody else ever sees again.
pub fn new_secret() -> String {
    // The generator of the thread is seeded by the system, and made for secrets.
    format!("{PREFIX}{}", HEXLOWER.encode(&rand::random::<[u8; 32]>()))
}

/// What the file keeps of a token.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Reads the file's text; all mistakes come at once.
pub fn parse(file: &Path, text: &str) -> Result<Vec<TokenEntry>, ConfigErrors> {
    let findings = Findings::new(text);
    let mut entries = Vec::new();
    match Document::parse(text) {
        Ok(document) => {
            let root = Section::root(&findings, document.as_table());
            for (name, section, span) in root.section("tokens").sections() {
                if let Err(wrong) = check_name(&name) {
                    section.note(span.clone(), format!("[tokens.{name}] {wrong}"));
                }
                if !section.has("hash") {
                    let message =
                        format!("[tokens.{name}] has no hash: 'lamphouse token add' makes a token with it");
                    section.note(span, message);
                }
                entries.extend(entry(name, &section));
            }
            root.refuse_unknown();
        }
        Err(error) => findings.add(error.span(), format!("not TOML: {}", error.message().trim())),
    }
    if entries.len() > TOKENS_MAX {
        findings.add(
            None,
            format!("holds {} tokens, more than {TOKENS_MAX}", entries.len()),
        );
    }
    for (at, entry) in entries.iter().enumerate() {
        if let Some(other) = entries[..at].iter().find(|other| other.hash == entry.hash) {
            let message = format!(
                "[tokens.{}] is the same token as [tokens.{}]: nobody could say which of them calls",
                entry.name, other.name
            );
            findings.add(None, message);
        }
    }
    match findings.into_mistakes() {
        mistakes if mistakes.is_empty() => Ok(entries),
        mistakes => Err(ConfigErrors {
            file: file.to_owned(),
            mistakes,
        }),
    }
}

/// What is wrong with the name of a token, if anything.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte);
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(is_plain) {
        return Err(format!(
            "must have a name of 1 to {NAME_CHARS_MAX} ASCII letters, digits, '_', '-', '.' and '@'"
        ));
    }
    if NAMES_TAKEN.contains(&name) {
        return Err(format!(
            "cannot be called '{name}', which is a name of the host's own"
        ));
    }
    Ok(())
}

fn entry(name: String, section: &Section<'_>) -> Option<TokenEntry> {
    let mut found = None;
    section.text("hash", &mut found, |text| read_hash(text).map(Some));
    let mut roles = Vec::new();
    section.texts("roles", &mut roles, str::parse::<Role>);
    let (mut stream_types, mut tables) = (Vec::new(), Vec::new());
    section.texts("stream_types", &mut stream_types, limited_to);
    section.texts("tables", &mut tables, limited_to);
    let mut expires_at = None;
    if let Some(item) = section.value("expires_at") {
        match time(item) {
            Ok(time) => expires_at = Some(time),
            Err(wrong) => section.refuse("expires_at", item, wrong),
        }
    }
    // For people alone; only its form is looked at.
    if let Some(item) = section.value("created_at")
        && let Err(wrong) = time(item)
    {
        section.refuse("created_at", item, wrong);
    }
    section.rule(
        !roles.is_empty() || section.has_items("roles"),
        "roles",
        "must name at least one of: append, read, admin",
    );
    let limits = [("stream_types", &stream_types), ("tables", &tables)];
    for (key, list) in limits {
        section.rule(
            !section.has(key) || !list.is_empty() || section.has_items(key),
            key,
            "names nothing, so the token could do nothing there; name some, or leave the key out for all",
        );
        section.rule(
            !section.has(key) || !roles.contains(&Role::Admin),
            key,
            "limits a token with the role admin, which may do everything; leave one of the two out",
        );
    }
    let limit = |key: &str, list: Vec<String>| section.has(key).then(|| list.into_iter().collect());
    let entry = TokenEntry {
        name,
        hash: found.unwrap_or_default(),
        roles: roles.into_iter().collect(),
        stream_types: limit("stream_types", stream_types),
        tables: limit("tables", tables),
        expires_at,
    };
    section.refuse_unknown();
    found.map(|_| entry)
}

fn read_hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || {
        if text.starts_with(PREFIX) {
            "holds a token itself, which is known to whoever can read this file: remove it, and add another by \
             'lamphouse token add'"
                .to_owned()
        } else {
            format!("must be '{ALGORITHM}' and 64 hexadecimal digits; 'lamphouse token add' makes it")
        }
    };
    let hex = text.strip_prefix(ALGORITHM).ok_or_else(wrong)?;
    let hash = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| wrong())?;
    hash.try_into().map_err(|_| wrong())
}

fn limited_to(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 1_024 || text.chars().any(char::is_control) {
        return Err("holds a name that is empty, too long or has control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// A time of TOML, or RFC 3339 in quotes; a date alone is its beginning, in UTC.
fn time(item: &Item) -> Result<DateTime<Utc>, String> {
    let text = match (item.as_datetime(), item.as_str()) {
        (Some(time), _) => time.to_string(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => String::new(),
    };
    read_time(&text)
        .ok_or_else(|| "must be a time with its zone or a date, such as 2027-01-01T00:00:00Z".to_owned())
}

/// RFC 3339, or a date, which is its beginning in UTC; None: neither.
pub fn read_time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let date: NaiveDate = text.parse().ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc())
}

/// The file's text with one more token; what was written there by hand stays.
///
/// Errors: the text is not TOML, or the name is there already.
pub fn add(text: &str, entry: &TokenEntry, created_at: DateTime<Utc>) -> Result<String, String> {
    let mut document = read_document(text)?;
    // Comments alone are the end of a document, and are to be its beginning.
    let before = match document.is_empty() {
        true => std::mem::take(&mut document).to_string(),
        false => String::new(),
    };
    let gap = match before.as_str() {
        "" => "",
        before if before.ends_with("\n\n") => "",
        before if before.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let tokens = document
        .entry("tokens")
        .or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        })
        .as_table_like_mut()
        .ok_or("'tokens' is no table there")?;
    if tokens.contains_key(&entry.name) {
        return Err(format!(
            "there is a token '{0}' already: 'lamphouse token remove {0}' first, or choose another name",
            entry.name
        ));
    }
    let hex = HEXLOWER.encode(&entry.hash);
    let list = |items: &mut dyn Iterator<Item = &str>| value(items.collect::<Array>());
    let at = |time: DateTime<Utc>| {
        let text = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        // What chrono writes is a time of TOML too.
        let time = text.parse::<toml_edit::Datetime>();
        time.map_or_else(|_| value(text), |time| value(Value::from(time)))
    };
    let mut table = Table::new();
    table["hash"] = value(format!("{ALGORITHM}{hex}"));
    table["roles"] = list(&mut entry.roles.iter().map(|role| role.as_str()));
    if let Some(types) = &entry.stream_types {
        table["stream_types"] = list(&mut types.iter().map(String::as_str));
    }
    if let Some(tables) = &entry.tables {
        table["tables"] = list(&mut tables.iter().map(String::as_str));
    }
    if let Some(expires_at) = entry.expires_at {
        table["expires_at"] = at(expires_at);
    }
    table["created_at"] = at(created_at);
    tokens.insert(&entry.name, Item::Table(table));
    Ok(format!("{before}{gap}{document}"))
}

/// The file's text without a token; None where it is not there.
///
/// Errors: the text is not TOML.
pub fn remove(text: &str, name: &str) -> Result<Option<String>, String> {
    let mut document = read_document(text)?;
    let tokens = document.get_mut("tokens").and_then(Item::as_table_like_mut);
    let Some((tokens, removed)) = tokens.and_then(|tokens| {
        let removed = tokens.remove(name)?;
        Some((tokens, removed))
    }) else {
        return Ok(None);
    };
    // A comment with a blank line below it is about more than this token.
    let Some(removed) = removed.as_table() else {
        return Ok(Some(document.to_string()));
    };
    let prefix = |table: &Table| {
        let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str());
        prefix.unwrap_or_default().to_owned()
    };
    let comments = prefix(removed);
    let kept = comments
        .rfind("\n\n")
        .map_or("", |end| &comments[..end + 2])
        .trim_start_matches('\n');
    let mut behind: Vec<&mut Table> = tokens
        .iter_mut()
        .filter_map(|(_, item)| item.as_table_mut())
        .filter(|table| table.position() > removed.position())
        .collect();
    behind.sort_by_key(|table| table.position());
    match behind.into_iter().next() {
        Some(next) => {
            let own = prefix(next);
            let own = if kept.is_empty() {
                own.as_str()
            } else {
                own.trim_start_matches('\n')
            };
            next.decor_mut().set_prefix(format!("{kept}{own}"));
        }
        None => {
            let end = document.trailing().as_str().unwrap_or_default().to_owned();
            document.set_trailing(format!("{kept}{end}"));
        }
    }
    Ok(Some(document.to_string()))
}

fn read_document(text: &str) -> Result<DocumentMut, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| format!("not TOML: {}", error.message().trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<TokenEntry>, String> {
        parse(Path::new("tokens.toml"), text).map_err(|error| error.to_string())
    }

    fn entry_of(name: &str, secret: &str) -> TokenEntry {
        TokenEntry {
            name: name.to_owned(),
            hash: hash(secret),
            roles: BTreeSet::from([Role::Append, Role::Read]),
            stream_types: Some(BTreeSet::from(["order".to_owned()])),
            tables: None,
            expires_at: Some("2027-01-01T00:00:00Z".parse().expect("a time")),
        }
    }

    #[test]
    fn what_is_added_is_read_back_and_comments_stay() {
        let created = "2026-11-22T07:00:00Z".parse().expect("a time");
        let shop = entry_of("shop", "one");
        let text = add("# Ask Ada before you change this.\n", &shop, created).expect("added");
        let ledger = TokenEntry {
            roles: BTreeSet::from([Role::Admin]),
            stream_types: None,
            expires_at: None,
            ..entry_of("ledger@example.com", "two")
        };
        let text = add(&text, &ledger, created).expect("added");
        insta::assert_snapshot!(text, @r#"
        # Ask Ada before you change this.

        [tokens.shop]
        hash = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
        roles = ["append", "read"]
        stream_types = ["order"]
        expires_at = 2027-01-01T00:00:00Z
        created_at = 2026-11-22T07:00:00Z

        [tokens."ledger@example.com"]
        hash = "sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
        roles = ["admin"]
        created_at = 2026-11-22T07:00:00Z
        "#);
        assert_eq!(read(&text), Ok(vec![shop.clone(), ledger.clone()]));
        assert!(
            add(&text, &shop, created)
                .expect_err("there")
                .contains("token remove shop")
        );
        let text = remove(&text, "shop").expect("TOML").expect("removed");
        assert!(text.contains("Ask Ada"), "{text}");
        assert_eq!(read(&text), Ok(vec![ledger]));
        assert_eq!(remove(&text, "shop"), Ok(None));
        let text = remove(&text, "ledger@example.com")
            .expect("TOML")
            .expect("removed");
        assert_eq!(text.trim_end(), "# Ask Ada before you change this.");
        assert!(
            add(&text, &shop, created)
                .expect("added")
                .starts_with("# Ask Ada")
        );
        assert_eq!(read(""), Ok(vec![]));
    }

    #[test]
    fn all_mistakes_come_at_once_with_their_lines() {
        let secret = new_secret();
        let good = format!("sha256:{}", "0a".repeat(32));
        let text = format!(
            "[tokens.admin]\nhash = \"{good}\"\nroles = [\"read\"]\n\
             [tokens.plain]\nhash = \"{secret}\"\nroles = [\"write\"]\nrole = \"read\"\n\
             [tokens.limited]\nhash = \"{good}\"\nroles = [\"admin\"]\ntables = [\"orders\"]\nexpires_at = \"soon\"\n\
             [tokens.none]\nroles = []\nstream_types = []\n[token.x]\n"
        );
        insta::assert_snapshot!(read(&text).expect_err("mistakes"), @r#"
        tokens.toml has 11 mistakes:
          [tokens.limited] is the same token as [tokens.admin]: nobody could say which of them calls
          line 1: [tokens.admin] cannot be called 'admin', which is a name of the host's own
          line 5: [tokens.plain] hash holds a token itself, which is known to whoever can read this file: remove it, and add another by 'lamphouse token add'
          line 6: [tokens.plain] roles 'write' is no role; there are: append, read, admin
          line 7: [tokens.plain] has no key 'role'; did you mean 'roles'?
          line 11: [tokens.limited] tables limits a token with the role admin, which may do everything; leave one of the two out
          line 12: [tokens.limited] expires_at must be a time with its zone or a date, such as 2027-01-01T00:00:00Z
          line 13: [tokens.none] has no hash: 'lamphouse token add' makes a token with it
          line 14: [tokens.none] roles must name at least one of: append, read, admin
          line 15: [tokens.none] stream_types names nothing, so the token could do nothing there; name some, or leave the key out for all
          line 16: unknown section or key 'token'; did you mean 'tokens'?
        "#);
    }

    #[test]
    fn a_date_is_its_beginning() {
        let text = format!(
            "[tokens.a]\nhash = \"sha256:{}\"\nroles = [\"read\"]\nexpires_at = 2027-01-01\n",
            "0a".repeat(32)
        );
        let entry = read(&text).expect("a token").remove(0);
        let midnight: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().expect("a time");
        assert_eq!(entry.expires_at, Some(midnight));
        assert!(!entry.is_good(midnight) && entry.is_good(midnight - chrono::TimeDelta::seconds(1)));
    }

    #[test]
    fn a_secret_is_long_and_another_each_time() {
        let (one, other) = (new_secret(), new_secret());
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 64);
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }
}
