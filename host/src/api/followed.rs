//! Files of the API that count anew when they change, while the host runs.
//!
//! *Invariants:* files that cannot be used leave what was good before, and say so; they say so from the second look on
//! that finds the same fault, because the first may have come in the middle of somebody's writing.

use std::fmt::Display;

use parking_lot::Mutex;

use super::noted::Noted;

/// Files that are looked at again. `R` is what they hold, as it is read.
pub(super) struct Followed<R> {
    seen: Mutex<Seen<R>>,
    /// What they are called among the problems.
    about: &'static str,
    /// What counts while they cannot be used: `the tokens are still those of before`.
    meanwhile: &'static str,
    noted: Noted,
}

struct Seen<R> {
    good: R,
    wrong: Option<String>,
}

impl<R: PartialEq> Followed<R> {
    pub(super) fn new(good: R, about: &'static str, meanwhile: &'static str, noted: Noted) -> Self {
        Self {
            seen: Mutex::new(Seen { good, wrong: None }),
            about,
            meanwhile,
            noted,
        }
    }

    /// Looks again, and takes what has changed. Gives why the files cannot be used when that is to be told for the
    /// first time.
    pub(super) fn look<P, E: Display>(
        &self,
        read: impl FnOnce() -> Result<R, E>,
        parse: impl FnOnce(&R) -> Result<P, E>,
        take: impl FnOnce(P),
    ) -> Option<String> {
        let mut seen = self.seen.lock();
        let changed = match read() {
            Ok(held) if held == seen.good => Ok(None),
            Ok(held) => parse(&held).map(|parsed| Some((held, parsed))),
            Err(error) => Err(error),
        };
        match changed {
            Ok(changed) => {
                seen.wrong = None;
                self.noted.set(self.about, None);
                if let Some((held, parsed)) = changed {
                    seen.good = held;
                    take(parsed);
                }
                None
            }
            Err(error) => {
                let why = error.to_string();
                let is_certain = seen.wrong.as_ref() == Some(&why);
                seen.wrong = Some(why.clone());
                let problem = format!("{}: {why}", self.meanwhile);
                if !is_certain || self.noted.all().contains(&problem) {
                    return None;
                }
                self.noted.set(self.about, Some(problem));
                Some(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_once_it_is_certain_and_until_it_is_right() {
        let noted = Noted::default();
        let followed = Followed::new(
            "1".to_owned(),
            "numbers",
            "the number is still that of before",
            noted.clone(),
        );
        let mut taken = Vec::new();
        let mut look = |text: &str| {
            followed.look(
                || Ok(text.to_owned()),
                |text: &String| text.parse::<u32>().map_err(|error| format!("{text}: {error}")),
                |number| taken.push(number),
            )
        };
        assert_eq!(look("1"), None);
        assert_eq!(look("x"), None, "it may be half written");
        assert_eq!(look("y"), None, "somebody still writes");
        let told = look("y").expect("told");
        assert!(told.starts_with("y: "), "{told}");
        assert_eq!(look("y"), None, "told already");
        assert_eq!(
            noted.all(),
            [format!("the number is still that of before: {told}")]
        );
        assert_eq!(look("1"), None);
        assert!(noted.all().is_empty(), "what was good before is good again");
        assert_eq!(look("2"), None);
        assert_eq!(taken, [2], "what has not changed is not taken again");
    }
}
