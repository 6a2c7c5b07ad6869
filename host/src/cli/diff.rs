//! `lamphouse diff`: what the rows of two generations differ in.

use anyhow::Result;
use serde_json::{Map, Value as Json};

use super::output::{Output, Style};
use super::place::Place;
use super::table::{plain, plain_lines};
use super::units;
use crate::deploy::difference::{Comparison, Difference, RowChange, Side, difference, generation_number};

/// Differences that are asked for at once.
const PAGE_ROWS: u64 = 500;

/// Show the rows that two generations of a projection differ in
///
/// Rows that only one of them has, and rows that differ, by table and key. Without --from and --to, the public generation
/// is compared with the one on its way: what a cutover would change. Where none is on its way, the last retired one is
/// compared with the public one: what the last cutover has changed. Both may move on meanwhile: it says at which position
/// each stood.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lamphouse diff order-summary
  lamphouse diff order-summary --from g3 --to g4 --table orders --limit 20
  lamphouse diff order-summary --json | jq 'select(.kind == \"changed\") | .columns'")]
pub(super) struct Diff {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,
    /// The one generation: 3 or g3
    #[arg(long, value_name = "N", value_parser = generation_number)]
    from: Option<i64>,
    /// The other generation
    #[arg(long, value_name = "N", value_parser = generation_number)]
    to: Option<i64>,
    /// Only this table
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl Diff {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let store = match place {
            Place::Project(session) => Some(session.tables()?),
            Place::Host(_) => None,
        };
        let mut wanted = Comparison {
            from: self.from,
            to: self.to,
            table: self.table,
            after: None,
            limit: 0,
        };
        let (mut left, mut shown, mut compared) = (self.limit, 0_u64, 0_u64);
        loop {
            wanted.limit = left.min(PAGE_ROWS);
            let page = match (place, &store) {
                (Place::Host(remote), _) => remote.operator.diff(&self.name, &wanted)?,
                (Place::Project(_), Some(store)) => difference(&**store, &self.name, &wanted)?,
                (Place::Project(_), None) => unreachable!("invariant: a project has tables"),
            };
            if wanted.after.is_none() && !out.json {
                heading(&page, out.style)
                    .iter()
                    .try_for_each(|line| out.line(line))?;
            }
            for row in &page.rows {
                if out.json {
                    out.json_line(row)?;
                } else {
                    lines_of(row, out.style)
                        .iter()
                        .try_for_each(|line| out.line(line))?;
                }
            }
            out.flush()?;
            left -= page.rows.len() as u64;
            shown += page.rows.len() as u64;
            compared += page.compared;
            let Some(next) = page.next else { break };
            if left == 0 {
                if !out.json {
                    out.line("there are more, or there may be; --limit shows them")?;
                }
                return Ok(());
            }
            // The two sides stay what they were in the first page, whatever is switched to meanwhile.
            (wanted.from, wanted.to) = (Some(page.from.generation), Some(page.to.generation));
            wanted.after = Some(next);
        }
        if out.json {
            return Ok(());
        }
        let of = units::counted(compared, "row", "rows");
        out.line(match shown {
            0 => format!("no difference in {of}"),
            1 => format!("1 row of {of} differs"),
            many => format!("{} of {of} differ", units::counted(many, "row", "rows")),
        })
    }
}

fn heading(page: &Difference, style: Style) -> Vec<String> {
    let side = |side: &Side| {
        let moved = match side.checkpoint == side.checkpoint_after {
            true => String::new(),
            false => format!(" to {}", units::count(side.checkpoint_after)),
        };
        format!(
            "g{} {} ({}, at position {}{moved})",
            side.generation,
            plain(&side.version),
            plain(&side.state),
            units::count(side.checkpoint)
        )
    };
    let mut lines = vec![format!(
        "{}  from {} to {}",
        style.bold(&plain(&page.projection)),
        side(&page.from),
        side(&page.to)
    )];
    lines.extend(page.tables.iter().map(|words| style.busy(&plain_lines(words))));
    lines
}

fn lines_of(row: &RowChange, style: Style) -> Vec<String> {
    let keys: Vec<String> = row
        .key
        .iter()
        .map(|(column, value)| format!("{} {}", plain(column), shown(value)))
        .collect();
    let place = format!("{} {}", plain(&row.table), keys.join(", "));
    match (&row.from, &row.to) {
        (Some(from), None) => vec![style.bad(&format!("- {place}")), rest(from, &row.key)],
        (None, Some(to)) => vec![style.good(&format!("+ {place}")), rest(to, &row.key)],
        (from, to) => {
            let value = |row: &Option<Map<String, Json>>, column: &String| {
                row.as_ref()
                    .and_then(|row| row.get(column))
                    .map_or_else(String::new, shown)
            };
            let mut lines = vec![style.busy(&format!("~ {place}"))];
            lines.extend(row.columns.iter().map(|column| {
                format!(
                    "    {}  {} → {}",
                    plain(column),
                    value(from, column),
                    value(to, column)
                )
            }));
            lines
        }
    }
}

/// The columns of a row that are not its key, on a line.
fn rest(row: &Map<String, Json>, key: &Map<String, Json>) -> String {
    let columns = row.iter().filter(|(column, _)| !key.contains_key(*column));
    let columns: Vec<String> = columns
        .map(|(column, value)| format!("{} {}", plain(column), shown(value)))
        .collect();
    format!("    {}", columns.join(", "))
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: &Json) -> Option<Map<String, Json>> {
        value.as_object().cloned()
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let change = |kind: &str, from: Json, to: Json, columns: &[&str]| RowChange {
            table: "orders".to_owned(),
            key: row(&json!({"order_id": "o-1"})).expect("a key"),
            kind: kind.to_owned(),
            columns: columns.iter().map(ToString::to_string).collect(),
            from: row(&from),
            to: row(&to),
        };
        let old = json!({"order_id": "o-1", "total": "1.50", "note": null});
        let new = json!({"order_id": "o-1", "total": "1.75", "note": "a\u{7}"});
        let lines = [
            change("changed", old.clone(), new.clone(), &["total", "note"]),
            change("only_from", old, Json::Null, &[]),
            change("only_to", Json::Null, new, &[]),
        ]
        .iter()
        .flat_map(|row| lines_of(row, Style::default()))
        .collect::<Vec<_>>()
        .join("\n");
        insta::assert_snapshot!(lines, @r"
        ~ orders order_id o-1
            total  1.50 → 1.75
            note  null → a\u{7}
        - orders order_id o-1
            total 1.50, note null
        + orders order_id o-1
            total 1.75, note a\u{7}
        ");
    }
}
