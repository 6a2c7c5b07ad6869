//! Where a database is, and how to say so without its password.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a database is. Prints itself with the password masked.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`, absolute here.
    Sqlite(PathBuf),
    /// `postgres://…`, with its password.
    Postgres(String),
}

impl DatabaseUrl {
    /// From text; a relative SQLite path is taken from `root`. The error says what is wrong and never repeats a password.
    pub fn parse(text: &str, root: &Path) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return if path.is_empty() {
                Err("names no file; write 'sqlite:log.db'".to_owned())
            } else if path.contains(":memory:") || path.contains('?') {
                Err("must be a plain file path: neither ':memory:' nor options after '?'".to_owned())
            } else if path.contains('\0') {
                Err("has a NUL in its path".to_owned())
            } else {
                Ok(Self::Sqlite(root.join(path)))
            };
        }
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or("must begin with 'sqlite:' or 'postgres://'")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() && !rest.contains("host=") {
            return Err("names no host; write 'postgres://user:password@host/database'".to_owned());
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("holds white space; write it as %20".to_owned());
        }
        Ok(Self::Postgres(text.to_owned()))
    }

    /// `sqlite` or `postgres`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL with the password of its authority and any `password=` or `sslpassword=` parameter replaced by `***`.
fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    // A password may hold an unescaped '@' or '/': everything up to the last '@' is user and password.
    let shown = match before_query.rsplit_once('@') {
        Some((account, place)) => {
            let user = account.split(':').next().unwrap_or_default();
            let password = if account.contains(':') { ":***" } else { "" };
            format!("{user}{password}@{place}")
        }
        None => before_query.to_owned(),
    };
    let query = query.map(|query| {
        let parts = query.split('&').map(|part| match part.split_once('=') {
            Some((key, _)) if key.to_ascii_lowercase().contains("password") => format!("{key}=***"),
            // An unescaped '?' in a password ends up here; nothing after it may show.
            _ if part.contains('@') => "***".to_owned(),
            _ => part.to_owned(),
        });
        format!("?{}", parts.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{shown}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, String> {
        DatabaseUrl::parse(text, Path::new("/project"))
    }

    #[test]
    fn a_relative_sqlite_path_is_taken_from_the_project() {
        assert_eq!(
            parse("sqlite:log.db"),
            Ok(DatabaseUrl::Sqlite("/project/log.db".into()))
        );
        assert_eq!(
            parse("sqlite://log.db"),
            Ok(DatabaseUrl::Sqlite("/project/log.db".into()))
        );
        assert_eq!(
            parse("sqlite:/var/log.db"),
            Ok(DatabaseUrl::Sqlite("/var/log.db".into()))
        );
        assert_eq!(
            parse("sqlite:///var/log.db"),
            Ok(DatabaseUrl::Sqlite("/var/log.db".into()))
        );
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused() {
        for text in [
            "",
            "log.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "mysql://h/d",
            "postgres://",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("postgres:///db?host=/var/run/postgresql").is_ok());
    }

    #[test]
    fn a_password_never_shows() {
        for url in [
            "postgres://me:sesame@host:5432/db",
            "postgres://me:sesame@host",
            "postgresql://me:se@sesame@host/db?sslmode=require",
            "postgres://me:a/sesame@host/db",
            "postgres://me:a?sesame@host/db",
            "postgres://me@host/db?password=sesame&application_name=x",
            "postgres://host/db?user=me&PASSWORD=sesame",
        ] {
            let parsed = parse(url).expect("a URL");
            assert!(!parsed.to_string().contains("sesame"), "{parsed}");
            assert!(!format!("{parsed:?}").contains("sesame"), "{parsed:?}");
        }
        assert_eq!(
            parse("postgres://me:sesame@host:5432/db?sslmode=require")
                .expect("a URL")
                .to_string(),
            "postgres://me:***@host:5432/db?sslmode=require"
        );
    }
}
