//! Which rows, by their numbers: `Range`, `limit` and `offset` together, and what the answer says of it.

use axum::http::{HeaderMap, StatusCode, header};

use super::ask::Ask;
use super::grammar::shown;
use crate::api::problem::Problem;

/// Rows of one answer, if the caller does not say.
const LIMIT: u64 = 1_000;

/// Rows by their numbers, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) offset: u64,
    pub(super) limit: u64,
}

impl Window {
    /// What is in all of `Range`, `limit` and `offset`. `rows_max` is the host's own.
    pub(super) fn of(ask: &Ask, headers: &HeaderMap, rows_max: u64) -> Result<Self, Problem> {
        if let Some(limit) = ask.limit.filter(|limit| *limit > rows_max) {
            let detail = format!(
                "limit is {limit}, and may be up to {rows_max} (rows_max under [query]): go on by 'offset' for more"
            );
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let first = ask.offset.unwrap_or(0);
        let end = ask.limit.map(|limit| first.saturating_add(limit));
        let Some((from, to)) = range(headers)? else {
            return Ok(Self {
                offset: first,
                limit: ask.limit.unwrap_or(LIMIT.min(rows_max)),
            });
        };
        let offset = first.max(from);
        let ends = [end, to.map(|to| to.saturating_add(1))];
        let limit = match ends.into_iter().flatten().min() {
            None => LIMIT.min(rows_max),
            Some(end) if end > offset => (end - offset).min(rows_max),
            // Asked for nothing, and gets it.
            Some(_) if ask.limit == Some(0) => 0,
            Some(_) => {
                let detail = "the Range header and the parameters limit and offset have no row in common";
                return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail));
            }
        };
        Ok(Self { offset, limit })
    }

    /// `0-24/3573459`, `0-24/*` or `*/0`.
    pub(super) fn content_range(self, rows: u64, total: Option<u64>) -> String {
        let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
        match rows {
            0 => format!("*/{total}"),
            rows => format!("{}-{}/{total}", self.offset, self.offset + rows - 1),
        }
    }

    /// PostgREST's: partial only where the whole is known.
    pub(super) fn status(self, rows: u64, total: Option<u64>) -> StatusCode {
        match total {
            Some(total) if self.offset > total => StatusCode::RANGE_NOT_SATISFIABLE,
            Some(total) if rows < total => StatusCode::PARTIAL_CONTENT,
            _ => StatusCode::OK,
        }
    }
}

/// First and last row of the `Range` header. Other units than `items` are for others, and are left alone.
fn range(headers: &HeaderMap) -> Result<Option<(u64, Option<u64>)>, Problem> {
    let Some(value) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default().trim();
    let range = match value.split_once('=') {
        Some(("items", range)) => range,
        Some(_) => return Ok(None),
        None => value,
    };
    let wrong = || {
        let detail = format!(
            "the Range header is '{}', and is FIRST-LAST or FIRST-, as in 0-24",
            shown(value)
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    let number = |text: &str| -> Result<u64, Problem> {
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number| is_digits && *number <= i64::MAX.unsigned_abs())
            .ok_or_else(wrong)
    };
    let (from, to) = range.split_once('-').ok_or_else(wrong)?;
    let from = number(from)?;
    let to = match to {
        "" => None,
        to => Some(number(to)?),
    };
    if to.is_some_and(|to| to < from) {
        let detail = format!(
            "the Range header is '{}': its last row comes before its first",
            shown(value)
        );
        return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail));
    }
    Ok(Some((from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(query: &str, range: Option<&str>) -> Result<(u64, u64), u16> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(header::RANGE, range.parse().unwrap());
        }
        let window = Window::of(&Ask::read(query).unwrap(), &headers, 5_000);
        window
            .map(|window| (window.offset, window.limit))
            .map_err(|problem| problem.status)
    }

    #[test]
    fn range_limit_and_offset_are_taken_together() {
        for (query, range, expected) in [
            ("", None, Ok((0, 1_000))),
            ("limit=0", None, Ok((0, 0))),
            ("limit=5000&offset=3", None, Ok((3, 5_000))),
            ("limit=5001", None, Err(400)),
            ("", Some("0-24"), Ok((0, 25))),
            ("", Some("items=10-10"), Ok((10, 1))),
            ("", Some("10-"), Ok((10, 1_000))),
            ("", Some("0-999999"), Ok((0, 5_000))),
            ("", Some("bytes=0-24"), Ok((0, 1_000))),
            ("limit=5&offset=10", Some("0-11"), Ok((10, 2))),
            ("limit=5", Some("3-99"), Ok((3, 2))),
            ("limit=5", Some("9-"), Err(416)),
            ("limit=0", Some("9-"), Ok((9, 0))),
            ("", Some("5-3"), Err(416)),
            ("", Some("-5"), Err(400)),
            ("", Some("all"), Err(400)),
            ("", Some("0-9223372036854775808"), Err(400)),
            (
                "offset=9223372036854775807",
                Some("0-"),
                Ok((9_223_372_036_854_775_807, 1_000)),
            ),
        ] {
            assert_eq!(window(query, range), expected, "{query} {range:?}");
        }
    }

    #[test]
    fn an_answer_says_which_rows_it_has() {
        let window = Window { offset: 10, limit: 5 };
        for (rows, total, range, status) in [
            (5, None, "10-14/*", 200),
            (0, None, "*/*", 200),
            (5, Some(100), "10-14/100", 206),
            (0, Some(10), "*/10", 206),
            (0, Some(9), "*/9", 416),
        ] {
            assert_eq!(window.content_range(rows, total), range);
            assert_eq!(window.status(rows, total).as_u16(), status, "{range}");
        }
        let all = Window { offset: 0, limit: 5 };
        assert_eq!(
            (all.status(3, Some(3)).as_u16(), all.status(0, Some(0)).as_u16()),
            (200, 200)
        );
    }
}
