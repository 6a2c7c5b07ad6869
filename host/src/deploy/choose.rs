//! Which upcasters are wanted: a pure function of the files and of what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamphouse_contract::{Subscription, UpcasterDescriptor};

use crate::tables::UpcasterRef;
use crate::upcast::{Conflict, Graph};

/// An upcaster that may be wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) upcaster: UpcasterRef,
    pub(crate) descriptor: Arc<UpcasterDescriptor>,
    /// Its file; None for one that runs and whose file is gone or refused.
    pub(crate) file: Option<String>,
}

/// What is known when it is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'k> {
    /// Upcasters of the folder whose names are theirs alone.
    pub(crate) candidates: &'k [Choice],
    /// What runs now, one a name.
    pub(crate) running: &'k [Choice],
    /// Every upcaster that some generation was built with.
    pub(crate) built_with: &'k [UpcasterRef],
    /// Names that refused files claim: what runs under them is not removed.
    pub(crate) claimed: &'k BTreeSet<String>,
    /// What is not in the folder may be there all the same: a file cannot be read, or the folder is gone.
    pub(crate) folder_is_doubtful: bool,
    /// The rule of `dev`: new bytes under an old version are taken.
    pub(crate) replace: bool,
}

/// What is wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// By name.
    pub(crate) set: Vec<Choice>,
    pub(crate) graph: Graph,
    /// Refused files with the reason.
    pub(crate) refused: BTreeMap<String, String>,
}

/// Decides which upcasters are wanted. Where a file is refused, what runs under its name goes on.
///
/// # Errors
/// What runs is in conflict with itself, so that nothing should be changed before somebody has looked.
pub(crate) fn choose(known: &Known<'_>) -> Result<Wanted, Conflict> {
    let mut refused = BTreeMap::new();
    for candidate in known.candidates {
        if let (Some(file), Some(why)) = (&candidate.file, same_version(candidate, known)) {
            refused.insert(file.clone(), why);
        }
    }
    loop {
        let set = set_without(&refused, known);
        let descriptors: Vec<_> = set.iter().map(|choice| choice.descriptor.clone()).collect();
        let conflict = match Graph::new(&descriptors) {
            Ok(graph) => return Ok(Wanted { set, graph, refused }),
            Err(conflict) => conflict,
        };
        let involved: Vec<&Choice> = conflict.upcasters.iter().map(|&place| &set[place]).collect();
        // Who runs already keeps its place; newcomers go.
        let runs = |choice: &Choice| known.running.iter().any(|runs| runs.upcaster == choice.upcaster);
        let mut files: Vec<&String> = involved
            .iter()
            .filter(|choice| !runs(choice))
            .filter_map(|choice| choice.file.as_ref())
            .collect();
        if files.is_empty() {
            files = involved
                .iter()
                .filter_map(|choice| choice.file.as_ref())
                .collect();
        }
        if files.is_empty() {
            return Err(conflict);
        }
        for file in files {
            refused.insert(file.clone(), format!("{file}: {}", conflict.message));
        }
    }
}

/// The upcasters that concern these subscriptions, by name.
pub(crate) fn concerning(wanted: &Wanted, subscriptions: &[Subscription]) -> Vec<UpcasterRef> {
    let places = wanted.graph.concerning(subscriptions);
    places
        .into_iter()
        .map(|place| wanted.set[place].upcaster.clone())
        .collect()
}

/// Why new bytes under an old version are refused.
fn same_version(candidate: &Choice, known: &Known<'_>) -> Option<String> {
    let UpcasterRef {
        name,
        version,
        digest,
    } = &candidate.upcaster;
    if known.replace {
        return None;
    }
    let runs = known
        .running
        .iter()
        .any(|runs| runs.upcaster == candidate.upcaster);
    let other = known
        .built_with
        .iter()
        .find(|other| other.name == *name && other.version == *version && other.digest != *digest);
    other.filter(|_| !runs).map(|other| {
        format!(
            "{name} {version} has other bytes (digest {}) than the upcaster of that version that tables were built with \
             (digest {}): raise the version in `describe`, or run `lamphouse dev`, where new bytes are enough",
            digest.short(),
            other.digest.short(),
        )
    })
}

/// The candidates but for the refused ones, and what runs where it is not to be taken for removed; by name.
fn set_without(refused: &BTreeMap<String, String>, known: &Known<'_>) -> Vec<Choice> {
    let accepted = |choice: &&Choice| {
        !choice
            .file
            .as_ref()
            .is_some_and(|file| refused.contains_key(file))
    };
    let mut set: BTreeMap<&str, Choice> = BTreeMap::new();
    for runs in known.running {
        let name = runs.upcaster.name.as_str();
        let has_file = known.claimed.contains(name)
            || known
                .candidates
                .iter()
                .any(|candidate| candidate.upcaster.name.as_str() == name);
        if has_file || known.folder_is_doubtful {
            set.insert(name, runs.clone());
        }
    }
    for candidate in known.candidates.iter().filter(accepted) {
        set.insert(candidate.upcaster.name.as_str(), candidate.clone());
    }
    set.into_values().collect()
}

#[cfg(test)]
mod tests {
    use lamphouse_contract::{EventSchema, Rule};

    use super::*;
    use crate::core::{PluginDigest, PluginName};

    fn schema(text: &str) -> EventSchema {
        let (event_type, version) = text.split_once(' ').unwrap();
        EventSchema {
            event_type: event_type.to_owned(),
            schema_version: version.parse().unwrap(),
        }
    }

