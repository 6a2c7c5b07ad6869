//! The public views: what each is made of, how it is made, and what of the user's is in the way.
//!
//! A view has one *branch* a generation that it can show. While it has several, or while readers may still have a
//! snapshot from before it, each branch asks the gate: `WHERE (SELECT generation FROM gates WHERE projection = …) = 7`.
//! PostgreSQL evaluates that once a query, and never touches the table of the branch not taken. A reader's snapshot
//! covers the gate as it covers the rows, so that a transaction that began before a switch still sees the old ones.

use sqlx::{Executor as _, PgConnection, Row as _};

use super::session::{Failure, own};
use super::{SCHEMA, generation_ids};
use crate::core::{GenerationId, PluginName, TableName};
use crate::tables::ddl::{self, Dialect, Relation};
use crate::tables::{GenerationRecord, StoreError};

/// A public view of ours as it is recorded.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) branches: Vec<GenerationId>,
    pub(super) direct: bool,
}

/// A column of a view that exists.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ViewColumn {
    name: String,
    /// With length and collation: `numeric(38,2)`, `text COLLATE "C"`.
    sql_type: String,
}

/// All recorded views; of one projection if it is given.
pub(super) async fn recorded(
    connection: &mut PgConnection,
    projection: Option<&PluginName>,
) -> Result<Vec<View>, Failure> {
    let rows = sqlx::query(
        "SELECT name, branches, direct FROM lamphouse_control.views \
         WHERE $1::text IS NULL OR projection = $1 ORDER BY name",
    )
    .bind(projection.map(PluginName::as_str))
    .fetch_all(connection)
    .await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        views.push(View {
            name: row.try_get(0)?,
            branches: generation_ids(row.try_get(1)?),
            direct: row.try_get(2)?,
        });
    }
    Ok(views)
}

/// Columns of a public view in their order; empty if there is no such view.
pub(super) async fn columns(connection: &mut PgConnection, name: &str) -> Result<Vec<ViewColumn>, Failure> {
    let rows = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
                CASE WHEN a.attcollation <> t.typcollation THEN quote_ident(c.collname) END \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_collation c ON c.oid = a.attcollation \
         WHERE a.attrelid = (SELECT oid FROM pg_class WHERE relname = $1 AND relkind = 'v' \
                             AND relnamespace = 'public'::regnamespace) \
           AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(name)
    .fetch_all(connection)
    .await?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in rows {
        let base: String = row.try_get(1)?;
        let collation: Option<String> = row.try_get(2)?;
        let sql_type = match collation {
            Some(collation) => format!("{base} COLLATE {collation}"),
            None => base,
        };
        columns.push(ViewColumn {
            name: row.try_get(0)?,
            sql_type,
        });
    }
    Ok(columns)
}

/// The columns that a generation gives to a public name; None if it has no such table.
pub(super) fn declared(generation: &GenerationRecord, name: &str) -> Option<Vec<ViewColumn>> {
    let table = generation
        .descriptor
        .tables
        .iter()
        .find(|table| table.name == name)?;
    let columns = table.columns.iter().map(|column| ViewColumn {
        name: column.name.clone(),
        sql_type: ddl::column_type(Dialect::Postgres, column.kind),
    });
    Some(columns.collect())
}

/// The columns of a view that has `present` and is to have `wanted` too. Columns that only an abandoned generation had
/// stay, as NULL, because PostgreSQL takes no column from a view. None if a column would change its type.
pub(super) fn extended(present: &[ViewColumn], wanted: &[ViewColumn]) -> Option<Vec<ViewColumn>> {
    let mut columns = present.to_vec();
    for column in wanted {
        match columns.iter().find(|candidate| candidate.name == column.name) {
            Some(same) if same.sql_type.eq_ignore_ascii_case(&column.sql_type) => {}
            // `timestamptz` is an alias: the catalog says it in full.
            Some(same) if column.sql_type == "timestamptz" && same.sql_type == "timestamp with time zone" => {
            }
            Some(_) => return None,
            None => columns.push(column.clone()),
        }
    }
    Some(columns)
}

