//! The tokens of `tokens.toml` while the host runs.
//!
//! *Invariants:* a token that is taken out of the file is out within moments, without a restart; a file that cannot be
//! used leaves those that were good before, and says so; no file is no tokens.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use subtle::ConstantTimeEq as _;

use super::access::Caller;
use super::followed::Followed;
use super::noted::Noted;
use crate::config::ConfigErrors;
use crate::config::tokens::{self, FILE_BYTES_MAX, TokenEntry};
use crate::telemetry::Event;
use crate::telemetry::events::{TokensRead, TokensRefused};

/// Why a file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// What is in it; all mistakes at once.
    #[error(transparent)]
    Mistakes(#[from] ConfigErrors),
    /// Others can write it, and let themselves in.
    #[error("{path} can be changed by others (mode {mode:o}); run: chmod go-w {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Those that are good now.
pub(super) struct Tokens {
    file: PathBuf,
    known: RwLock<Arc<Vec<Known>>>,
    followed: Followed<Option<String>>,
}

struct Known {
    entry: TokenEntry,
    caller: Arc<Caller>,
}

/// Whose token it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Caller(Arc<Caller>),
    Expired { name: String, at: DateTime<Utc> },
    Unknown,
}

impl Tokens {
    /// Reads the file; none is no tokens.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn load(file: &Path, noted: Noted) -> Result<Self, TokensError> {
        let text = read(file)?;
        let known = parse(file, text.as_deref())?;
        Ok(Self {
            file: file.to_owned(),
            known: RwLock::new(Arc::new(known)),
            followed: Followed::new(text, "tokens", "the tokens are still those of before", noted),
        })
    }

    /// How many are good at this time.
    pub(super) fn good(&self, now: DateTime<Utc>) -> usize {
        let known = self.known.read().clone();
        known.iter().filter(|known| known.entry.is_good(now)).count()
    }

    /// Whose token this is. Takes the same time for each token that is not there, however much of it is right.
    pub(super) fn find(&self, given: &str, now: DateTime<Utc>) -> Found {
        let hash = tokens::hash(given);
        let known = self.known.read().clone();
        let mut found = None;
        // All of them are compared, so that the time says nothing of which it was either.
        for known in known.iter() {
            if known.entry.hash.ct_eq(&hash).into() {
                found = Some(known);
            }
        }
        match found {
            None => Found::Unknown,
            Some(known) => match known.entry.expires_at {
                Some(at) if !known.entry.is_good(now) => Found::Expired {
                    name: known.entry.name.clone(),
                    at,
                },
                _ => Found::Caller(known.caller.clone()),
            },
        }
    }

    /// Looks at the file again; what has changed counts from now on.
    pub(super) fn look(&self) {
        let refused = self.followed.look(
            || read(&self.file),
            |text| parse(&self.file, text.as_deref()),
            |known| {
                let tokens = known.len() as u64;
                *self.known.write() = Arc::new(known);
                TokensRead {
                    file: &self.file.display().to_string(),
                    tokens,
                }
                .emit();
            },
        );
        if let Some(error) = refused {
            TokensRefused { error: &error }.emit();
        }
    }
}

fn parse(file: &Path, text: Option<&str>) -> Result<Vec<Known>, TokensError> {
    let entries = tokens::parse(file, text.unwrap_or_default())?;
    Ok(entries
        .into_iter()
        .map(|entry| Known {
            caller: Arc::new(Caller {
                name: entry.name.clone(),
                roles: entry.roles.clone(),
                stream_types: entry.stream_types.clone(),
                tables: entry.tables.clone(),
            }),
            entry,
        })
        .collect())
}

/// The file's text; None where there is no file.
fn read(path: &Path) -> Result<Option<String>, TokensError> {
    let failed = |error| TokensError::Io {
        path: path.to_owned(),
        error,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(TokensError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let why = format!("is larger than {FILE_BYTES_MAX} bytes");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, why)));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use data_encoding::HEXLOWER;

    use super::*;

    fn line(name: &str, secret: &str) -> String {
        let hex = HEXLOWER.encode(&tokens::hash(secret));
        format!("[tokens.{name}]\nhash = \"sha256:{hex}\"\nroles = [\"read\"]\n")
    }

    struct Bench {
        folder: tempfile::TempDir,
        noted: Noted,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
                noted: Noted::default(),
            }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("tokens.toml")
        }

        fn write(&self, text: &str) {
            fs::write(self.file(), text).expect("written");
            fs::set_permissions(self.file(), fs::Permissions::from_mode(0o600)).expect("changed");
        }

        fn load(&self) -> Result<Tokens, TokensError> {
            Tokens::load(&self.file(), self.noted.clone())
        }
    }

    fn name(tokens: &Tokens, secret: &str) -> Option<String> {
        match tokens.find(secret, Utc::now()) {
            Found::Caller(caller) => Some(caller.name.clone()),
            _ => None,
        }
    }

    #[test]
    fn who_is_taken_out_of_the_file_is_out() {
        let bench = Bench::new();
        let tokens = bench.load().expect("no file is no tokens");
        assert_eq!(tokens.good(Utc::now()), 0);
        bench.write(&format!("{}{}", line("shop", "one"), line("till", "two")));
        tokens.look();
        assert_eq!(name(&tokens, "one").as_deref(), Some("shop"));
        assert_eq!(name(&tokens, "two").as_deref(), Some("till"));
        assert_eq!(name(&tokens, "three"), None);
        bench.write(&line("till", "two"));
        tokens.look();
        assert_eq!(
            (name(&tokens, "one"), name(&tokens, "two").is_some()),
            (None, true)
        );
        fs::remove_file(bench.file()).expect("removed");
        tokens.look();
        assert_eq!(name(&tokens, "two"), None);
        assert!(bench.noted.all().is_empty());
    }

    #[test]
    fn a_broken_file_leaves_those_of_before_and_is_told() {
        let bench = Bench::new();
        bench.write(&line("shop", "one"));
        let tokens = bench.load().expect("tokens");
        bench.write("[tokens.shop]\nhsah = 1\n");
        tokens.look();
        assert!(bench.noted.all().is_empty(), "it may be half written");
        tokens.look();
        assert_eq!(name(&tokens, "one").as_deref(), Some("shop"));
        let problems = bench.noted.all().join("\n");
        assert!(
            problems.contains("line 2") && problems.contains("'hsah'"),
            "{problems}"
        );
        assert!(
            matches!(bench.load(), Err(TokensError::Mistakes(_))),
            "at the start it is refused"
        );
        bench.write(&line("shop", "one"));
        tokens.look();
        assert!(bench.noted.all().is_empty());
    }

    #[test]
    fn a_file_that_others_can_change_is_refused() {
        let bench = Bench::new();
        bench.write(&line("shop", "one"));
        fs::set_permissions(bench.file(), fs::Permissions::from_mode(0o664)).expect("changed");
        assert!(matches!(bench.load(), Err(TokensError::Open { mode: 0o664, .. })));
    }

    #[test]
    fn a_token_ends_when_it_was_said() {
        let bench = Bench::new();
        bench.write(&format!("{}expires_at = 2027-01-01\n", line("shop", "one")));
        let tokens = bench.load().expect("tokens");
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        assert_eq!(tokens.good(at("2026-12-31T23:59:59Z")), 1);
        assert_eq!(tokens.good(at("2027-01-01T00:00:00Z")), 0);
        assert!(matches!(
            tokens.find("one", at("2027-01-01T00:00:00Z")),
            Found::Expired { name, .. } if name == "shop"
        ));
    }
}
