//! What a guest said, cut to a length that a person reads. Pure.

/// The text, at most so many bytes of it; an ellipsis says that there was more.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes_max)])
}

/// The first entries of a list, each cut; the last says how many there are beside them.
pub(super) fn cut_list(entries: &[String], entries_max: usize, bytes_max: usize) -> Vec<String> {
    let first = entries.iter().take(entries_max);
    let mut cut: Vec<String> = first.map(|entry| self::cut(entry, bytes_max)).collect();
    if entries.len() > entries_max {
        cut.push(format!("and {} more", entries.len() - entries_max));
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut_in_two() {
        assert_eq!(cut("caf\u{e9}", 5), "caf\u{e9}");
        assert_eq!(cut("caf\u{e9}", 4), "caf…");
        assert_eq!(cut("caf\u{e9}", 0), "…");
        let entries = ["one", "two", "three"].map(str::to_owned);
        assert_eq!(cut_list(&entries, 3, 3), ["one", "two", "thr…"]);
        assert_eq!(cut_list(&entries, 1, 9), ["one", "and 2 more"]);
    }
}