/// `SELECT … UNION ALL SELECT …`: the definition of a view over these generations.
fn definition(
    projection: &str,
    name: &str,
    columns: &[ViewColumn],
    branches: &[&GenerationRecord],
    gated: bool,
) -> Result<String, StoreError> {
    let mut selects = Vec::with_capacity(branches.len());
    for generation in branches {
        let own_columns = declared(generation, name).ok_or_else(|| {
            StoreError::Internal(format!("generation {} has no table {name}", generation.id))
        })?;
        let terms: Vec<String> = columns
            .iter()
            .map(|column| {
                let quoted = ddl::quote(&column.name);
                if own_columns.iter().any(|candidate| candidate.name == column.name) {
                    quoted
                } else {
                    format!("NULL::{} AS {quoted}", column.sql_type)
                }
            })
            .collect();
        let physical = TableName::new(name)
            .map_err(StoreError::Invalid)?
            .physical(generation.id);
        let mut select = format!(
            "SELECT {} FROM {}",
            terms.join(", "),
            Relation::within(SCHEMA, &physical)
        );
        if gated {
            // A plugin's name has letters, digits, '_' and '-' only; nothing in it needs escaping.
            select = format!(
                "{select} WHERE (SELECT generation FROM lamphouse_control.gates WHERE projection = '{projection}') \
                 = {}",
                generation.id.0
            );
        }
        selects.push(select);
    }
    Ok(selects.join(" UNION ALL "))
}

/// Makes or replaces a view within the open transaction, and records what it is made of.
pub(super) async fn put(
    connection: &mut PgConnection,
    projection: &PluginName,
    name: &str,
    columns: &[ViewColumn],
    branches: &[&GenerationRecord],
    gated: bool,
) -> Result<(), Failure> {
    let definition = definition(projection.as_str(), name, columns, branches, gated)?;
    let view = Relation::within("public", name);
    connection
        .execute(own(format!("CREATE OR REPLACE VIEW {view} AS {definition}")))
        .await?;
    let ids: Vec<i64> = branches.iter().map(|generation| generation.id.0).collect();
    sqlx::query(
        "INSERT INTO lamphouse_control.views (name, projection, branches, direct) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET projection = EXCLUDED.projection, branches = EXCLUDED.branches, \
         direct = EXCLUDED.direct",
    )
    .bind(name)
    .bind(projection.as_str())
    .bind(ids)
    .bind(!gated)
    .execute(connection)
    .await?;
    Ok(())
}

