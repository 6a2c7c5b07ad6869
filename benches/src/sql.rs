//! The naive projector's statements, on both databases.

use std::path::Path;

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::Change;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE orders (order_id TEXT PRIMARY KEY, customer_id TEXT, country TEXT NOT NULL, lines BIGINT NOT NULL,
                         quantity BIGINT NOT NULL, total BIGINT NOT NULL, status TEXT NOT NULL, placed_at TEXT NOT NULL);
    CREATE TABLE customers (customer_id TEXT PRIMARY KEY, orders BIGINT NOT NULL, lines BIGINT NOT NULL,
                            quantity BIGINT NOT NULL, net BIGINT NOT NULL, ordered BIGINT NOT NULL,
                            returned BIGINT NOT NULL);";
const OPEN_ORDER: &str = "INSERT INTO orders VALUES ($1, $2, $3, 0, 0, 0, $4, $5)";
const ORDER: &str = "SELECT customer_id, status FROM orders WHERE order_id = $1";
const ADD_LINE: &str =
    "UPDATE orders SET lines = lines + 1, quantity = quantity + $2, total = total + $3 WHERE order_id = $1";
const OPEN_CUSTOMER: &str = "INSERT INTO customers VALUES ($1, 1, 0, 0, 0, 0, 0) \
                             ON CONFLICT (customer_id) DO UPDATE SET orders = customers.orders + 1";
const ADD_TO_CUSTOMER: &str = "UPDATE customers SET lines = lines + 1, quantity = quantity + $2, net = net + $3, \
                               ordered = ordered + $4, returned = returned + $5 WHERE customer_id = $1";

/// The two tables.
pub(crate) trait Tables {
    async fn begin(&mut self) -> Result<()>;
    async fn commit(&mut self) -> Result<()>;
    async fn order(&mut self, order: &str) -> Result<(Option<String>, String)>;
    async fn change(&mut self, change: &Change<'_>) -> Result<()>;
}

/// A new SQLite file.
pub(crate) async fn sqlite(file: &Path, schema: &'static str) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .context("cannot make the SQLite file")?;
    connection.execute(sqlx::raw_sql(schema)).await?;
    Ok(connection)
}

/// A database that holds neither table.
pub(crate) async fn postgres(url: &str, schema: &'static str) -> Result<PgConnection> {
    let mut connection = PgConnection::connect(url)
        .await
        .context("cannot connect to PostgreSQL")?;
    connection
        .execute(sqlx::raw_sql("SET synchronous_commit = off"))
        .await?;
    connection.execute(sqlx::raw_sql(schema)).await?;
    Ok(connection)
}

macro_rules! tables {
    ($connection:ty) => {
        impl Tables for $connection {
            async fn begin(&mut self) -> Result<()> {
                self.execute("BEGIN").await?;
                Ok(())
            }

            async fn commit(&mut self) -> Result<()> {
                self.execute("COMMIT").await?;
                Ok(())
            }

            async fn order(&mut self, order: &str) -> Result<(Option<String>, String)> {
                sqlx::query_as(ORDER)
                    .bind(order)
                    .fetch_one(self)
                    .await
                    .context("a line before its order")
            }

            async fn change(&mut self, change: &Change<'_>) -> Result<()> {
                let statement = match *change {
                    Change::OpenOrder {
                        order,
                        customer,
                        country,
                        status,
                        placed_at,
                    } => sqlx::query(OPEN_ORDER)
                        .bind(order)
                        .bind(customer)
                        .bind(country)
                        .bind(status)
                        .bind(placed_at),
                    Change::AddLine {
                        order,
                        quantity,
                        total,
                    } => sqlx::query(ADD_LINE).bind(order).bind(quantity).bind(total),
                    Change::OpenCustomer { customer } => sqlx::query(OPEN_CUSTOMER).bind(customer),
                    Change::AddToCustomer {
                        customer,
                        quantity,
                        total,
                        ordered,
                        returned,
                    } => {
                        let statement = sqlx::query(ADD_TO_CUSTOMER)
                            .bind(customer)
                            .bind(quantity)
                            .bind(total);
                        statement.bind(ordered).bind(returned)
                    }
                };
                statement.execute(self).await?;
                Ok(())
            }
        }
    };
}

tables!(SqliteConnection);
tables!(PgConnection);
