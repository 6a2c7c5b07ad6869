//! What is to be done about a plugin file: a pure function of what runs and what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::PluginDigest;
use crate::tables::{GenerationRecord, GenerationState, Hold, UpcasterRef, code_digest};

/// A plugin that was staged: it compiles, describes itself, and is allowed to run. Upcasters are candidates too where
/// it is about names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) file: String,
    pub(crate) digest: PluginDigest,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) tables: Vec<String>,
    /// Of those that are wanted, the upcasters that concern it, by name.
    pub(crate) upcasters: Vec<UpcasterRef>,
}

impl Candidate {
    /// What tells its code from others': see [`code_digest`].
    pub(crate) fn code(&self) -> PluginDigest {
        code_digest(&self.digest, &self.upcasters)
    }
}

/// What is to be done about a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It runs already.
    Nothing,
    /// It is public, and what is being built in its place is no longer wanted.
    Withdraw,
    /// Build its tables anew beside the live ones.
    NewGeneration,
    /// A rollback holds against it.
    Held(String),
    /// It is not to be run; says why and what to do.
    Refused(String),
}

/// Decides about one candidate, given the generations of its projection (not dropped ones). `replace` is the rule of
/// `dev`: new bytes under an old version make a new generation.
pub(crate) fn plan(
    candidate: &Candidate,
    generations: &[&GenerationRecord],
    hold: Option<&Hold>,
    replace: bool,
) -> Step {
    let runs = |generation: &&&GenerationRecord| {
        matches!(
            generation.state,
            GenerationState::Live
                | GenerationState::Building
                | GenerationState::Ready
                | GenerationState::Failed
        )
    };
    let newest = generations
        .iter()
        .filter(runs)
        .max_by_key(|generation| generation.id);
    let live = generations
        .iter()
        .find(|generation| generation.state == GenerationState::Live);
    if let Some(hold) = hold
        && is_held(candidate, generations, live.copied(), hold)
    {
        return Step::Held(format!(
            "held back by a rollback: the projection stays at generation {}; `lamphouse cutover {}` goes forward again",
            hold.generation, candidate.name
        ));
    }
    let code = candidate.code();
    if let Some(newest) = newest
        && newest.code() == code
    {
        return Step::Nothing;
    }
    if let Some(live) = live
        && live.code() == code
    {
        // What made the live one is back while another is being built.
        return Step::Withdraw;
    }
    let same_version = generations.iter().find(|generation| {
        generation.version == candidate.version
            && generation.digest != candidate.digest
            && generation.state != GenerationState::Failed
    });
    match same_version {
        Some(other) if !replace => Step::Refused(format!(
            "{} {} has other bytes (digest {}) than the {} generation {} of that version (digest {}): raise the version \
             in `describe`, or run `lamphouse dev`, where new bytes are enough",
            candidate.name,
            candidate.version,
            candidate.digest.short(),
            state_word(other.state),
            other.id,
            other.digest.short(),
        )),
        _ => Step::NewGeneration,
    }
}

/// Whether a rollback holds against this candidate: against the very code, or, where the projector was rolled back,
/// against that projector with whatever upcasters.
fn is_held(
    candidate: &Candidate,
    generations: &[&GenerationRecord],
    live: Option<&GenerationRecord>,
    hold: &Hold,
) -> bool {
    let left = generations
        .iter()
        .find(|generation| generation.code() == hold.against);
    hold.against == candidate.code()
        || left.is_some_and(|left| {
            left.digest == candidate.digest && live.is_some_and(|live| live.digest != left.digest)
        })
}

/// What differs between two sets of upcasters, a sentence each: why a generation is built anew.
pub(crate) fn set_changes(old: &[UpcasterRef], new: &[UpcasterRef]) -> Vec<String> {
    let find = |set: &[UpcasterRef], name| set.iter().find(|upcaster| upcaster.name == name).cloned();
    let removed = old
        .iter()
        .filter(|old| find(new, old.name.clone()).is_none())
        .map(|old| format!("upcaster {} {} is no longer there", old.name, old.version));
    let changed = new.iter().filter_map(|new| match find(old, new.name.clone()) {
        None => Some(format!("upcaster {} {} is new", new.name, new.version)),
        Some(old) if old.digest == new.digest => None,
        Some(old) if old.version == new.version => {
            Some(format!("upcaster {} {} has new bytes", new.name, new.version))
        }
        Some(old) => Some(format!(
            "upcaster {} {} replaces {}",
            new.name, new.version, old.version
        )),
    });
    changed.chain(removed).collect()
}

