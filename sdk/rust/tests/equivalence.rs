//! The SDK answers reads from its own memory and merges changes. Random projectors' work must give the same reads and
//! the same rows as one change after the other, whatever the batch size.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use lamphouse_sdk::contract::{self, CellChange, TableSchema, Value, semantics};
use lamphouse_sdk::prelude::*;
use lamphouse_sdk::testing::Harness;
use lamphouse_sdk::{Cell, Row};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "things", index(by_group_and_name = [group, name]))]
struct Thing {
    #[row(key)]
    id: i64,
    #[row(index)]
    group: Option<String>,
    #[row(initial = 0)]
    count: i64,
    #[row(scale = 2, initial = 0)]
    sum: Decimal,
    weight: Option<f64>,
    // Not nullable and without an initial value: an upsert of a new row has to set it.
    name: String,
}

/// What a read saw.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "sightings")]
struct Sighting {
    #[row(key)]
    position: i64,
    #[row(key)]
    step: i64,
    seen: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Put {
        id: i64,
        group: Option<String>,
        count: i64,
        name: String,
    },
    Upsert {
        id: i64,
        cells: Vec<Change>,
    },
    Patch {
        id: i64,
        cells: Vec<Change>,
    },
    Remove {
        id: i64,
    },
    Get {
        id: i64,
    },
    GetMany {
        ids: Vec<i64>,
    },
    Find {
        group: String,
    },
    FindBoth {
        group: String,
        name: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Change {
    Group(Option<String>),
    Count(i64),
    AddCount(i64),
    Sum(i64),
    AddSum(String),
    AddWeight(f64),
    Name(String),
}

impl Change {
    fn cell(&self) -> Cell<Thing> {
        match self {
            Self::Group(group) => Thing::GROUP.set(group.as_deref()),
            Self::Count(count) => Thing::COUNT.set(*count),
            Self::AddCount(count) => Thing::COUNT.add(*count),
            Self::Sum(sum) => Thing::SUM.set(*sum),
            Self::AddSum(sum) => Thing::SUM.add(Decimal::parse(sum).unwrap()),
            Self::AddWeight(weight) => Thing::WEIGHT.add(*weight),
            Self::Name(name) => Thing::NAME.set(name.as_str()),
        }
    }

    fn column(&self) -> u32 {
        match self {
            Self::Group(_) => 1,
            Self::Count(_) | Self::AddCount(_) => 2,
            Self::Sum(_) | Self::AddSum(_) => 3,
            Self::AddWeight(_) => 4,
            Self::Name(_) => 5,
        }
    }

    fn plain(&self) -> contract::Cell {
        let text = |text: &String| Value::Text(text.as_str().into());
        let change = match self {
            Self::Group(group) => CellChange::Set(group.as_ref().map_or(Value::Null, text)),
            Self::Count(count) => CellChange::Set(Value::Integer(*count)),
            Self::AddCount(count) => CellChange::Add(Value::Integer(*count)),
            Self::Sum(sum) => CellChange::Set(Value::Integer(*sum)),
            Self::AddSum(sum) => CellChange::Add(Value::Decimal(Decimal::parse(sum).unwrap())),
            Self::AddWeight(weight) => CellChange::Add(Value::Real(*weight)),
            Self::Name(name) => CellChange::Set(text(name)),
        };
        contract::Cell {
            column: self.column(),
            change,
        }
    }
}

struct Random;

impl Projector for Random {
    fn describe() -> Plugin {
        Plugin::new("random", "1.0.0")
            .on("Steps")
            .table::<Thing>()
            .table::<Sighting>()
    }

    fn prefetch(event: &Event<'_>, wanted: &mut Wanted<'_>) {
        // Some of what is read and some that is not.
        if event.position.is_multiple_of(3) {
            (0..3).for_each(|id| wanted.row::<Thing>(id));
        }
    }

    fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
        let steps: Vec<Step> = event.data()?;
        for (number, step) in steps.iter().enumerate() {
            let seen = match step {
                Step::Put {
                    id,
                    group,
                    count,
                    name,
                } => {
                    let (group, name) = (group.clone(), name.clone());
                    let row = Thing {
                        id: *id,
                        group,
                        count: *count,
                        sum: Decimal::from(1),
                        weight: None,
                        name,
                    };
                    tables.put(row)?;
                    continue;
                }
                Step::Upsert { id, cells } => {
                    tables.upsert(*id, cells.iter().map(Change::cell))?;
                    continue;
                }
                Step::Patch { id, cells } => {
                    tables.patch(*id, cells.iter().map(Change::cell))?;
                    continue;
                }
                Step::Remove { id } => {
                    tables.remove::<Thing>(*id)?;
                    continue;
                }
                Step::Get { id } => format!("{:?}", tables.get::<Thing>(*id)?),
                Step::GetMany { ids } => format!("{:?}", tables.get_many::<Thing>(ids.iter().copied())?),
                Step::Find { group } => format!("{:?}", tables.find(Thing::BY_GROUP, group.as_str())?),
                Step::FindBoth { group, name } => {
                    let both = (group.as_str(), name.as_str());
                    format!("{:?}", tables.find(Thing::BY_GROUP_AND_NAME, both)?)
                }
            };
            tables.put(Sighting {
                position: event.position as i64,
                step: number as i64,
                seen,
            })?;
        }
        Ok(())
    }
}

/// One change after the other.
#[derive(Clone, Default)]
struct Model {
    things: BTreeMap<i64, contract::Row>,
    sightings: Vec<String>,
}

impl Model {
    fn thing(&self, id: i64) -> Option<Thing> {
        self.things.get(&id).map(|row| Thing::from_values(row).unwrap())
    }

