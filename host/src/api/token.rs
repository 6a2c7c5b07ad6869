//! The admin token: a file that only its owner can read.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq as _;

use crate::config::tokens;

/// Name of the token's file in the data folder.
const FILE: &str = "token";
/// A token file is short; more than this is something else.
const TOKEN_BYTES_MAX: u64 = 1_024;
/// Random bytes of a new token.
const TOKEN_BYTES_NEW: usize = 32;

/// What lets a caller in. Does not show itself.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Others can read the file.
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}", path = path.display())]
    Open {
        /// The token's file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no token.
    #[error("{path} holds no token; remove it and start the host again", path = .0.display())]
    Malformed(PathBuf),
    /// The file or its folder cannot be used.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Token {
    /// The token of a data folder. Makes folder (mode 0700) and file (mode 0600) where they are missing.
    pub fn load_or_create(data: &Path) -> Result<Self, TokenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| TokenError::Io { path, error }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(failed(data))?;
        let path = data.join(FILE);
        if !path.try_exists().map_err(failed(&path))? {
            let text = HEXLOWER.encode(&rand::random::<[u8; TOKEN_BYTES_NEW]>());
            let fresh = data.join(format!("{FILE}.{}", std::process::id()));
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)
                .map_err(failed(&fresh))?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(failed(&fresh))?;
            // A link does not replace: when two hosts start at once, both use the token of the first.
            let linked = fs::hard_link(&fresh, &path);
            fs::remove_file(&fresh).map_err(failed(&fresh))?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(&path)(error));
                }
                _ => {}
            }
        }
        Self::load(data)
    }

    /// The token of a data folder where a host has run.
    pub fn load(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(FILE);
        let failed = |error| TokenError::Io {
            path: path.clone(),
            error,
        };
        let file = fs::File::open(&path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Open { path, mode });
        }
        let mut text = String::new();
        file.take(TOKEN_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let text = text.trim();
        if text.len() < TOKEN_BYTES_NEW || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed(path));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether what a caller gave is this token, in a time that does not depend on how much of it is right.
    pub fn matches(&self, given: &str) -> bool {
        tokens::hash(&self.0).ct_eq(&tokens::hash(given)).into()
    }

    /// The value of the `Authorization` header.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let token = Token::load_or_create(&data).expect("a token");
        let again = Token::load_or_create(&data).expect("the same token");
        assert!(token.matches(&again.0) && !token.matches("") && !token.matches(&again.0[1..]));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&data.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&data).expect("a folder").count(), 1);
        assert_eq!(format!("{token:?}"), "Token(***)");
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        Token::load_or_create(folder.path()).expect("a token");
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(
            Token::load_or_create(folder.path()),
            Err(TokenError::Open { mode: 0o640, .. })
        ));
    }

    #[test]
    fn an_empty_token_lets_nobody_in() {
        let folder = tempfile::tempdir().expect("a folder");
        Token::load_or_create(folder.path()).expect("a token");
        fs::write(folder.path().join(FILE), "\n").expect("written");
        assert!(matches!(
            Token::load(folder.path()),
            Err(TokenError::Malformed(_))
        ));
    }
}
