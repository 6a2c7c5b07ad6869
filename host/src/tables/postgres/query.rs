//! Read-only queries on the public names, by a role that can do nothing else.
//!
//! A query runs inside a SECURITY DEFINER function that belongs to a role without login, which may read the public
//! views and has nothing else. Inside such a function PostgreSQL refuses to change the role, so that not even a
//! superuser's connection can be climbed back to (`SET LOCAL ROLE` alone would not hold: `set_config('role', …)` takes
//! it back). The transaction is READ ONLY, has a time limit, and is always rolled back, because PostgreSQL lets even a
//! read-only one make large objects and send notifications.
//!
//! Where the user of the URL may not make roles (and so is no superuser either), the function belongs to that user, and
//! queries that name our own schemas, or functions that run SQL given as text, are refused by their text.

use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sqlx::{
    Column as _, Either, Executor as _, PgConnection, Row as _, SqlSafeStr as _, Statement as _,
    TypeInfo as _,
};
use tokio::time::timeout;

use super::session::{Database, Failure, own};
use crate::tables::ddl::{self, Relation};
use crate::tables::{QueryAnswer, QueryLimits, StoreError, answer};

/// Bytes of an answer; later rows are left out. Raise it for exports by `query`; `rows_max` alone does not bound memory.
const ANSWER_BYTES_MAX: i64 = 64 << 20;

/// The SQLSTATE of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// Waiting beyond a query's own limit means that the server is gone.
const GRACE: Duration = Duration::from_secs(5);

/// One at a time makes the role and the function.
const SETUP_LOCK: i64 = 0x6c61_6d70_726f_6c65;

/// The role of this database: roles are shared by all databases of a server, so its name has the database's number.
async fn role(connection: &mut PgConnection) -> Result<String, Failure> {
    Ok(sqlx::query_scalar(
        "SELECT format('lamphouse_reader_%s', oid) FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(connection)
    .await?)
}

/// Makes the role and the function, where they are missing. False says that the user may not make roles; then the
/// function is the user's own.
pub(super) fn make_reader_role(database: &Database) -> Result<bool, StoreError> {
    database.control("making the role for queries", async |connection| {
        connection.execute("BEGIN").await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(SETUP_LOCK)
            .execute(&mut *connection)
            .await?;
        let role = role(connection).await?;
        let owner: Option<String> = sqlx::query_scalar(
            "SELECT pg_get_userbyid(proowner)::text FROM pg_proc \
             WHERE proname = 'run_query' AND pronamespace = 'lamphouse_control'::regnamespace",
        )
        .fetch_optional(&mut *connection)
        .await?;
        if owner.as_deref() != Some(role.as_str()) {
            // A superuser's own function must never run queries: for a superuser, there is no second way.
            let is_superuser: bool =
                sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
                    .fetch_one(&mut *connection)
                    .await?;
            connection.execute("SAVEPOINT role").await?;
            match give_to_role(connection, &role).await {
                Ok(()) => {}
                Err(Failure::Sql(sqlx::Error::Database(error)))
                    if !is_superuser && error.code().as_deref() == Some("42501") =>
                {
                    connection.execute("ROLLBACK TO SAVEPOINT role").await?;
                    tracing::info!(
                        "the user of the tables' URL may not make roles: queries run as that user, read-only"
                    );
                    connection.execute("COMMIT").await?;
                    return Ok(false);
                }
                Err(failure) => return Err(failure),
            }
        }
        connection.execute("COMMIT").await?;
        Ok(true)
    })
}

async fn give_to_role(connection: &mut PgConnection, role: &str) -> Result<(), Failure> {
    let quoted = ddl::quote(role);
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        connection
            .execute(own(format!("CREATE ROLE {quoted} NOLOGIN NOINHERIT")))
            .await?;
    }
    let member: bool = sqlx::query_scalar(
        "SELECT rolsuper OR pg_has_role(current_user, $1, 'MEMBER') FROM pg_roles WHERE rolname = current_user",
    )
    .bind(role)
    .fetch_one(&mut *connection)
    .await?;
    if !member {
        connection
            .execute(own(format!("GRANT {quoted} TO CURRENT_USER")))
            .await?;
    }
    // The host's user may call it as a member of the owner. A new owner must be able to create in the schema at that
    // moment, and only then.
    let statements = format!(
        "GRANT USAGE ON SCHEMA public TO {quoted}; \
         GRANT CREATE ON SCHEMA lamphouse_control TO {quoted}; \
         ALTER FUNCTION lamphouse_control.run_query(text, bigint, bigint) OWNER TO {quoted}; \
         REVOKE CREATE ON SCHEMA lamphouse_control FROM {quoted}"
    );
    connection.execute(own(statements)).await?;
    let views: Vec<String> = sqlx::query_scalar("SELECT name FROM lamphouse_control.views ORDER BY name")
        .fetch_all(&mut *connection)
        .await?;
    for view in views {
        grant_to(connection, &view, role).await?;
    }
    Ok(())
}

