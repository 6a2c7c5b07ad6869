//! `lamphouse projection show`: everything that is known of one projection.

use anyhow::Result;

use super::output::{Output, Style};
use super::place::Place;
use super::table::{Cell, Look, lay_out, plain, plain_lines};
use super::units;
use crate::deploy::detail::{ProjectionDetail, TableShape};
use crate::deploy::operator::{FaultReport, GenerationStatus};
use crate::plugin::LogLine;

/// Show one projection: its generations, their tables and columns, faults with trace, and the plugin's log lines
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lamphouse projection show order-summary")]
pub(super) struct Show {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,
}

impl Show {
    pub(super) fn run(self, place: &Place, out: &mut Output) -> Result<()> {
        let shown = place.reach()?.operator.projection(&self.name)?;
        if out.json {
            return out.document(&shown);
        }
        render(&shown, out.width(), out.style)
            .iter()
            .try_for_each(|line| out.line(line))
    }
}

fn render(shown: &ProjectionDetail, width: Option<usize>, style: Style) -> Vec<String> {
    let projection = &shown.projection;
    let state = plain(&projection.state);
    let state = match projection.healthy {
        true => style.good(&state),
        false => style.bad(&state),
    };
    let mut lines = vec![format!("{}  {state}", style.bold(&plain(&projection.name)))];
    if !projection.message.is_empty() {
        lines.push(plain_lines(&projection.message));
    }
    if let Some(reason) = &projection.paused {
        let reason = if reason.is_empty() {
            "no reason given"
        } else {
            reason
        };
        lines.push(format!("paused: {}", plain(reason)));
    }
    lines.extend(projection.held.iter().map(|held| plain(held)));
    for generation in projection.live.iter().chain(&projection.others) {
        lines.push(String::new());
        lines.extend(one_generation(generation, style));
        let known = shown
            .generations
            .iter()
            .find(|tables| tables.generation == generation.generation);
        for table in known.iter().flat_map(|known| &known.tables) {
            lines.push(String::new());
            lines.extend(one_table(table, width, style));
        }
        lines.extend(generation.fault.iter().flat_map(|fault| one_fault(fault, style)));
        lines.extend(log_lines("the plugin's log", &generation.log, style));
    }
    lines
}

fn one_generation(generation: &GenerationStatus, style: Style) -> Vec<String> {
    let title = format!(
        "g{}  {}  version {}",
        generation.generation, generation.state, generation.version
    );
    let lag = match generation.lag_ms {
        0 => String::new(),
        ms => format!(", {}", units::duration(ms)),
    };
    let rate = generation
        .events_per_second
        .map(|rate| format!(", {}", units::rate(rate)))
        .unwrap_or_default();
    let cache = match (generation.cache_is_whole, generation.cache_bytes) {
        (true, bytes) => format!("{}, the tables whole", units::bytes(bytes)),
        (false, bytes) => units::bytes(bytes),
    };
    let mut lines = vec![
        style.bold(&plain(&title)),
        format!("  doing       {}", plain(&generation.activity)),
        format!("  checkpoint  {}", units::count(generation.checkpoint)),
        format!(
            "  lag         {}{lag}{rate}",
            units::counted(generation.lag_events, "event", "events")
        ),
        format!("  row cache   {cache}"),
        format!("  digest      {}", plain(&generation.digest)),
    ];
    if generation.parked_events > 0 {
        lines.push(style.bad(&format!(
            "  incomplete  {} of {} {} parked",
            units::counted(generation.parked_events, "event", "events"),
            units::counted(generation.parked_streams, "stream", "streams"),
            if generation.parked_events == 1 {
                "is"
            } else {
                "are"
            }
        )));
    }
    if generation.reordered {
        lines.push(style.busy("  reordered   dead letters were replayed after later events"));
    }
    let upcasters: Vec<String> = generation
        .upcasters
        .iter()
        .map(|upcaster| format!("{} {}", upcaster.name, upcaster.version))
        .collect();
    if !upcasters.is_empty() {
        lines.push(format!("  upcasters   {}", plain(&upcasters.join(", "))));
    }
    if !generation.because.is_empty() {
        lines.push(format!("  because     {}", plain(&generation.because.join("; "))));
    }
    lines
}

