//! Rows in aligned columns.

use super::output::Style;

/// Longest cell when the output is no terminal, in characters.
const CELL_CHARS_MAX: usize = 200;
/// A column is not cut below this to make the table fit.
const COLUMN_CHARS_MIN: usize = 8;

/// How a cell looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    #[default]
    Plain,
    Dim,
    Bold,
    Good,
    Busy,
    Bad,
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    look: Look,
    right: bool,
}

impl Cell {
    /// Text, from the left. Control characters show as escapes: what a table holds must not drive the terminal.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self {
            text: plain(text.as_ref()),
            look: Look::Plain,
            right: false,
        }
    }

    /// A figure, at the right.
    pub(super) fn figure(text: impl AsRef<str>) -> Self {
        Self {
            right: true,
            ..Self::text(text)
        }
    }

    pub(super) fn look(self, look: Look) -> Self {
        Self { look, ..self }
    }
}

/// One line of text without control characters, which show as escapes.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// As [`plain`], but line breaks and tabs stay: for traces and messages of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.lines()
        .map(|line| plain(&line.replace('\t', "    ")))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The whole table as lines, headings first. Cut to `width` where there is one.
pub(super) fn lay_out(
    headings: &[&str],
    rows: &[Vec<Cell>],
    width: Option<usize>,
    style: Style,
) -> Vec<String> {
    let columns = headings.len();
    let mut widths: Vec<usize> = headings.iter().map(|heading| chars(heading)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(chars(&cell.text)).min(CELL_CHARS_MAX);
        }
    }
    if let Some(most) = width {
        shrink(&mut widths, most.saturating_sub(2 * columns.saturating_sub(1)));
    }
    let right: Vec<bool> = (0..columns)
        .map(|column| {
            rows.iter()
                .any(|row| row.get(column).is_some_and(|cell| cell.right))
        })
        .collect();
    let heading = headings.iter().enumerate().map(|(column, heading)| Cell {
        text: (*heading).to_owned(),
        look: Look::Dim,
        right: right[column],
    });
    let mut lines = vec![line(&heading.collect::<Vec<_>>(), &widths, style)];
    lines.extend(rows.iter().map(|row| line(row, &widths, style)));
    lines
}

fn line(cells: &[Cell], widths: &[usize], style: Style) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column > 0 {
            text.push_str("  ");
        }
        let shown = console::truncate_str(&cell.text, *width, "…");
        let gap = " ".repeat(width.saturating_sub(chars(&shown)));
        let painted = match cell.look {
            Look::Plain => shown.into_owned(),
            Look::Dim => style.dim(&shown),
            Look::Bold => style.bold(&shown),
            Look::Good => style.good(&shown),
            Look::Busy => style.busy(&shown),
            Look::Bad => style.bad(&shown),
        };
        if cell.right {
            text.push_str(&gap);
            text.push_str(&painted);
        } else {
            text.push_str(&painted);
            if column + 1 < cells.len() {
                text.push_str(&gap);
            }
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Takes from the widest column until all fit.
fn shrink(widths: &mut [usize], most: usize) {
    while widths.iter().sum::<usize>() > most {
        match widths.iter_mut().max() {
            Some(widest) if *widest > COLUMN_CHARS_MIN => *widest -= 1,
            _ => return,
        }
    }
}

fn chars(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(rows: &[Vec<Cell>], width: Option<usize>) -> String {
        lay_out(&["name", "orders"], rows, width, Style::default()).join("\n")
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec![Cell::text("Ada"), Cell::figure("7")],
            vec![Cell::text("Grace Hopper"), Cell::figure("12,345,678")],
            vec![Cell::text("日本"), Cell::figure("1")],
        ];
        insta::assert_snapshot!(laid_out(&rows, None), @r"
        name              orders
        Ada                    7
        Grace Hopper  12,345,678
        日本                   1
        ");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_column() {
        let rows = [vec![
            Cell::text("a name that is far too long"),
            Cell::figure("123456"),
        ]];
        insta::assert_snapshot!(laid_out(&rows, Some(20)), @r"
        name          orders
        a name that…  123456
        ");
    }

    #[test]
    fn data_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\nc\\u{202e}");
        assert_eq!(plain_lines("one\r\ntwo\u{7}"), "one\ntwo\\u{7}");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let rows = [vec![
            Cell::text("Ada").look(Look::Good),
            Cell::figure("7").look(Look::Bad),
        ]];
        let lines = lay_out(&["name", "orders"], &rows, None, Style { coloured: true });
        assert_eq!(chars(&lines[1]), "name  orders".len());
        assert!(lines[1].contains("\u{1b}[32mAda\u{1b}[0m"));
    }
}
