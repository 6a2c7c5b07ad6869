//! Which database a scenario runs on, and a PostgreSQL database of its own for each.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection};
use xtask::postgres::{self, Server};

use crate::client::runtime;

/// Where a project keeps its log and its tables.
#[derive(Clone)]
pub enum Database {
    /// Two files in the project folder.
    Sqlite,
    /// A database of its own on the test server; dropped with the last clone.
    Postgres(Arc<OwnDatabase>),
}

/// A PostgreSQL database that is dropped at the end.
pub struct OwnDatabase {
    server: String,
    name: String,
    /// Its server, where it has one of its own (because the scenario stops it).
    drop_at_end: bool,
}

impl Database {
    /// SQLite.
    pub fn sqlite() -> Self {
        Self::Sqlite
    }

    /// A new database on the test server; None, with a loud line, where there is no server.
    ///
    /// # Panics
    /// When there is no server although nothing may be skipped, or when it refuses.
    pub fn postgres() -> Option<Self> {
        let Some(server) = std::env::var("LAMPHOUSE_TEST_POSTGRES")
            .ok()
            .filter(|url| !url.is_empty())
        else {
            assert!(
                !crate::strict(),
                "LAMPHOUSE_TEST_POSTGRES is not set, and nothing may be skipped"
            );
            println!("SKIPPED (no LAMPHOUSE_TEST_POSTGRES): this scenario on PostgreSQL");
            return None;
        };
        Some(Self::on_server(&server, true))
    }

    /// A new database on a server that the scenario itself started, and may stop.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn on_server(server: &str, drop_at_end: bool) -> Self {
        let name = format!("lamphouse_e2e_{}", uuid::Uuid::new_v4().simple());
        administrate(server, &format!("CREATE DATABASE {name}")).expect("the test server makes a database");
        Self::Postgres(Arc::new(OwnDatabase {
            server: server.to_owned(),
            name,
            drop_at_end,
        }))
    }

    /// `sqlite` or `postgres`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The PostgreSQL URL, where it is one.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(own) => Some(own.url()),
        }
    }
}

impl OwnDatabase {
    fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap_or((&self.server, ""));
        format!("{server}/{}", self.name)
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        if self.drop_at_end {
            // Nothing depends on it: the server itself goes away after the tests.
            let _ = administrate(
                &self.server,
                &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
            );
        }
    }
}

/// A PostgreSQL server that a scenario may stop; None, with a loud line, where its binaries are not installed.
///
/// # Panics
/// When they are not although nothing may be skipped, or when the server does not start.
pub fn own_server(what: &str) -> Option<Server> {
    if postgres::binaries().is_none() {
        assert!(
            !crate::strict(),
            "PostgreSQL's server binaries are not installed, and nothing may be skipped"
        );
        println!("SKIPPED (PostgreSQL's server binaries are not installed): {what}");
        return None;
    }
    Some(Server::start().expect("a server of the scenario's own"))
}

fn administrate(server: &str, statement: &str) -> sqlx::Result<()> {
    runtime().block_on(async {
        let mut connection = PgConnection::connect(server).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })
}