fn one_table(table: &TableShape, width: Option<usize>, style: Style) -> Vec<String> {
    let rows: Vec<Vec<Cell>> = table
        .columns
        .iter()
        .map(|column| {
            let rule = match (column.key, column.nullable) {
                (true, _) => "key",
                (false, true) => "null allowed",
                (false, false) => "",
            };
            vec![
                Cell::text("  "),
                Cell::text(&column.name),
                Cell::text(&column.sql_type),
                Cell::text(rule).look(Look::Dim),
            ]
        })
        .collect();
    let mut lines = vec![format!("  table {}", style.bold(&plain(&table.name)))];
    lines.extend(
        lay_out(&["  ", "column", "type", ""], &rows, width, style)
            .into_iter()
            .map(|line| line.trim_end().to_owned()),
    );
    lines.extend(
        table
            .indexes
            .iter()
            .map(|columns| format!("    index on {}", columns.join(", "))),
    );
    lines
}

fn one_fault(fault: &FaultReport, style: Style) -> Vec<String> {
    let place = match (&fault.position, &fault.event_id) {
        (Some(position), Some(id)) => format!(", position {}, event {}", units::count(*position), plain(id)),
        (Some(position), None) => format!(", position {}", units::count(*position)),
        _ => String::new(),
    };
    let tried = units::counted(fault.attempts, "attempt", "attempts");
    let at = units::time_of_micros(fault.at);
    let mut lines = vec![
        String::new(),
        style.bad(&format!(
            "  {} at {at}{place}, after {tried}",
            plain(&fault.class)
        )),
    ];
    lines.extend(
        plain_lines(&fault.message)
            .lines()
            .map(|line| format!("  {line}")),
    );
    lines.extend(
        plain_lines(&fault.trace)
            .lines()
            .map(|line| format!("    {line}")),
    );
    lines.extend(log_lines(
        "the plugin's log in the failing call",
        &fault.log,
        style,
    ));
    lines
}

fn log_lines(title: &str, log: &[LogLine], style: Style) -> Vec<String> {
    if log.is_empty() {
        return Vec::new();
    }
    let lines = log
        .iter()
        .map(|line| format!("    {:<5} {}", plain(&line.level), plain(&line.message)));
    [String::new(), style.dim(&format!("  {title}"))]
        .into_iter()
        .chain(lines)
        .collect()
}

#[cfg(test)]
mod tests {
    use lamphouse_contract::{ColumnType, TableSchema};

    use super::super::status::tests::{generation, projection};
    use super::*;
    use crate::deploy::detail::{GenerationTables, table_shapes};
    use crate::tables::ddl::Dialect;

    #[test]
    fn tables_faults_and_log_lines_are_all_there() {
        let column = |name: &str, kind, nullable| lamphouse_contract::Column {
            name: name.to_owned(),
            kind,
            nullable,
            initial: None,
        };
        let schema = TableSchema {
            name: "orders".to_owned(),
            columns: vec![
                column("order_id", ColumnType::Text, false),
                column("customer_id", ColumnType::Text, true),
                column("total", ColumnType::Decimal(2), false),
            ],
            primary_key: vec![0],
            indexes: vec![vec![1]],
        };
        let mut live = generation(3, "1.0.0", "live", 41);
        live.activity = "stopped".to_owned();
        live.fault = Some(FaultReport {
            class: "fault".to_owned(),
            message: "the projector trapped: unreachable".to_owned(),
            position: Some(42),
            event_id: Some("01890a5d-ac96-774b-bcce-b302099a8057".to_owned()),
            trace: "0: apply\n1: project\u{7}".to_owned(),
            log: vec![LogLine {
                level: "error".to_owned(),
                message: "no such order".to_owned(),
            }],
            at: 1_291_191_960_000_000,
            attempts: 1,
        });
        let mut orders = projection("order-summary", "faulted", Some(live));
        orders.healthy = false;
        orders.message = "stopped at position 42".to_owned();
        let generations = vec![GenerationTables {
            generation: 3,
            tables: table_shapes(&[schema], Dialect::Postgres),
        }];
        let shown = ProjectionDetail {
            projection: orders,
            generations,
        };
        insta::assert_snapshot!(render(&shown, None, Style::default()).join("\n"), @r#"
        order-summary  faulted
        stopped at position 42

        g3  live  version 1.0.0
          doing       stopped
          checkpoint  41
          lag         567,765 events, 1 min 5 s
          row cache   0 B
          digest      abababababababababababababababababababababababababababababababab

          table orders
            column       type
            order_id     text COLLATE "C"  key
            customer_id  text COLLATE "C"  null allowed
            total        numeric(38,2)
            index on customer_id

          fault at 2010-12-01 08:26:00Z, position 42, event 01890a5d-ac96-774b-bcce-b302099a8057, after 1 attempt
          the projector trapped: unreachable
            0: apply
            1: project\u{7}

          the plugin's log in the failing call
            error no such order
        "#);
    }
}