/// A generation's state in a word.
pub(crate) fn state_word(state: GenerationState) -> &'static str {
    match state {
        GenerationState::Building => "building",
        GenerationState::Ready => "ready",
        GenerationState::Live => "live",
        GenerationState::Retired => "retired",
        GenerationState::Failed => "failed",
        GenerationState::Dropped => "dropped",
    }
}

/// Candidates that claim one name or one table; the one that is deployed already keeps it. Gives the refused files with
/// the reason.
///
/// `deployed` says for a plugin name which digests run under it, `owners` for a table name which projection has it.
pub(crate) fn clashes(
    candidates: &[Candidate],
    deployed: &BTreeMap<String, BTreeSet<PluginDigest>>,
    owners: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut refused = BTreeMap::new();
    let runs = |candidate: &Candidate| {
        deployed
            .get(&candidate.name)
            .is_some_and(|digests| digests.contains(&candidate.digest))
    };
    for candidate in candidates {
        let rivals: Vec<&Candidate> = candidates
            .iter()
            .filter(|other| other.file != candidate.file && other.name == candidate.name)
            .collect();
        let Some(rival) = rivals.iter().find(|rival| runs(rival)).or(rivals.first()) else {
            continue;
        };
        let copies = rivals.iter().all(|rival| rival.digest == candidate.digest);
        let first = rivals
            .iter()
            .all(|rival| rival.digest != candidate.digest || candidate.file < rival.file);
        let keeps = first && (runs(candidate) || copies);
        if !keeps {
            refused.insert(
                candidate.file.clone(),
                format!(
                    "{} ({} {}) and {} ({} {}) claim the one plugin name '{}'{}: keep one of the two files; to deploy a new \
                     version, put it in the old file's place",
                    candidate.file,
                    candidate.name,
                    candidate.version,
                    rival.file,
                    rival.name,
                    rival.version,
                    candidate.name,
                    if runs(rival) { ", and the second one runs" } else { ", and neither runs" },
                ),
            );
        }
    }
    for candidate in candidates {
        if refused.contains_key(&candidate.file) {
            continue;
        }
        for table in &candidate.tables {
            if let Some(owner) = owners.get(table)
                && *owner != candidate.name
            {
                refused.insert(
                    candidate.file.clone(),
                    format!("table '{table}' belongs to projection '{owner}' already: give it another name in `describe`"),
                );
            } else if let Some(other) = candidates.iter().find(|other| {
                other.name != candidate.name
                    && other.tables.contains(table)
                    && !refused.contains_key(&other.file)
                    && owners.get(table) != Some(&candidate.name)
            }) {
                refused.insert(
                    candidate.file.clone(),
                    format!(
                        "{} ({}) and {} ({}) claim the one table '{table}': give one of them another name in `describe`",
                        candidate.file, candidate.name, other.file, other.name
                    ),
                );
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lamphouse_contract::Descriptor;

    use super::*;
    use crate::core::{GenerationId, PluginName};
    use crate::tables::Checkpoint;

    fn candidate(file: &str, name: &str, version: &str, bytes: &str, table: &str) -> Candidate {
        Candidate {
            file: file.to_owned(),
            digest: PluginDigest::of(bytes.as_bytes()),
            name: name.to_owned(),
            version: version.to_owned(),
            tables: vec![table.to_owned()],
            upcasters: vec![],
        }
    }

    fn upcaster(version: &str, bytes: &str) -> UpcasterRef {
        UpcasterRef {
            name: PluginName::new("lift").unwrap(),
            version: version.to_owned(),
            digest: PluginDigest::of(bytes.as_bytes()),
        }
    }

    fn generation(id: i64, version: &str, bytes: &str, state: GenerationState) -> GenerationRecord {
        GenerationRecord {
            id: GenerationId(id),
            projection: PluginName::new("orders").unwrap(),
            digest: PluginDigest::of(bytes.as_bytes()),
            version: version.to_owned(),
            descriptor: Arc::new(Descriptor {
                name: "orders".to_owned(),
                version: version.to_owned(),
                subscriptions: vec![],
                tables: vec![],
                options: vec![],
            }),
            upcasters: vec![],
            state,
            error: None,
            checkpoint: Checkpoint::default(),
            created_at: 0,
            live_at: None,
            retired_at: None,
        }
    }

    #[test]
    fn a_new_version_builds_a_new_generation_and_the_same_bytes_do_nothing() {
        let live = generation(1, "1.0.0", "one", GenerationState::Live);
        let same = candidate("a.wasm", "orders", "1.0.0", "one", "orders");
        let next = candidate("a.wasm", "orders", "2.0.0", "two", "orders");
        assert_eq!(plan(&same, &[&live], None, false), Step::Nothing);
        assert_eq!(plan(&next, &[&live], None, false), Step::NewGeneration);
        assert_eq!(plan(&next, &[], None, false), Step::NewGeneration);
    }

    #[test]
    fn new_bytes_under_an_old_version_are_refused_in_serve_and_built_in_dev() {
        let live = generation(1, "1.0.0", "one", GenerationState::Live);
        let changed = candidate("a.wasm", "orders", "1.0.0", "changed", "orders");
        let Step::Refused(why) = plan(&changed, &[&live], None, false) else {
            panic!("not refused")
        };
        assert!(why.contains("raise the version"), "{why}");
        assert_eq!(plan(&changed, &[&live], None, true), Step::NewGeneration);
    }

    #[test]
    fn a_failed_build_may_be_mended_under_its_version() {
        let live = generation(1, "1.0.0", "one", GenerationState::Live);
        let failed = generation(2, "2.0.0", "two", GenerationState::Failed);
        let mended = candidate("a.wasm", "orders", "2.0.0", "mended", "orders");
        assert_eq!(plan(&mended, &[&live, &failed], None, false), Step::NewGeneration);
        let same = candidate("a.wasm", "orders", "2.0.0", "two", "orders");
        assert_eq!(plan(&same, &[&live, &failed], None, false), Step::Nothing);
    }

    #[test]
    fn a_rollback_holds_against_the_digest_that_it_left() {
        let retired = generation(2, "2.0.0", "two", GenerationState::Retired);
        let live = generation(1, "1.0.0", "one", GenerationState::Live);
        let hold = Hold {
            generation: GenerationId(1),
            against: PluginDigest::of(b"two"),
            since: 0,
        };
        let left = candidate("a.wasm", "orders", "2.0.0", "two", "orders");
        assert!(matches!(
            plan(&left, &[&live, &retired], Some(&hold), false),
            Step::Held(_)
        ));
        let newer = candidate("a.wasm", "orders", "3.0.0", "three", "orders");
        assert_eq!(
            plan(&newer, &[&live, &retired], Some(&hold), false),
            Step::NewGeneration
        );
    }

    #[test]
    fn another_set_of_upcasters_is_other_code() {
        let mut live = generation(1, "1.0.0", "one", GenerationState::Live);
        let mut with = candidate("a.wasm", "orders", "1.0.0", "one", "orders");
        with.upcasters = vec![upcaster("1.0.0", "lift 1")];
        assert_eq!(plan(&with, &[&live], None, false), Step::NewGeneration);
        live.upcasters = with.upcasters.clone();
        assert_eq!(plan(&with, &[&live], None, false), Step::Nothing);
        let without = candidate("a.wasm", "orders", "1.0.0", "one", "orders");
        assert_eq!(plan(&without, &[&live], None, false), Step::NewGeneration);
    }

    #[test]
    fn an_upcaster_that_is_back_withdraws_what_was_built_without_it() {
        let mut live = generation(1, "1.0.0", "one", GenerationState::Live);
        live.upcasters = vec![upcaster("1.0.0", "lift 1")];
        let building = generation(2, "1.0.0", "one", GenerationState::Ready);
        let mut with = candidate("a.wasm", "orders", "1.0.0", "one", "orders");
        with.upcasters = live.upcasters.clone();
        assert_eq!(plan(&with, &[&live, &building], None, false), Step::Withdraw);
    }

    #[test]
    fn a_rollback_of_an_upcaster_holds_against_it_and_one_of_a_projector_against_any_set() {
        let old_set = vec![upcaster("1.0.0", "lift 1")];
        let new_set = vec![upcaster("2.0.0", "lift 2")];
        let with = |id, version: &str, bytes: &str, set: &[UpcasterRef], state| {
            let mut generation = generation(id, version, bytes, state);
            generation.upcasters = set.to_vec();
            generation
        };
        let hold = |left: &GenerationRecord| Hold {
            generation: GenerationId(1),
            against: left.code(),
            since: 0,
        };
        let live = with(1, "1.0.0", "one", &old_set, GenerationState::Live);
        let mut wanted = candidate("a.wasm", "orders", "1.0.0", "one", "orders");
        wanted.upcasters = new_set.clone();
        let left = with(2, "1.0.0", "one", &new_set, GenerationState::Retired);
        let held = |candidate: &Candidate, left: &GenerationRecord| {
            matches!(
                plan(candidate, &[&live, left], Some(&hold(left)), false),
                Step::Held(_)
            )
        };
        assert!(held(&wanted, &left), "the upcaster was rolled back");
        wanted.upcasters = vec![upcaster("3.0.0", "lift 3")];
        assert!(!held(&wanted, &left), "a third upcaster was not");
        let mut projector = candidate("a.wasm", "orders", "2.0.0", "two", "orders");
        projector.upcasters = new_set;
        let left = with(2, "2.0.0", "two", &old_set, GenerationState::Retired);
        assert!(
            held(&projector, &left),
            "a new upcaster must not bring the projector forward that was left"
        );
    }

    #[test]
    fn what_changed_in_a_set_is_said() {
        let (one, other, two) = (
            upcaster("1.0.0", "a"),
            upcaster("1.0.0", "b"),
            upcaster("2.0.0", "c"),
        );
        let said = |old: &[&UpcasterRef], new: &[&UpcasterRef]| {
            let owned = |set: &[&UpcasterRef]| set.iter().copied().cloned().collect::<Vec<_>>();
            set_changes(&owned(old), &owned(new)).join("; ")
        };
        assert_eq!(said(&[], &[&one]), "upcaster lift 1.0.0 is new");
        assert_eq!(said(&[&one], &[&two]), "upcaster lift 2.0.0 replaces 1.0.0");
        assert_eq!(said(&[&one], &[&other]), "upcaster lift 1.0.0 has new bytes");
        assert_eq!(said(&[&one], &[]), "upcaster lift 1.0.0 is no longer there");
        assert_eq!(said(&[&one], &[&one]), "");
    }

    #[test]
    fn two_files_of_one_name_leave_the_deployed_one_running() {
        let one = candidate("one.wasm", "orders", "1.0.0", "one", "orders");
        let two = candidate("two.wasm", "orders", "2.0.0", "two", "orders");
        let deployed = BTreeMap::from([("orders".to_owned(), BTreeSet::from([PluginDigest::of(b"one")]))]);
        let refused = clashes(&[one.clone(), two.clone()], &deployed, &BTreeMap::new());
        assert_eq!(refused.keys().collect::<Vec<_>>(), ["two.wasm"]);
        let refused = clashes(&[one, two], &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(
            refused.len(),
            2,
            "with neither deployed nobody can say which is meant"
        );
    }

    #[test]
    fn two_copies_of_one_file_are_one_plugin_and_a_refused_copy() {
        let one = candidate("one.wasm", "orders", "1.0.0", "one", "orders");
        let copy = candidate("copy.wasm", "orders", "1.0.0", "one", "orders");
        let deployed = BTreeMap::from([("orders".to_owned(), BTreeSet::from([PluginDigest::of(b"one")]))]);
        let refused = clashes(&[copy, one], &deployed, &BTreeMap::new());
        assert_eq!(refused.len(), 1);
    }

    #[test]
    fn a_table_stays_with_the_projection_that_has_it() {
        let one = candidate("one.wasm", "orders", "1.0.0", "one", "orders");
        let thief = candidate("two.wasm", "thief", "1.0.0", "two", "orders");
        let owners = BTreeMap::from([("orders".to_owned(), "orders".to_owned())]);
        let refused = clashes(&[one.clone(), thief.clone()], &BTreeMap::new(), &owners);
        assert_eq!(refused.keys().collect::<Vec<_>>(), ["two.wasm"]);
        assert!(
            refused["two.wasm"].contains("belongs to projection 'orders'"),
            "{refused:?}"
        );
        let refused = clashes(&[one, thief], &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(refused.len(), 1, "the first in order keeps it: {refused:?}");
    }
}
