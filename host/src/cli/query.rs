//! `lamphouse query`: read-only SQL on the public tables.

use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::UsageError;
use super::output::{Output, Style};
use super::progress::say;
use super::session::Session;
use super::table::{Cell, Look, lay_out};
use super::units;
use crate::tables::{QueryAnswer, QueryLimits};

/// A statement that a person writes is shorter.
const SQL_BYTES_MAX: u64 = 1 << 20;

/// Read the public tables by SQL
///
/// One statement, read-only, on the public tables alone, within the limits of [query] in lamphouse.toml. In JSON,
/// decimals and integers above 2^53 are text, bytes are base64, and timestamps are RFC 3339.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse query 'SELECT country, sum(total) FROM orders GROUP BY country ORDER BY 2 DESC'
  lamphouse query --json 'SELECT * FROM customers' --limit 10 | jq .net
  lamphouse query - < report.sql")]
pub(super) struct Query {
    /// The statement; - reads it from standard input
    #[arg(value_name = "SQL")]
    sql: String,
    /// At most so many rows [default: rows_max of lamphouse.toml]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Query {
    pub(super) fn run(self, session: &Session, out: &mut Output) -> Result<()> {
        let config = &session.config;
        if self.limit.is_some_and(|limit| limit > config.query_rows_max) {
            let most = config.query_rows_max;
            bail!(UsageError(format!(
                "--limit is above {most}, which [query] rows_max in lamphouse.toml allows"
            )));
        }
        let sql = match self.sql.as_str() {
            "-" => {
                let mut sql = String::new();
                let mut stdin = std::io::stdin().lock().take(SQL_BYTES_MAX);
                stdin
                    .read_to_string(&mut sql)
                    .context("standard input cannot be read")?;
                sql
            }
            sql => sql.to_owned(),
        };
        let rows_max = self.limit.unwrap_or(config.query_rows_max);
        let answer = session.tables()?.query(
            &sql,
            QueryLimits {
                rows_max,
                time_max: config.query_time_max,
            },
        )?;
        if out.json {
            let names = distinct(&answer.columns);
            for row in answer.rows {
                out.json_line(&names.iter().cloned().zip(row).collect::<Map<_, _>>())?;
            }
        } else {
            render(&answer, out.width(), out.style)
                .iter()
                .try_for_each(|line| out.line(line))?;
        }
        out.flush()?;
        if answer.truncated {
            let most = units::counted(rows_max, "row is", "rows are");
            say(&format!(
                "only the first {most} shown; raise --limit or [query] rows_max in lamphouse.toml"
            ));
        }
        Ok(())
    }
}

/// Column names as keys of an object: a name that comes again gets a number.
fn distinct(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let mut name = column.clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{column}_{number}");
            number += 1;
        }
        names.push(name);
    }
    names
}

pub(super) fn render(answer: &QueryAnswer, width: Option<usize>, style: Style) -> Vec<String> {
    // Figures stand at the right: numbers, and columns whose texts are all exact numbers.
    let is_figure = |column: usize| {
        let mut values = answer
            .rows
            .iter()
            .map(|row| &row[column])
            .filter(|value| !value.is_null())
            .peekable();
        values.peek().is_some()
            && values.all(|value| match value {
                Value::Number(_) => true,
                Value::String(text) => is_decimal(text),
                _ => false,
            })
    };
    let figures: Vec<bool> = (0..answer.columns.len()).map(is_figure).collect();
    let cell = |(column, value): (usize, &Value)| {
        let (text, look) = match value {
            Value::Null => ("null".to_owned(), Look::Dim),
            Value::String(text) => (text.clone(), Look::Plain),
            other => (other.to_string(), Look::Plain),
        };
        let cell = if figures[column] {
            Cell::figure(text)
        } else {
            Cell::text(text)
        };
        cell.look(look)
    };
    let rows: Vec<Vec<Cell>> = answer
        .rows
        .iter()
        .map(|row| row.iter().enumerate().map(cell).collect())
        .collect();
    let headings: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    lay_out(&headings, &rows, width, style)
}

/// Digits with a point among them: `-12.50`. Text of digits alone may be a name, such as a customer's number.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.split_once('.').is_some_and(|(whole, part)| {
        [whole, part]
            .iter()
            .all(|side| !side.is_empty() && side.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_show_in_columns() {
        let answer = QueryAnswer {
            columns: ["customer_id", "net", "orders", "seen"]
                .map(str::to_owned)
                .to_vec(),
            rows: vec![
                vec![json!("17850"), json!("5391.21"), json!(34), json!(true)],
                vec![json!("12"), json!("-4.00"), Value::Null, json!(false)],
                vec![json!("a\u{1b}[2J"), Value::Null, json!(1_000), Value::Null],
            ],
            truncated: false,
        };
        insta::assert_snapshot!(render(&answer, None, Style::default()).join("\n"), @r"
        customer_id      net  orders  seen
        17850        5391.21      34  true
        12             -4.00    null  false
        a\u{1b}[2J      null    1000  null
        ");
    }

    #[test]
    fn an_answer_without_rows_shows_its_columns() {
        let answer = QueryAnswer {
            columns: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![],
            truncated: false,
        };
        assert_eq!(render(&answer, None, Style::default()), ["a  b"]);
    }

    #[test]
    fn columns_of_one_name_are_all_given() {
        let columns = ["id", "id", "id_2", "id"].map(str::to_owned);
        assert_eq!(distinct(&columns), ["id", "id_2", "id_2_2", "id_3"]);
    }
}
