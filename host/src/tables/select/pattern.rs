//! Patterns of `like`, as PostgreSQL reads them: SQLite's own `LIKE` knows no upper and lower case.

/// Characters between two looks at the clock: some hundred microseconds' worth.
const STEPS_PER_LOOK: u32 = 1 << 16;

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tables) struct Pattern {
    signs: Vec<Sign>,
    any_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// `%`: any text.
    Any,
    /// `_`: one character.
    One,
    /// This character.
    This(char),
}

impl Pattern {
    /// Reads `%`, `_` and `\`; the error says why it is none.
    pub(in crate::tables) fn read(text: &str, any_case: bool) -> Result<Self, String> {
        let mut signs = Vec::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            signs.push(match character {
                '%' => Sign::Any,
                '_' => Sign::One,
                '\\' => match characters.next() {
                    Some(next) => Sign::This(next),
                    None => return Err("a lone \\ at the end stands for nothing: write \\\\".to_owned()),
                },
                other => Sign::This(other),
            });
        }
        Ok(Self { signs, any_case })
    }

    /// Whether the whole text is as the pattern says; None when it was stopped. Time grows with the product of both
    /// lengths at the most, which is seconds for a megabyte.
    pub(in crate::tables) fn matches(&self, text: &str, is_late: impl Fn() -> bool) -> Option<bool> {
        let mut rest = text.chars();
        let mut place = 0;
        let mut steps = 0_u32;
        // After the last `%`: where the pattern goes on, and the text that it has not tried to leave out yet.
        let mut again: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(STEPS_PER_LOOK) && is_late() {
                return None;
            }
            let mut next = rest.clone();
            match (self.signs.get(place), next.next()) {
                (Some(Sign::Any), _) => {
                    place += 1;
                    again = Some((place, rest.clone()));
                    continue;
                }
                (None, None) => return Some(true),
                (Some(Sign::One), Some(_)) => {
                    place += 1;
                    rest = next;
                    continue;
                }
                (Some(Sign::This(wanted)), Some(found)) if self.is_same(*wanted, found) => {
                    place += 1;
                    rest = next;
                    continue;
                }
                _ => {}
            }
            // The last `%` takes one character more.
            let Some((after, left)) = &mut again else {
                return Some(false);
            };
            if left.next().is_none() {
                return Some(false);
            }
            place = *after;
            rest = left.clone();
        }
    }

    fn is_same(&self, wanted: char, found: char) -> bool {
        wanted == found || self.any_case && wanted.eq_ignore_ascii_case(&found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_like(text: &str, pattern: &str) -> bool {
        Pattern::read(pattern, false)
            .unwrap()
            .matches(text, || false)
            .unwrap()
    }

    #[test]
    fn a_pattern_matches_the_whole_text() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "_", false),
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "A%", false),
            ("aXbXc", "a%X_", true),
            ("100%", "100\\%", true),
            ("100x", "100\\%", false),
            ("a_b", "a\\_b", true),
            ("axb", "a\\_b", false),
            ("a\\b", "a\\\\b", true),
            ("a*b", "a*b", true),
            ("日本語", "_本%", true),
            ("aaaaaaaaab", "%a%a%a%b", true),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text} like {pattern}");
        }
        let any_case = Pattern::read("ÅSE%", true).unwrap();
        assert!(
            any_case.matches("Åse", || false) == Some(true)
                && any_case.matches("åse", || false) == Some(false)
        );
        assert!(Pattern::read("a\\", false).is_err());
    }

    #[test]
    fn a_long_look_is_stopped() {
        let read = Pattern::read(&format!("%{}b", "a".repeat(10_000)), false).unwrap();
        assert_eq!(read.matches(&"a".repeat(1 << 20), || true), None);
    }

    /// The definition, without any cleverness.
    fn plainly(signs: &[Sign], text: &[char]) -> bool {
        match (signs.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((Sign::Any, rest)), after) => {
                plainly(rest, text) || after.is_some_and(|(_, after)| plainly(signs, after))
            }
            (Some((Sign::One, rest)), Some((_, after))) => plainly(rest, after),
            (Some((Sign::This(wanted), rest)), Some((found, after))) => {
                wanted == found && plainly(rest, after)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_it_is_defined(text in "[ab]{0,12}", pattern in "[ab%_]{0,8}") {
            let read = Pattern::read(&pattern, false).unwrap();
            let characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(read.matches(&text, || true), Some(plainly(&read.signs, &characters)));
        }
    }
}
