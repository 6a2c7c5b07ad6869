//! The naive projector of the synthetic workload, in the manner of the retail one: a prepared statement a change.

use anyhow::{Context, Result};
use serde::Deserialize;
use sqlx::{Executor as _, PgConnection, SqliteConnection};

use crate::EVENTS_PER_TRANSACTION;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE shop_orders (order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, status TEXT NOT NULL,
                              lines BIGINT NOT NULL, quantity BIGINT NOT NULL, total BIGINT NOT NULL,
                              placed_at TEXT NOT NULL);
    CREATE INDEX shop_orders_by_customer ON shop_orders (customer_id);
    CREATE TABLE shop_customers (customer_id TEXT PRIMARY KEY, orders BIGINT NOT NULL, lines BIGINT NOT NULL,
                                 quantity BIGINT NOT NULL, net BIGINT NOT NULL, cancelled BIGINT NOT NULL);";
const OPEN_ORDER: &str = "INSERT INTO shop_orders VALUES ($1, $2, 'placed', 0, 0, 0, $3)";
const ADD_LINE: &str = "UPDATE shop_orders SET lines = lines + 1, quantity = quantity + $2, total = total + $3 WHERE order_id = $1";
const SET_STATUS: &str = "UPDATE shop_orders SET status = $2 WHERE order_id = $1";
const TOTAL: &str = "SELECT total FROM shop_orders WHERE order_id = $1";
const OPEN_CUSTOMER: &str = "INSERT INTO shop_customers VALUES ($1, 1, 0, 0, 0, 0) \
                             ON CONFLICT (customer_id) DO UPDATE SET orders = shop_customers.orders + 1";
const ADD_TO_CUSTOMER: &str = "UPDATE shop_customers SET lines = lines + 1, quantity = quantity + $2, net = net + $3 WHERE customer_id = $1";
const CANCEL_FOR_CUSTOMER: &str =
    "UPDATE shop_customers SET net = net - $2, cancelled = cancelled + 1 WHERE customer_id = $1";

/// The fields of an import line that the projector looks at. Nothing in this log is escaped, so texts are borrowed.
#[derive(Deserialize)]
struct Event<'a> {
    stream_id: &'a str,
    event_type: &'a str,
    #[serde(borrow)]
    data: Data<'a>,
    occurred_at: &'a str,
}

#[derive(Deserialize)]
struct Data<'a> {
    customer_id: &'a str,
    quantity: Option<i64>,
    unit_price: Option<&'a str>,
}

/// A change to the tables; each is one statement.
pub(crate) enum Change<'a> {
    OpenOrder {
        order: &'a str,
        customer: &'a str,
        placed_at: &'a str,
    },
    AddLine {
        order: &'a str,
        quantity: i64,
        total: i64,
    },
    SetStatus {
        order: &'a str,
        status: &'a str,
    },
    OpenCustomer {
        customer: &'a str,
    },
    AddToCustomer {
        customer: &'a str,
        quantity: i64,
        total: i64,
    },
    CancelForCustomer {
        customer: &'a str,
        total: i64,
    },
}

/// The two tables.
pub(crate) trait ShopTables {
    async fn execute_text(&mut self, statement: &'static str) -> Result<()>;
    async fn total(&mut self, order: &str) -> Result<i64>;
    async fn make(&mut self, change: &Change<'_>) -> Result<()>;
}

/// Projects the lines; gives the seconds that it took.
pub(crate) async fn run(tables: &mut impl ShopTables, lines: &[String]) -> Result<f64> {
    let began = std::time::Instant::now();
    for batch in lines.chunks(EVENTS_PER_TRANSACTION) {
        tables.execute_text("BEGIN").await?;
        for line in batch {
            project(tables, &serde_json::from_str(line)?).await?;
        }
        tables.execute_text("COMMIT").await?;
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn project(tables: &mut impl ShopTables, event: &Event<'_>) -> Result<()> {
    let (order, customer) = (event.stream_id, event.data.customer_id);
    let status = match event.event_type {
        "OrderPlaced" => {
            let placed_at = event.occurred_at;
            tables
                .make(&Change::OpenOrder {
                    order,
                    customer,
                    placed_at,
                })
                .await?;
            return tables.make(&Change::OpenCustomer { customer }).await;
        }
        "LineAdded" => {
            let quantity = event.data.quantity.context("a line without a quantity")?;
            let price = event.data.unit_price.context("a line without a price")?;
            let total = quantity * crate::thousandths(price)?;
            tables
                .make(&Change::AddLine {
                    order,
                    quantity,
                    total,
                })
                .await?;
            return tables
                .make(&Change::AddToCustomer {
                    customer,
                    quantity,
                    total,
                })
                .await;
        }
        "OrderPaid" => "paid",
        "OrderShipped" => "shipped",
        "OrderCancelled" => {
            let total = tables.total(order).await?;
            tables
                .make(&Change::CancelForCustomer { customer, total })
                .await?;
            "cancelled"
        }
        other => anyhow::bail!("what is a {other}?"),
    };
    tables.make(&Change::SetStatus { order, status }).await
}

macro_rules! shop_tables {
    ($connection:ty) => {
        impl ShopTables for $connection {
            async fn execute_text(&mut self, statement: &'static str) -> Result<()> {
                self.execute(statement).await?;
                Ok(())
            }

            async fn total(&mut self, order: &str) -> Result<i64> {
                let total = sqlx::query_scalar(TOTAL).bind(order).fetch_one(self).await;
                total.context("a cancellation before its order")
            }

            async fn make(&mut self, change: &Change<'_>) -> Result<()> {
                let statement = match *change {
                    Change::OpenOrder {
                        order,
                        customer,
                        placed_at,
                    } => sqlx::query(OPEN_ORDER)
                        .bind(order)
                        .bind(customer)
                        .bind(placed_at),
                    Change::AddLine {
                        order,
                        quantity,
                        total,
                    } => sqlx::query(ADD_LINE).bind(order).bind(quantity).bind(total),
                    Change::SetStatus { order, status } => sqlx::query(SET_STATUS).bind(order).bind(status),
                    Change::OpenCustomer { customer } => sqlx::query(OPEN_CUSTOMER).bind(customer),
                    Change::AddToCustomer {
                        customer,
                        quantity,
                        total,
                    } => sqlx::query(ADD_TO_CUSTOMER)
                        .bind(customer)
                        .bind(quantity)
                        .bind(total),
                    Change::CancelForCustomer { customer, total } => {
                        sqlx::query(CANCEL_FOR_CUSTOMER).bind(customer).bind(total)
                    }
                };
                statement.execute(self).await?;
                Ok(())
            }
        }
    };
}

shop_tables!(SqliteConnection);
shop_tables!(PgConnection);