/// Refuses a public name that something else has: another projection, or an object that is not ours.
pub(super) async fn check_name(
    connection: &mut PgConnection,
    projection: &PluginName,
    name: &str,
) -> Result<(), Failure> {
    let owner: Option<String> =
        sqlx::query_scalar("SELECT projection FROM lamphouse_control.views WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *connection)
            .await?;
    match owner {
        Some(owner) if owner == projection.as_str() => return Ok(()),
        Some(owner) => {
            return Err(StoreError::SwitchRefused(format!(
                "table '{name}' of projection {projection} cannot become public: projection {owner} has a table of that \
                 name. Rename one of the two in its plugin"
            ))
            .into());
        }
        None => {}
    }
    let taken: Option<String> = sqlx::query_scalar(
        "SELECT pg_describe_object('pg_class'::regclass, oid, 0) FROM pg_class \
         WHERE relname = $1 AND relnamespace = 'public'::regnamespace",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    match taken {
        Some(object) => Err(StoreError::SwitchRefused(format!(
            "table '{name}' of projection {projection} cannot become public: the database has a {object} in schema \
             public that is not Lamphouse's. Rename or drop it, or rename the table in the plugin"
        ))
        .into()),
        None => Ok(()),
    }
}

/// Objects of the user's that would keep a view from being dropped: views, functions, rules, triggers, by name.
pub(super) async fn dependents(connection: &mut PgConnection, name: &str) -> Result<Vec<String>, Failure> {
    Ok(sqlx::query_scalar(
        "WITH target AS (SELECT oid, reltype FROM pg_class WHERE relname = $1 AND relkind = 'v' \
                         AND relnamespace = 'public'::regnamespace), \
         found AS ( \
             SELECT d.classid, d.objid FROM pg_depend d, target \
             WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = target.oid AND d.deptype IN ('n', 'a') \
             UNION \
             SELECT d.classid, d.objid FROM pg_depend d, target \
             WHERE d.refclassid = 'pg_type'::regclass AND d.deptype = 'n' AND d.refobjid IN \
                   (target.reltype, (SELECT typarray FROM pg_type WHERE oid = target.reltype))) \
         SELECT DISTINCT CASE WHEN r.rulename = '_RETURN' \
                         THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0) \
                         ELSE pg_describe_object(f.classid, f.objid, 0) END AS object \
         FROM found f LEFT JOIN pg_rewrite r ON f.classid = 'pg_rewrite'::regclass AND r.oid = f.objid \
         WHERE r.ev_class IS NULL OR r.rulename <> '_RETURN' OR r.ev_class <> (SELECT oid FROM target) \
         ORDER BY object",
    )
    .bind(name)
    .fetch_all(connection)
    .await?)
}

/// Refuses to drop a view that something of the user's is built on.
pub(super) async fn check_dependents(
    connection: &mut PgConnection,
    name: &str,
    why: &str,
) -> Result<(), Failure> {
    let found = dependents(connection, name).await?;
    if found.is_empty() {
        return Ok(());
    }
    Err(StoreError::SwitchRefused(format!(
        "{why}, but {} built on it: {}. Drop what is built on it, switch, and make it again",
        if found.len() == 1 {
            "an object of yours is"
        } else {
            "objects of yours are"
        },
        found.join(", ")
    ))
    .into())
}

/// Drops a view within the open transaction, keeping what belongs to its name for when it is made again.
pub(super) async fn drop(connection: &mut PgConnection, name: &str) -> Result<(), Failure> {
    keep_grants(connection, name).await?;
    let view = Relation::within("public", name);
    connection
        .execute(own(format!("DROP VIEW IF EXISTS {view}")))
        .await?;
    sqlx::query("DELETE FROM lamphouse_control.views WHERE name = $1")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes down owner, options, comments and grants of a view, as statements.
async fn keep_grants(connection: &mut PgConnection, name: &str) -> Result<(), Failure> {
    sqlx::query(
        r#"
        INSERT INTO lamphouse_control.kept_grants (name, statements)
        WITH target AS (
            SELECT c.*, format('public.%I', c.relname) AS shown FROM pg_class c
            WHERE c.relname = $1 AND c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace),
        statements (step, statement) AS (
            SELECT 1, format('ALTER VIEW %s SET (%s)', shown, array_to_string(reloptions, ', '))
            FROM target WHERE reloptions IS NOT NULL
            UNION ALL
            SELECT 2, format('COMMENT ON VIEW %s IS %L', shown, obj_description(oid, 'pg_class'))
            FROM target WHERE obj_description(oid, 'pg_class') IS NOT NULL
            UNION ALL
            SELECT 2, format('COMMENT ON COLUMN %s.%I IS %L', shown, a.attname, col_description(target.oid, a.attnum))
            FROM target JOIN pg_attribute a ON a.attrelid = target.oid
            WHERE a.attnum > 0 AND NOT a.attisdropped AND col_description(target.oid, a.attnum) IS NOT NULL
            UNION ALL
            SELECT 3, format('GRANT %s ON %s TO %s%s', acl.privilege_type, shown,
                             CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
                             CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM target, aclexplode(relacl) acl WHERE acl.grantee <> relowner
            UNION ALL
            SELECT 3, format('GRANT %s (%I) ON %s TO %s%s', acl.privilege_type, a.attname, shown,
                             CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
                             CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM target JOIN pg_attribute a ON a.attrelid = target.oid, aclexplode(a.attacl) acl
            WHERE acl.grantee <> relowner
            UNION ALL
            SELECT 4, format('ALTER VIEW %s OWNER TO %I', shown, pg_get_userbyid(relowner))
            FROM target WHERE pg_get_userbyid(relowner) <> current_user)
        SELECT $1, array_agg(statement ORDER BY step, statement) FROM statements HAVING count(*) > 0
        ON CONFLICT (name) DO UPDATE SET statements = EXCLUDED.statements"#,
    )
    .bind(name)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives again what a dropped view of this name had. A statement that no longer fits (a column or a role that is gone)
/// is left out, with a line in the host's log.
pub(super) async fn restore_grants(connection: &mut PgConnection, name: &str) -> Result<(), Failure> {
    let kept: Option<Vec<String>> =
        sqlx::query_scalar("DELETE FROM lamphouse_control.kept_grants WHERE name = $1 RETURNING statements")
            .bind(name)
            .fetch_optional(&mut *connection)
            .await?;
    for statement in kept.unwrap_or_default() {
        connection.execute("SAVEPOINT kept_grant").await?;
        match connection.execute(own(statement.as_str())).await {
            Ok(_) => {
                connection.execute("RELEASE SAVEPOINT kept_grant").await?;
            }
            Err(sqlx::Error::Database(error)) => {
                connection.execute("ROLLBACK TO SAVEPOINT kept_grant").await?;
                tracing::warn!(view = name, statement, %error, "a grant on a public table could not be given again");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Transactions that hold a lock on a public view, in words; for saying who is in the way.
pub(super) async fn lock_holders(connection: &mut PgConnection, name: &str) -> Result<String, Failure> {
    let holders: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT CASE WHEN l.pid IS NULL \
                THEN 'a prepared transaction (see pg_prepared_xacts)' \
                ELSE format('pid %s (app ''%s''), open for %s s', l.pid, coalesce(a.application_name, ''), \
                            coalesce(extract(epoch FROM now() - a.xact_start)::bigint::text, '?')) END \
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND l.relation = (SELECT oid FROM pg_class WHERE relname = $1 \
                             AND relnamespace = 'public'::regnamespace) \
         LIMIT 5",
    )
    .bind(name)
    .fetch_all(connection)
    .await?;
    Ok(if holders.is_empty() {
        "readers that come and go".to_owned()
    } else {
        holders.join(", ")
    })
}
