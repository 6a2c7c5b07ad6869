//! Looks up the head: before each read, so on a connection that waits for nobody else.

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

use super::Server;
use crate::core::{EventId, Position};
use crate::log::{Head, LogError};

/// The connection for the head.
pub(super) struct Heads {
    server: Server,
    connection: Mutex<Option<PgConnection>>,
}

impl Heads {
    /// Connects at the first look.
    pub(super) fn new(server: &Server) -> Self {
        Self {
            server: server.of_one_thread(),
            connection: Mutex::default(),
        }
    }

    /// The head; None where somebody else is looking, or the connection was lost: then another one has to be asked.
    pub(super) fn look(&self) -> Option<Result<Head, LogError>> {
        let mut connection = self.connection.try_lock()?;
        let known = connection.take();
        let was_known = known.is_some();
        let looked = self.server.run("read", async {
            let mut open = match known {
                Some(open) => open,
                None => self.server.connect().await?,
            };
            let head = head(&mut open).await?;
            *connection = Some(open);
            Ok(head)
        });
        // A connection that was made before may have died while it was idle.
        match looked {
            Err(_) if was_known => None,
            looked => Some(looked),
        }
    }
}

/// The head, as this connection or pool sees it.
pub(super) async fn head(executor: impl PgExecutor<'_>) -> Result<Head, sqlx::Error> {
    let row =
        sqlx::query("SELECT position, id, recorded_at FROM lamphouse.events ORDER BY position DESC LIMIT 1")
            .fetch_optional(executor)
            .await?;
    row.map_or(Ok(EMPTY), |row| head_of(&row, 0))
}

/// The head of a log without events.
pub(super) const EMPTY: Head = Head {
    position: Position::START,
    event_id: None,
    recorded_at: 0,
};

/// The head in three columns of a row, from this one on.
pub(super) fn head_of(row: &PgRow, column: usize) -> Result<Head, sqlx::Error> {
    Ok(Head {
        position: Position::from_i64(row.try_get(column)?),
        event_id: Some(EventId(row.try_get(column + 1)?)),
        recorded_at: row.try_get::<DateTime<Utc>, _>(column + 2)?.timestamp_micros(),
    })
}
