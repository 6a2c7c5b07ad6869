//! The one owner of a tables database: an advisory lock on a connection that is kept open for it.
//!
//! The lock lives as long as its connection. The connection's keepalives (see [`super::session`]) let the server
//! notice within half a minute that a host is gone without a word.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Executor as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::session::{Database, Failure, Session};
use crate::tables::{Ownership, StoreError};

/// "lamphous" in ASCII: one lock a database, because PostgreSQL keeps advisory locks apart by database.
const LOCK: i64 = 0x6c61_6d70_686f_7573;
/// How long the server may take to answer before the lock counts as lost.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Becomes the owner if nobody is.
pub(super) fn try_own(database: &Arc<Database>) -> Result<Option<Box<dyn Ownership>>, StoreError> {
    let mut session = Session::new(database.clone());
    let taken = session.run("becoming the owner of the tables", async |connection| {
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *connection)
            .await?;
        if taken {
            // What the last owner announced is not ours.
            connection.execute("DELETE FROM lamphouse_control.owner").await?;
        }
        Ok(taken)
    })?;
    Ok(taken.then(|| Box::new(Guard { session }) as Box<dyn Ownership>))
}

/// Where the owner listens; None when nobody holds the lock, or the owner has not said.
pub(super) async fn address(connection: &mut PgConnection) -> Result<Option<String>, Failure> {
    let row = sqlx::query(
        "SELECT o.address FROM lamphouse_control.owner o JOIN pg_locks l ON l.pid = o.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND (l.classid::bigint << 32) | l.objid::bigint = $1",
    )
    .bind(LOCK)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

struct Guard {
    session: Session,
}

impl Ownership for Guard {
    fn announce(&mut self, address: &str) -> Result<(), StoreError> {
        if !self.session.is_connected() {
            return Err(lost());
        }
        self.session
            .run("announcing the owner's address", async |connection| {
                sqlx::query(
                    "INSERT INTO lamphouse_control.owner (address, pid) VALUES ($1, pg_backend_pid()) \
                 ON CONFLICT (one) DO UPDATE SET address = EXCLUDED.address, pid = EXCLUDED.pid",
                )
                .bind(address)
                .execute(connection)
                .await?;
                Ok(())
            })
    }

    fn is_held(&mut self) -> bool {
        // A new connection would not have the lock: once lost, it stays lost.
        self.session.is_connected()
            && self
                .session
                .run(
                    "looking whether the tables are still owned",
                    async |connection| match timeout(ANSWER_TIME_MAX, connection.execute("SELECT 1")).await {
                        Ok(answer) => Ok(answer.map(|_| ())?),
                        Err(_) => Err(Failure::Sql(sqlx::Error::PoolTimedOut)),
                    },
                )
                .is_ok()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.session.close();
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable(
        "the lock on the read tables was lost with its connection; another host may own them now".to_owned(),
    )
}
