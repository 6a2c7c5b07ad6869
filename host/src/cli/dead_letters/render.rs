//! Dead letters and discards as a person reads them.

use super::super::output::Style;
use super::super::table::{Cell, Look, lay_out, plain, plain_lines};
use super::super::units;
use crate::plugin::LogLine;
use crate::tables::{DeadLetter, Discard};

/// A table of letters.
pub(super) fn letters(letters: &[DeadLetter], width: Option<usize>, style: Style) -> Vec<String> {
    let headings = [
        "projection",
        "generation",
        "position",
        "stream",
        "type",
        "tries",
        "parked",
        "why",
    ];
    let rows: Vec<Vec<Cell>> = letters
        .iter()
        .map(|letter| {
            vec![
                Cell::text(letter.projection.as_str()).look(Look::Bold),
                Cell::text(letter.generation.to_string()),
                Cell::figure(units::count(letter.position.0)),
                Cell::text(&letter.stream_id),
                Cell::text(&letter.event_type),
                Cell::figure(units::count(letter.attempts)),
                Cell::text(time(letter.parked_at)).look(Look::Dim),
                why(letter),
            ]
        })
        .collect();
    lay_out(&headings, &rows, width, style)
}

fn why(letter: &DeadLetter) -> Cell {
    match letter.behind {
        Some(first) => Cell::text(format!("waits behind position {}", units::count(first.0))).look(Look::Dim),
        None => Cell::text(letter.message.lines().next().unwrap_or_default()).look(Look::Bad),
    }
}

/// A table of what was left out.
pub(super) fn discards(discards: &[Discard], width: Option<usize>, style: Style) -> Vec<String> {
    let headings = ["projection", "position", "stream", "type", "when", "who", "why"];
    let rows: Vec<Vec<Cell>> = discards
        .iter()
        .map(|discard| {
            vec![
                Cell::text(discard.projection.as_str()).look(Look::Bold),
                Cell::figure(units::count(discard.position.0)),
                Cell::text(&discard.stream_id),
                Cell::text(&discard.event_type),
                Cell::text(time(discard.at)).look(Look::Dim),
                Cell::text(&discard.by),
                Cell::text(&discard.reason),
            ]
        })
        .collect();
    lay_out(&headings, &rows, width, style)
}

/// All that is known of one letter.
pub(super) fn letter(letter: &DeadLetter, style: Style) -> Vec<String> {
    let mut lines = vec![
        style.bold(&plain(&format!(
            "{} {} ({})",
            letter.projection, letter.version, letter.generation
        ))),
        format!("  position  {}", units::count(letter.position.0)),
        format!("  stream    {}", plain(&letter.stream_id)),
        format!("  parked    {}", time(letter.parked_at)),
    ];
    if let Some(first) = letter.behind {
        lines.push(format!(
            "  waits behind position {} of its stream, which failed",
            units::count(first.0)
        ));
        return lines;
    }
    lines.push(format!(
        "  tried     {}, last {}",
        units::counted(letter.attempts, "time", "times"),
        time(letter.tried_at)
    ));
    if let Some(part) = letter.part.filter(|part| *part > 0) {
        lines.push(format!("  part      {part} of what upcasters made of it"));
    }
    lines.push(format!("  digest    {}", letter.digest));
    lines.push(style.bad(&plain_lines(&letter.message)));
    if !letter.trace.is_empty() {
        lines.push(plain_lines(&letter.trace));
    }
    let log: Vec<LogLine> = serde_json::from_value(letter.log.clone()).unwrap_or_default();
    if !log.is_empty() {
        lines.push("the plugin's log".to_owned());
        let shown = |line: &LogLine| format!("  {:5}  {}", plain(&line.level), plain_lines(&line.message));
        lines.extend(log.iter().map(shown));
    }
    lines
}

fn time(micros: i64) -> String {
    units::time(chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{EventId, GenerationId, PluginDigest, PluginName, Position};

    fn letter(position: u64, behind: Option<u64>) -> DeadLetter {
        DeadLetter {
            generation: GenerationId(3),
            projection: PluginName::new("orders").expect("a name"),
            position: Position(position),
            part: None,
            event_id: EventId(uuid::Uuid::from_u128(u128::from(position))),
            stream_id: "order-7".to_owned(),
            event_type: "LineAdded".to_owned(),
            behind: behind.map(Position),
            message: if behind.is_some() { "" } else { "it failed\nbadly" }.to_owned(),
            trace: "  0: orders::project".to_owned(),
            log: serde_json::json!([{"level": "error", "message": "no price"}]),
            digest: PluginDigest::of(b""),
            version: "1.0.0".to_owned(),
            attempts: u64::from(behind.is_none()),
            parked_at: 1_291_191_960_000_000,
            tried_at: 1_291_191_960_000_000,
        }
    }

    #[test]
    fn a_list_shows_why_each_is_parked() {
        let letters = [letter(4_711, None), letter(4_720, Some(4_711))];
        insta::assert_snapshot!(super::letters(&letters, None, Style::default()).join("\n"), @"
        projection  generation  position  stream   type       tries  parked                why
        orders      g3             4,711  order-7  LineAdded      1  2010-12-01 08:26:00Z  it failed
        orders      g3             4,720  order-7  LineAdded      0  2010-12-01 08:26:00Z  waits behind position 4,711
        ");
    }

    #[test]
    fn one_letter_is_shown_with_all_that_is_known() {
        insta::assert_snapshot!(super::letter(&letter(4_711, None), Style::default()).join("\n"), @"
        orders 1.0.0 (g3)
          position  4,711
          stream    order-7
          parked    2010-12-01 08:26:00Z
          tried     1 time, last 2010-12-01 08:26:00Z
          digest    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        it failed
        badly
          0: orders::project
        the plugin's log
          error  no price
        ");
        let waits = super::letter(&letter(4_720, Some(4_711)), Style::default());
        assert!(waits[4].contains("waits behind position 4,711"), "{waits:?}");
    }
}