/// Lets queries read a new public view.
pub(super) async fn grant(connection: &mut PgConnection, view: &str) -> Result<(), Failure> {
    let role = role(connection).await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
        .bind(&role)
        .fetch_one(&mut *connection)
        .await?;
    if exists {
        grant_to(connection, view, &role).await
    } else {
        Ok(())
    }
}

async fn grant_to(connection: &mut PgConnection, view: &str, role: &str) -> Result<(), Failure> {
    let view = Relation::within("public", view);
    connection
        .execute(own(format!("GRANT SELECT ON {view} TO {}", ddl::quote(role))))
        .await?;
    Ok(())
}

/// Runs one query.
pub(super) fn run(
    database: &Database,
    reader_role: bool,
    sql: &str,
    limits: QueryLimits,
) -> Result<QueryAnswer, StoreError> {
    if !reader_role {
        check_text(sql)?;
    }
    database.query("running a query", async |connection| {
        let answered = timeout(limits.time_max + GRACE, read(connection, sql, limits)).await;
        let answered = answered.unwrap_or(Err(Failure::Sql(sqlx::Error::PoolTimedOut)));
        if matches!(answered, Err(Failure::Sql(sqlx::Error::PoolTimedOut))) {
            return answered;
        }
        // A query may have taken session locks; the connection is not its own.
        connection.execute("ROLLBACK").await?;
        connection.execute("SELECT pg_advisory_unlock_all()").await?;
        let failure = match answered {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let hint = match failure.sqlstate().as_deref() {
            Some(UNDEFINED_TABLE) => {
                let public: Vec<String> = sqlx::query_scalar("SELECT name FROM lamphouse_control.views")
                    .fetch_all(&mut *connection)
                    .await?;
                let public = answer::listed(public.iter().map(String::as_str));
                format!("; the public tables are: {public}")
            }
            _ => String::new(),
        };
        Err(asked_wrong(failure, limits, &hint))
    })
}

async fn read(connection: &mut PgConnection, sql: &str, limits: QueryLimits) -> Result<QueryAnswer, Failure> {
    let time_ms = limits.time_max.as_millis().clamp(1, 1 << 30);
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {time_ms}; SET LOCAL lock_timeout = {time_ms}; \
         SET LOCAL search_path = public, pg_temp"
    );
    connection.execute(own(begin)).await?;
    // Preparing takes exactly one statement, and says what the columns are.
    let statement = (&mut *connection).prepare(own(sql).into_sql_str()).await?;
    let parameters = match statement.parameters() {
        Some(Either::Left(types)) => types.len(),
        Some(Either::Right(count)) => count,
        None => 0,
    };
    if parameters > 0 {
        return Err(StoreError::Invalid(
            "a query has no parameters ($1): write the values into it".to_owned(),
        )
        .into());
    }
    let columns: Vec<(String, String)> = statement
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), column.type_info().name().to_owned()))
        .collect();
    if columns.is_empty() {
        let text =
            "a query gives rows with columns (SELECT, VALUES, WITH); this statement does not".to_owned();
        return Err(StoreError::Invalid(text).into());
    }
    let rows_max = i64::try_from(limits.rows_max)
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let mut lines = sqlx::query("SELECT * FROM lamphouse_control.run_query($1, $2, $3)")
        .bind(sql)
        .bind(rows_max)
        .bind(ANSWER_BYTES_MAX)
        .fetch_all(connection)
        .await?;
    // A row too many, or the null that stands for the bytes that are too many.
    let last_is_null = lines.last().is_some_and(|line| {
        line.try_get::<Option<&str>, _>(0)
            .is_ok_and(|line| line.is_none())
    });
    let truncated = last_is_null || u64::try_from(lines.len()).is_ok_and(|count| count > limits.rows_max);
    if truncated {
        lines.pop();
    }
    let mut rows = Vec::with_capacity(lines.len());
    for line in &lines {
        let line: &str = line.try_get(0)?;
        rows.push(row(line, &columns)?);
    }
    let columns = columns.into_iter().map(|(name, _)| name).collect();
    Ok(QueryAnswer {
        columns,
        rows,
        truncated,
    })
}

