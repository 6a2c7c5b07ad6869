//! What JSON the log takes: less than serde_json does, because PostgreSQL's `jsonb` takes less, and one log must be
//! able to move from one database to the other.

/// Digits before the decimal point that PostgreSQL's `numeric` holds.
const NUMBER_DIGITS_MAX: i64 = 131_072;
/// Digits after the decimal point that PostgreSQL's `numeric` holds.
const NUMBER_SCALE_MAX: i64 = 16_383;

/// Checks a text that is known to be JSON; the error says what is wrong with it and where.
pub(super) fn check(text: &str, depth_max: u64) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut depth = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = check_string(bytes, at + 1)?,
            b'-' | b'0'..=b'9' => {
                at = check_number(bytes, at)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(format!(
                        "is nested over {depth_max} deep (at byte {at}); the limit is [append] json_depth_max"
                    ));
                }
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// From behind the opening quote to the closing one.
fn check_string(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    loop {
        match bytes.get(at) {
            None => return Err("ends inside a string".to_owned()),
            Some(b'"') => return Ok(at),
            Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => match escape(bytes, at) {
                0 => {
                    return Err(format!(
                        "holds the character U+0000 (at byte {at}), which PostgreSQL cannot store"
                    ));
                }
                0xD800..=0xDBFF if (0xDC00..=0xDFFF).contains(&escape(bytes, at + 6)) => at += 12,
                0xD800..=0xDFFF => {
                    return Err(format!(
                        "holds a lone surrogate (at byte {at}), which is no character"
                    ));
                }
                _ => at += 6,
            },
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// The code unit of `\uXXXX` at this place; something that is no surrogate and not 0 if there is none.
fn escape(bytes: &[u8], at: usize) -> u32 {
    const NONE: u32 = 1;
    match bytes.get(at..at + 6) {
        Some([b'\\', b'u', digits @ ..]) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .unwrap_or(NONE),
        _ => NONE,
    }
}

/// From the first character of a number to the one behind it.
fn check_number(bytes: &[u8], start: usize) -> Result<usize, String> {
    let digits_from = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut at = start + usize::from(bytes[start] == b'-');
    let whole = digits_from(at);
    at += whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits_from(at + 1);
        at += 1 + fraction;
    }
    let mut exponent = 0;
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = at + 1;
        let digits = sign + usize::from(matches!(bytes.get(sign), Some(b'+' | b'-')));
        let end = digits + digits_from(digits);
        // An exponent with too many digits for a number is over every limit.
        let size = std::str::from_utf8(&bytes[digits..end])
            .ok()
            .and_then(|digits| digits.parse::<i32>().ok())
            .map_or(i64::from(i32::MAX), i64::from);
        exponent = if bytes.get(sign) == Some(&b'-') {
            -size
        } else {
            size
        };
        at = end;
    }
    let count = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX / 2);
    if count(whole) + exponent > NUMBER_DIGITS_MAX || count(fraction) - exponent > NUMBER_SCALE_MAX {
        return Err(format!(
            "holds a number that PostgreSQL cannot store (at byte {start}): at most {NUMBER_DIGITS_MAX} digits before and {NUMBER_SCALE_MAX} after the decimal point"
        ));
    }
    Ok(at.max(start + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str, expect: Result<(), &str>) {
        serde_json::from_str::<&serde_json::value::RawValue>(text).expect("the tests are about valid JSON");
        match (check(text, 3), expect) {
            (Ok(()), Ok(())) => {}
            (Err(message), Err(part)) if message.contains(part) => {}
            (got, expect) => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn ordinary_json_passes() {
        for text in [
            r#"{"a":[1,-2.5e10,{"b":"x\"\\\n\u00e9\ud83d\ude00"}],"c":null,"d":true}"#,
            "1",
            "-0",
            "1e131071",
            "1e-16383",
            r#""\\u0000""#,
            "[[[]],[[]],{}]",
        ] {
            check_text(text, Ok(()));
        }
    }

    #[test]
    fn what_jsonb_refuses_is_refused() {
        for (text, part) in [
            (r#"{"a":"\u0000"}"#, "U+0000"),
            (r#"{"\u0000":1}"#, "U+0000"),
            (r#""\ud800""#, "lone surrogate"),
            (r#""\udc00""#, "lone surrogate"),
            (r#""\ud800\ud800""#, "lone surrogate"),
            (r#""\ud800x\udc00""#, "lone surrogate"),
            ("1e131072", "number"),
            ("10e131071", "number"),
            ("1e-16384", "number"),
            ("0.1e-16383", "number"),
            ("1e99999999999999999999", "number"),
            ("[[[[]]]]", "json_depth_max"),
            (r#"{"a":{"b":{"c":{}}}}"#, "json_depth_max"),
        ] {
            check_text(text, Err(part));
        }
    }
}