    /// Rules as `A 1 > A 2, B 1`.
    fn choice(file: Option<&str>, name: &str, version: &str, bytes: &str, rules: &[&str]) -> Choice {
        let rule = |text: &&str| {
            let (takes, gives) = text.split_once(" > ").unwrap();
            Rule {
                takes: schema(takes),
                gives: gives
                    .split(", ")
                    .filter(|text| !text.is_empty())
                    .map(schema)
                    .collect(),
            }
        };
        Choice {
            upcaster: UpcasterRef {
                name: PluginName::new(name).unwrap(),
                version: version.to_owned(),
                digest: PluginDigest::of(bytes.as_bytes()),
            },
            descriptor: Arc::new(UpcasterDescriptor {
                name: name.to_owned(),
                version: version.to_owned(),
                rules: rules.iter().map(rule).collect(),
                options: vec![],
            }),
            file: file.map(str::to_owned),
        }
    }

    fn chosen(
        candidates: &[Choice],
        running: &[Choice],
        change: impl Fn(&mut Known<'_>),
    ) -> (String, String) {
        let built_with: Vec<_> = running.iter().map(|runs| runs.upcaster.clone()).collect();
        let claimed = BTreeSet::new();
        let mut known = Known {
            candidates,
            running,
            built_with: &built_with,
            claimed: &claimed,
            folder_is_doubtful: false,
            replace: false,
        };
        change(&mut known);
        let wanted = choose(&known).unwrap();
        let set = wanted.set.iter().map(|choice| {
            let upcaster = &choice.upcaster;
            format!(
                "{} {} {}",
                upcaster.name,
                upcaster.version,
                upcaster.digest.short()
            )
        });
        let refused: Vec<String> = wanted.refused.into_values().collect();
        (set.collect::<Vec<_>>().join(", "), refused.join("\n"))
    }

    fn shown(name: &str, version: &str, bytes: &str) -> String {
        format!("{name} {version} {}", PluginDigest::of(bytes.as_bytes()).short())
    }

    #[test]
    fn a_file_that_is_gone_is_gone_unless_the_folder_is_doubtful() {
        let runs = choice(None, "lift", "1.0.0", "a", &["A 1 > A 2"]);
        assert_eq!(chosen(&[], std::slice::from_ref(&runs), |_| {}).0, "");
        let kept = chosen(&[], &[runs], |known| known.folder_is_doubtful = true).0;
        assert_eq!(kept, shown("lift", "1.0.0", "a"));
    }

    #[test]
    fn new_bytes_under_an_old_version_are_refused_and_the_old_ones_go_on() {
        let runs = choice(None, "lift", "1.0.0", "a", &["A 1 > A 2"]);
        let changed = choice(Some("lift.wasm"), "lift", "1.0.0", "b", &["A 1 > A 3"]);
        let (set, refused) = chosen(
            std::slice::from_ref(&changed),
            std::slice::from_ref(&runs),
            |_| {},
        );
        assert_eq!(set, shown("lift", "1.0.0", "a"));
        assert!(refused.contains("raise the version"), "{refused}");
        let (set, refused) = chosen(&[changed], &[runs], |known| known.replace = true);
        assert_eq!((set, refused), (shown("lift", "1.0.0", "b"), String::new()));
    }

    #[test]
    fn a_newcomer_that_takes_what_is_taken_is_refused_with_both_named() {
        let runs = choice(Some("lift.wasm"), "lift", "1.0.0", "a", &["A 1 > A 2"]);
        let rival = choice(Some("rival.wasm"), "rival", "1.0.0", "b", &["A 1 > B 1"]);
        let files = [runs.clone(), rival];
        let (set, refused) = chosen(&files, &[runs], |_| {});
        assert_eq!(set, shown("lift", "1.0.0", "a"));
        insta::assert_snapshot!(refused, @"rival.wasm: two upcasters take A 1: lift 1.0.0 gives A 2, and rival 1.0.0 gives B 1; an event can go one way only: take the rule out of one of them");
        let (set, refused) = chosen(&files, &[], |_| {});
        assert_eq!(set, "", "with neither running nobody can say which is meant");
        assert_eq!(refused.lines().count(), 2, "{refused}");
    }

    #[test]
    fn a_new_version_that_closes_a_cycle_is_refused_with_the_path_and_the_old_one_goes_on() {
        let one = choice(Some("one.wasm"), "one", "1.0.0", "a", &["A 1 > B 1"]);
        let two = choice(None, "two", "1.0.0", "b", &["B 1 > C 1"]);
        let back = choice(Some("two.wasm"), "two", "1.1.0", "c", &["B 1 > A 1"]);
        let (set, refused) = chosen(&[one.clone(), back], &[one, two], |_| {});
        assert_eq!(
            set,
            format!("{}, {}", shown("one", "1.0.0", "a"), shown("two", "1.0.0", "b"))
        );
        insta::assert_snapshot!(refused, @"two.wasm: the upcasters form a cycle, in which an event would never end: A 1 → B 1 (by one 1.0.0) → A 1 (by two 1.1.0); take one of these rules out");
    }

    #[test]
    fn a_rule_may_move_from_one_upcaster_to_another_at_once() {
        let one = choice(None, "one", "1.0.0", "a", &["A 1 > A 2", "B 1 > B 2"]);
        let two = choice(None, "two", "1.0.0", "b", &["C 1 > C 2"]);
        let files = [
            choice(Some("one.wasm"), "one", "2.0.0", "c", &["A 1 > A 2"]),
            choice(Some("two.wasm"), "two", "2.0.0", "d", &["B 1 > B 2", "C 1 > C 2"]),
        ];
        let (set, refused) = chosen(&files, &[one, two], |_| {});
        assert_eq!(refused, "");
        assert_eq!(
            set,
            format!("{}, {}", shown("one", "2.0.0", "c"), shown("two", "2.0.0", "d"))
        );
    }
}
