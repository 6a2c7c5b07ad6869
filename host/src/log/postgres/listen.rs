//! Notices what anybody commits: `LISTEN`, which forgets while the connection is away, and a poll behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::task::JoinHandle;

use super::Server;
use crate::core::signal::Signal;

/// The channel that the trigger on the counter row notifies.
const CHANNEL: &str = "lamphouse_log";
/// Time between two looks at the counter row. Lower it to lose less time where notifications do not arrive.
const POLL: Duration = Duration::from_secs(1);
/// Time before a lost connection is tried again.
const RECONNECT: Duration = Duration::from_millis(250);

/// The listening tasks; they end when this is dropped.
pub(super) struct Listen {
    tasks: [JoinHandle<()>; 2],
}

impl Listen {
    /// Bumps `signal` when the head is beyond `announced`.
    pub(super) fn start(
        server: &Server,
        pool: &PgPool,
        announced: Arc<AtomicU64>,
        signal: Arc<Signal>,
    ) -> Self {
        let head = Announced {
            position: announced,
            signal,
        };
        let listening = server
            .runtime
            .spawn(listen(server.clone(), pool.clone(), head.clone()));
        let polling = server.runtime.spawn(poll(pool.clone(), head));
        Self {
            tasks: [listening, polling],
        }
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The last head that the waiting threads were woken for.
#[derive(Clone)]
struct Announced {
    position: Arc<AtomicU64>,
    signal: Arc<Signal>,
}

impl Announced {
    fn head_is(&self, position: u64) {
        if self.position.fetch_max(position, Ordering::Relaxed) < position {
            self.signal.bump();
        }
    }

    async fn look(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let position: i64 = sqlx::query_scalar("SELECT position FROM lamphouse.log")
            .fetch_one(pool)
            .await?;
        self.head_is(position.unsigned_abs());
        Ok(())
    }
}

async fn listen(server: Server, pool: PgPool, head: Announced) {
    loop {
        let result: Result<(), sqlx::Error> = async {
            let mut listener = PgListener::connect_with(&server.pool(1)).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            head.look(&pool).await?;
            // None: the connection was lost, and with it who knows what.
            while let Some(notification) = listener.try_recv().await? {
                if let Ok(position) = notification.payload().parse() {
                    head.head_is(position);
                }
            }
            Ok(())
        }
        .await;
        if let Err(error) = result {
            tracing::debug!(%error, "the log's notifications are away; the poll goes on");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn poll(pool: PgPool, head: Announced) {
    loop {
        tokio::time::sleep(POLL).await;
        // Those who read and append report a database that is away.
        let _ = head.look(&pool).await;
    }
}