    fn find(&self, matches: impl Fn(&Thing) -> bool) -> String {
        let things: Vec<Thing> = self
            .things
            .keys()
            .filter_map(|id| self.thing(*id))
            .filter(matches)
            .collect();
        format!("{things:?}")
    }

    /// None where the step breaks a rule.
    fn step(&mut self, table: &TableSchema, step: &Step) -> Option<()> {
        let key = |id: i64| -> contract::Key { [Value::Integer(id)].into() };
        let plain = |cells: &[Change]| cells.iter().map(Change::plain).collect::<Vec<_>>();
        match step {
            Step::Put {
                id,
                group,
                count,
                name,
            } => {
                let (group, name) = (group.clone(), name.clone());
                let row = Thing {
                    id: *id,
                    group,
                    count: *count,
                    sum: Decimal::from(1),
                    weight: None,
                    name,
                };
                self.things
                    .insert(*id, semantics::conform_row(table, row.into_values()).ok()?);
            }
            Step::Upsert { id, cells } => {
                let row = semantics::upsert(table, self.things.get(id), &key(*id), plain(cells)).ok()?;
                self.things.insert(*id, row);
            }
            Step::Patch { id, cells } => {
                semantics::patch(table, self.things.get_mut(id)?, plain(cells)).ok()?
            }
            Step::Remove { id } => {
                self.things.remove(id);
            }
            Step::Get { id } => self.sightings.push(format!("{:?}", self.thing(*id))),
            Step::GetMany { ids } => {
                let things: Vec<Option<Thing>> = ids.iter().map(|id| self.thing(*id)).collect();
                self.sightings.push(format!("{things:?}"));
            }
            Step::Find { group } => {
                let found = self.find(|thing| thing.group.as_ref() == Some(group));
                self.sightings.push(found);
            }
            Step::FindBoth { group, name } => {
                let found = self.find(|thing| thing.group.as_ref() == Some(group) && thing.name == *name);
                self.sightings.push(found);
            }
        }
        Some(())
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop::option::of("[gh]").prop_map(Change::Group),
        (-5i64..5).prop_map(Change::Count),
        (-5i64..5).prop_map(Change::AddCount),
        (-5i64..5).prop_map(Change::Sum),
        prop_oneof![Just("0.05"), Just("-1.5"), Just("3")].prop_map(|sum| Change::AddSum(sum.into())),
        prop_oneof![Just(0.1), Just(1e16), Just(-1e16), Just(-0.3)].prop_map(Change::AddWeight),
        "[nm]".prop_map(Change::Name),
    ]
}

fn any_cells() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(any_change(), 0..4).prop_map(|mut cells| {
        cells.sort_by_key(Change::column);
        cells.dedup_by_key(|change| change.column());
        cells
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let id = 0i64..5;
    prop_oneof![
        2 => (id.clone(), prop::option::of("[gh]"), -5i64..5, "[nm]")
            .prop_map(|(id, group, count, name)| Step::Put { id, group, count, name }),
        6 => (id.clone(), any_cells()).prop_map(|(id, cells)| Step::Upsert { id, cells }),
        4 => (id.clone(), any_cells()).prop_map(|(id, cells)| Step::Patch { id, cells }),
        1 => id.clone().prop_map(|id| Step::Remove { id }),
        1 => id.clone().prop_map(|id| Step::Get { id }),
        1 => prop::collection::vec(id, 0..4).prop_map(|ids| Step::GetMany { ids }),
        1 => "[gh]".prop_map(|group| Step::Find { group }),
        1 => ("[gh]", "[nm]").prop_map(|(group, name)| Step::FindBoth { group, name }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn merged_and_remembered_is_the_same_as_one_by_one(
        events in prop::collection::vec(prop::collection::vec(any_step(), 1..6), 1..40),
        batch in 1usize..20,
    ) {
        let mut model = Model::default();
        let mut harness = Harness::<Random>::new().batch_size(batch);
        let table = Thing::schema();
        for steps in &events {
            // Events that break a rule are another test's matter.
            let mut next = model.clone();
            if steps.iter().all(|step| next.step(&table, step).is_some()) {
                model = next;
                harness.given("s-1", "Steps", steps);
            }
        }
        let things: Vec<Thing> = model.things.keys().filter_map(|id| model.thing(*id)).collect();
        prop_assert_eq!(harness.rows::<Thing>(), things);
        let seen: Vec<String> = harness.rows::<Sighting>().into_iter().map(|sighting| sighting.seen).collect();
        prop_assert_eq!(seen, model.sightings);
        harness.assert_same_at_any_batch_size();
    }

    #[test]
    fn an_event_that_breaks_a_rule_fails_at_any_batch_size(
        events in prop::collection::vec(prop::collection::vec(any_step(), 1..6), 1..20),
    ) {
        let table = Thing::schema();
        let mut model = Model::default();
        let fails_at = events.iter().position(|steps| !steps.iter().all(|step| model.step(&table, step).is_some()));
        for batch in [1, 3, 1_000] {
            let mut harness = Harness::<Random>::new().batch_size(batch);
            events.iter().for_each(|steps| { harness.given("s-1", "Steps", steps); });
            let result = harness.run();
            prop_assert_eq!(result.is_err(), fails_at.is_some(), "batch {}: {:?}", batch, result);
        }
    }
}

#[test]
fn a_broken_rule_fails_the_call_even_if_its_error_is_ignored() {
    struct Careless;
    impl Projector for Careless {
        fn describe() -> Plugin {
            Plugin::new("careless", "1.0.0").on_every_event().table::<Thing>()
        }
        fn project(_: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
            tables.upsert(1, [Thing::NAME.set("a\0b")]).ok();
            Ok(())
        }
    }
    let mut harness = Harness::<Careless>::new();
    harness.given("s-1", "Any", serde_json::json!({}));
    let failure = harness.run().unwrap_err();
    assert_eq!(failure.index, Some(0));
    assert!(
        failure
            .message
            .ends_with("things.name: text may not contain U+0000"),
        "{}",
        failure.message
    );
}

#[test]
fn log_lines_and_random_numbers_come_from_the_event() {
    struct Chatty;
    impl Projector for Chatty {
        fn describe() -> Plugin {
            Plugin::new("chatty", "1.0.0")
                .on_every_event()
                .table::<Sighting>()
        }
        fn project(event: &Event<'_>, tables: &mut Tables<'_>) -> Result<()> {
            lamphouse_sdk::info!("position {}", event.position);
            let (position, step) = (event.position as i64, 0);
            tables.put(Sighting {
                position,
                step,
                seen: event.random().uuid(),
            })
        }
    }
    let mut harness = Harness::<Chatty>::new();
    harness
        .given("s-1", "Any", serde_json::json!({}))
        .given("s-1", "Any", serde_json::json!({}));
    let rows: Vec<Sighting> = harness.rows();
    assert_ne!(rows[0].seen, rows[1].seen);
    let messages: Vec<String> = harness.log().into_iter().map(|(_, message)| message).collect();
    assert_eq!(messages, ["position 1", "position 2"]);
    harness.assert_same_at_any_batch_size();
}