/// What went wrong is the asker's, unless the server is away. `hint` says what to do about it.
fn asked_wrong(failure: Failure, limits: QueryLimits, hint: &str) -> Failure {
    let Failure::Sql(sqlx::Error::Database(error)) = &failure else {
        return failure;
    };
    let code = error.code().unwrap_or_default().into_owned();
    let message = error.message();
    match code.as_str() {
        "57014" => StoreError::Invalid(format!(
            "the query took longer than {} ms and was stopped: ask for less, or raise the limit",
            limits.time_max.as_millis()
        ))
        .into(),
        "25006" => StoreError::Invalid(format!("a query only reads: {message}")).into(),
        "42501" => StoreError::Invalid(format!("a query reads the public tables only: {message}")).into(),
        "42601" if message.contains("multiple commands") => {
            StoreError::Invalid("a query is one statement; these are several".to_owned()).into()
        }
        "42P11" => {
            StoreError::Invalid(format!("a query gives rows (SELECT, VALUES, WITH): {message}")).into()
        }
        "57P01" | "57P02" | "57P03" => failure,
        _ if code.starts_with("08") || code.starts_with("53") || code.starts_with("XX") => failure,
        _ => StoreError::Invalid(format!("the query failed: {message} [SQLSTATE {code}]{hint}")).into(),
    }
}

/// For a function that belongs to the user of the URL: refuses what that user could do and a reader must not.
fn check_text(sql: &str) -> Result<(), StoreError> {
    let text = sql.to_ascii_lowercase();
    let refused = [
        "lamphouse",
        "_to_xml",
        "u&\"",
        "dblink",
        "ts_stat",
        "ts_rewrite",
        "lo_",
        "pg_notify",
        "pg_read",
    ];
    match refused.iter().find(|word| text.contains(**word)) {
        Some(word) => Err(StoreError::Invalid(format!(
            "a query may not contain '{word}' where the host may not make a role for queries: grant the user of the \
             tables' URL CREATEROLE to lift this"
        ))),
        None => Ok(()),
    }
}

/// One row of `row_to_json`, whose members are in the order of the columns; two columns may have one name.
fn row(line: &str, columns: &[(String, String)]) -> Result<Vec<Json>, StoreError> {
    let unreadable = |error: String| StoreError::Internal(format!("a row of a query does not read: {error}"));
    let values = serde_json::Deserializer::from_str(line)
        .deserialize_map(Members)
        .map_err(|error| unreadable(error.to_string()))?;
    if values.len() != columns.len() {
        return Err(unreadable(format!(
            "{} values for {} columns",
            values.len(),
            columns.len()
        )));
    }
    columns
        .iter()
        .zip(values)
        .map(|((_, kind), raw)| Ok(value(kind, raw.get())))
        .collect()
}

/// One value, from JSON as PostgreSQL writes it to JSON as answers have it.
fn value(kind: &str, raw: &str) -> Json {
    let text = || serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    if raw == "null" {
        return Json::Null;
    }
    match kind {
        "INT2" | "INT4" | "INT8" => raw.parse().map_or_else(|_| Json::from(raw), answer::integer),
        "NUMERIC" => Json::String(text()),
        "FLOAT4" | "FLOAT8" => raw.parse().map_or_else(|_| Json::String(text()), answer::real),
        "BYTEA" => {
            let text = text();
            match text
                .strip_prefix("\\x")
                .and_then(|digits| HEXLOWER.decode(digits.as_bytes()).ok())
            {
                Some(bytes) => answer::bytes(&bytes),
                None => Json::String(text),
            }
        }
        "TIMESTAMPTZ" => Json::String(timestamp(&text())),
        "JSON" | "JSONB" | "FLOAT4[]" | "FLOAT8[]" => answer::json(raw),
        // Booleans, texts, arrays, dates, and whatever else has a text form.
        _ => exact_numbers(answer::json(raw)),
    }
}

/// Numbers inside arrays and composite values, as text where JSON readers would lose digits.
fn exact_numbers(value: Json) -> Json {
    match value {
        Json::Number(number) => match number.as_i64() {
            Some(integer) => answer::integer(integer),
            None => Json::String(number.to_string()),
        },
        Json::Array(values) => values.into_iter().map(exact_numbers).collect(),
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, exact_numbers(value)))
                .collect(),
        ),
        other => other,
    }
}

/// RFC 3339 in UTC with microseconds; what does not fit it (`infinity`, years BC) stays as PostgreSQL writes it.
fn timestamp(text: &str) -> String {
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        Err(_) => text.to_owned(),
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Box<RawValue>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some((_, value)) = map.next_entry::<String, Box<RawValue>>()? {
            values.push(value);
        }
        Ok(values)
    }
}
