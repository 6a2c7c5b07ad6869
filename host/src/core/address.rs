//! Percent-encoding, as addresses have it (RFC 3986).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All that is not unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A text as one segment of a path, or one value of a query or header.
pub fn encoded(text: &str) -> String {
    // A segment of dots alone would be taken for a step in the path.
    let escaped = match text.bytes().all(|byte| byte == b'.') {
        true => NON_ALPHANUMERIC,
        false => RESERVED,
    };
    utf8_percent_encode(text, escaped).to_string()
}

/// What was encoded; None where a `%` is followed by no two digits, or the result is no UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    let is_pair = |rest: &str| matches!(rest.as_bytes(), [high, low, ..] if [high, low].iter().all(|digit| digit.is_ascii_hexdigit()));
    if !text.split('%').skip(1).all(is_pair) {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_unreserved_is_escaped() {
        assert_eq!(encoded("order-1/a b?é%"), "order-1%2Fa%20b%3F%C3%A9%25");
        assert_eq!(encoded("a.b_c~d"), "a.b_c~d");
        assert_eq!(encoded(".."), "%2E%2E");
    }

    #[test]
    fn half_a_pair_and_half_a_character_are_refused() {
        for wrong in ["%", "a%4", "%zz", "%+1", "%é", "%C3", "%FF"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        assert_eq!(decoded("%41%c3%A9b").as_deref(), Some("Aéb"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text: String) {
            let encoded = encoded(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
            prop_assert_eq!(decoded(&encoded), Some(text));
        }
    }
}
