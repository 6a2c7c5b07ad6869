//! What the headers ask for beside the rows: `Accept`, `Prefer`, `Lamphouse-Min-Position`.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::ask;
use super::grammar::shown;
use crate::api::problem::Problem;

/// The header of [`super::ask::Ask::min_position`].
const MIN_POSITION: HeaderName = HeaderName::from_static("lamphouse-min-position");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// In which form the rows go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An array of objects.
    Json,
    /// One object; anything but one row is refused.
    Object,
    /// A line of names, then a line a row.
    Csv,
}

impl Form {
    /// As the answer says it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Object => "application/vnd.pgrst.object+json",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "application/json" | "application/vnd.pgrst.array+json" | "application/*" | "*/*" => Self::Json,
            "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" => Self::Object,
            "text/csv" | "text/*" => Self::Csv,
            _ => return None,
        })
    }

    /// The form that `Accept` wants most, and the first of several.
    pub(super) fn wanted(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut accepts = headers.get_all(header::ACCEPT).iter().peekable();
        if accepts.peek().is_none() {
            return Ok(Self::Json);
        }
        let mut best: Option<(Self, u32)> = None;
        let mut asked = String::new();
        for accept in accepts {
            let accept = accept.to_str().unwrap_or_default();
            asked.push_str(accept);
            for one in accept.split(',') {
                if let Some((form, weight)) = weighed(one)
                    && weight > 0
                    && best.is_none_or(|(_, most)| weight > most)
                {
                    best = Some((form, weight));
                }
            }
        }
        best.map(|(form, _)| form).ok_or_else(|| {
            let detail = format!(
                "the Accept header is '{}', and the rows come as application/json, text/csv or \
                 application/vnd.pgrst.object+json",
                shown(&asked)
            );
            Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
        })
    }
}

/// One item of `Accept`, with its `q` in thousandths. A parameter that changes the form is none that we have.
fn weighed(item: &str) -> Option<(Form, u32)> {
    let mut parts = item.split(';').map(str::trim);
    let form = Form::of(&parts.next()?.to_ascii_lowercase())?;
    let mut weight = 1_000;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => {
                let q: f64 = value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
                weight = (q * 1_000.0) as u32;
            }
            "charset" if value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8") => {}
            _ => return None,
        }
    }
    Some((form, weight))
}

/// Whether `Prefer` wants the rows counted. Every kind of count is exact here.
pub(super) fn wants_count(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut count = None;
    let mut strict = false;
    let mut unknown: Option<&str> = None;
    for prefer in headers.get_all(PREFER) {
        let prefer = prefer.to_str().unwrap_or_default();
        for one in prefer.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match one.to_ascii_lowercase().as_str() {
                // The first one counts, as RFC 7240 has it.
                "count=exact" | "count=planned" | "count=estimated" => {
                    count.get_or_insert(true);
                }
                "count=none" => {
                    count.get_or_insert(false);
                }
                "handling=strict" => strict = true,
                "handling=lenient" => {}
                _ => unknown = unknown.or(Some(one)),
            }
        }
    }
    match unknown {
        Some(unknown) if strict => {
            let detail = format!(
                "the preference '{}' is not known, and handling is strict; known are count=exact and handling",
                shown(unknown)
            );
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
        _ => Ok(count.unwrap_or(false)),
    }
}

/// The position that the rows must reflect, by the header.
pub(super) fn min_position(headers: &HeaderMap) -> Result<Option<u64>, String> {
    let Some(value) = headers.get(MIN_POSITION) else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default();
    ask::position("Lamphouse-Min-Position", value.trim()).map(Some)
}

/// Whether the caller has the answer of this tag already.
pub(super) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Form::wanted(&headers).ok()
    }

    #[test]
    fn the_form_that_is_wanted_most_is_given() {
        assert_eq!(Form::wanted(&HeaderMap::new()).ok(), Some(Form::Json));
        for (accept, expected) in [
            ("*/*", Some(Form::Json)),
            ("application/json", Some(Form::Json)),
            ("text/csv", Some(Form::Csv)),
            ("Text/CSV; charset=UTF-8", Some(Form::Csv)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Form::Json)),
            ("application/json;q=0.5, text/csv", Some(Form::Csv)),
            ("application/vnd.pgrst.object+json", Some(Form::Object)),
            ("application/vnd.pgrst.object+json;nulls=stripped", None),
            ("text/csv;q=0", None),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(form(accept), expected, "{accept}");
        }
    }

    #[test]
    fn preferences_are_taken_or_left() {
        let wants = |prefer: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, prefer.parse().unwrap());
            wants_count(&headers).ok()
        };
        assert_eq!(wants("count=exact"), Some(true));
        assert_eq!(wants("return=representation, count=estimated"), Some(true));
        assert_eq!(wants("count=none, count=exact"), Some(false));
        assert_eq!(wants("timezone=UTC"), Some(false));
        assert_eq!(wants("handling=strict, timezone=UTC"), None);
    }

    #[test]
    fn a_tag_is_known_in_any_list() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, "\"x\", W/\"g1-7\"".parse().unwrap());
        assert!(has(&headers, "W/\"g1-7\"") && !has(&headers, "W/\"g1-8\""));
    }
}
