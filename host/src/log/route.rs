//! Which way a reader goes: through every position, or by the index on event types from one wanted event to the next.
//!
//! The log is cut into stretches. Before each, the index is asked for the next few positions of the wanted types: where
//! they lie far apart, these positions are the way, and elsewhere the reader goes through all. Both ways give the same
//! events in the same order; a wrong guess costs time only.
//!
//! *Invariant:* positions that were looked up stay right, because events are never changed and a reader never looks
//! beyond a head that it was given.

use super::query::TYPES_MAX;
use crate::core::{EventFilter, Position};

/// Up to so many positions nobody is asked: to go through them costs no more than to ask.
const UNASKED_POSITIONS_MAX: u64 = 2_000;
/// Positions looked up at once. More ask less often; each costs memory, and time where it turns out to be of no use.
const LOOKED_UP_MAX: usize = 1_000;
/// Where wanted events lie at least so many positions apart, they are fetched one by one. To fetch one costs as much as
/// to pass over some ten others; raise it for slow disks.
const APART_MIN: u64 = 16;
/// Positions that are gone through before the index is asked again. More ask less often, and see later that the wanted
/// events have become few.
const SCANNED_POSITIONS_MAX: u64 = 100_000;

/// What decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    pub(super) unasked_positions_max: u64,
    pub(super) looked_up_max: usize,
    pub(super) apart_min: u64,
    pub(super) scanned_positions_max: u64,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            unasked_positions_max: UNASKED_POSITIONS_MAX,
            looked_up_max: LOOKED_UP_MAX,
            apart_min: APART_MIN,
            scanned_positions_max: SCANNED_POSITIONS_MAX,
        }
    }
}

/// The way of one reader.
pub(super) struct Route {
    measures: Measures,
    /// The types that are looked for; empty when the index is of no use to this filter.
    types: Vec<String>,
    stretch: Option<Stretch>,
}

/// The positions `after + 1 ..= end`.
struct Stretch {
    after: Position,
    end: Position,
    /// Those that hold an event of a wanted type; None when there are too many to tell.
    wanted: Option<Vec<i64>>,
}

/// How to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way<'r> {
    /// Through every position up to `end`.
    Through {
        /// Inclusive.
        end: Position,
    },
    /// By these positions alone; up to `end` there are no others.
    By {
        /// In order. What else the filter says is to be checked.
        positions: &'r [i64],
        /// Inclusive.
        end: Position,
    },
}

/// What the index is to be asked: the first `limit` positions in `after + 1 ..= until` of events of these types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'r> {
    /// Each once.
    pub(super) types: &'r [String],
    pub(super) after: Position,
    pub(super) until: Position,
    pub(super) limit: usize,
}

impl Route {
    /// The way of a reader with this filter.
    pub(super) fn new(filter: &EventFilter, measures: Measures) -> Self {
        let mut types = filter
            .any_of
            .iter()
            .map(|subscription| subscription.event_type.clone())
            .collect::<Option<Vec<_>>>()
            .unwrap_or_default();
        types.sort_unstable();
        types.dedup();
        if types.len() > TYPES_MAX {
            types.clear();
        }
        Self {
            measures,
            types,
            stretch: None,
        }
    }

    /// How to go on from `after`, which is below `until`. `look_up` answers in order.
    pub(super) fn way<E>(
        &mut self,
        after: Position,
        until: Position,
        look_up: impl FnOnce(Wanted<'_>) -> Result<Vec<i64>, E>,
    ) -> Result<Way<'_>, E> {
        let left = until.0.saturating_sub(after.0);
        if self.types.is_empty() || left <= self.measures.unasked_positions_max {
            return Ok(Way::Through { end: until });
        }
        let known = self
            .stretch
            .take()
            .filter(|known| known.after <= after && after < known.end);
        let stretch = match known {
            Some(known) => known,
            None => {
                let found = look_up(Wanted {
                    types: &self.types,
                    after,
                    until,
                    limit: self.measures.looked_up_max,
                })?;
                self.measures.stretch(after, until, found)
            }
        };
        let stretch = self.stretch.insert(stretch);
        let end = stretch.end.min(until);
        Ok(match &stretch.wanted {
            None => Way::Through { end },
            Some(wanted) => {
                let first = wanted.partition_point(|position| *position <= after.as_i64());
                let last = wanted.partition_point(|position| *position <= end.as_i64());
                Way::By {
                    positions: &wanted[first..last],
                    end,
                }
            }
        })
    }
}

impl Measures {
    /// How far to go on, and how, now that these positions were found.
    fn stretch(&self, after: Position, until: Position, found: Vec<i64>) -> Stretch {
        // A full answer says nothing about what follows its last position.
        let end = match found.last() {
            Some(last) if found.len() >= self.looked_up_max => Position::from_i64(*last),
            _ => until,
        };
        let sparse = (found.len() as u64).saturating_mul(self.apart_min) <= end.0 - after.0;
        if sparse {
            return Stretch {
                after,
                end,
                wanted: Some(found),
            };
        }
        Stretch {
            after,
            end: Position(until.0.min(after.0.saturating_add(self.scanned_positions_max))),
            wanted: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use lamphouse_contract::Subscription;

    use super::*;

    const MEASURES: Measures = Measures {
        unasked_positions_max: 10,
        looked_up_max: 4,
        apart_min: 5,
        scanned_positions_max: 30,
    };

    fn filter(types: &[Option<&str>]) -> EventFilter {
        EventFilter {
            any_of: types
                .iter()
                .map(|event_type| Subscription {
                    event_type: event_type.map(str::to_owned),
                    stream_type: None,
                    schema_versions: vec![],
                })
                .collect(),
            ..EventFilter::default()
        }
    }

    /// A route over a log that holds a wanted event at each of these positions, and how often it asked.
    struct Walked {
        route: Route,
        wanted: Vec<i64>,
        asked: usize,
    }

    impl Walked {
        fn new(wanted: impl IntoIterator<Item = i64>) -> Self {
            Self {
                route: Route::new(&filter(&[Some("A")]), MEASURES),
                wanted: wanted.into_iter().collect(),
                asked: 0,
            }
        }

        fn way(&mut self, after: u64, until: u64) -> Way<'_> {
            let (wanted, asked) = (&self.wanted, &mut self.asked);
            let Ok(way) = self.route.way(Position(after), Position(until), |look| {
                *asked += 1;
                let inside =
                    |position: &&i64| **position > look.after.as_i64() && **position <= look.until.as_i64();
                Ok::<_, Infallible>(wanted.iter().filter(inside).copied().take(look.limit).collect())
            });
            way
        }
    }

    fn through<'r>(end: u64) -> Way<'r> {
        Way::Through { end: Position(end) }
    }

    fn by(positions: &[i64], end: u64) -> Way<'_> {
        Way::By {
            positions,
            end: Position(end),
        }
    }

    #[test]
    fn few_wanted_events_are_gone_by_and_asked_for_once() {
        let mut log = Walked::new([40, 900]);
        assert_eq!(log.way(0, 1_000), by(&[40, 900], 1_000));
        assert_eq!(log.way(40, 1_000), by(&[900], 1_000));
        assert_eq!(log.way(40, 500), by(&[], 500), "a nearer end is kept");
        assert_eq!(log.asked, 1);
        assert_eq!(log.way(900, 1_500), by(&[], 1_000), "the rest of what is known");
        assert_eq!(log.way(1_000, 1_500), by(&[], 1_500));
        assert_eq!(log.asked, 2);
    }

    #[test]
    fn a_full_answer_reaches_to_its_last_position() {
        let mut log = Walked::new((1..=8).map(|n| n * 100));
        assert_eq!(log.way(0, 1_000), by(&[100, 200, 300, 400], 400));
        assert_eq!(log.way(400, 1_000), by(&[500, 600, 700, 800], 800));
        assert_eq!(log.way(800, 1_000), by(&[], 1_000));
        assert_eq!(log.asked, 3);
    }

    #[test]
    fn many_wanted_events_are_gone_through_and_the_index_is_asked_now_and_then() {
        let mut log = Walked::new(1..=40);
        assert_eq!(log.way(0, 1_000), through(30));
        assert_eq!(log.way(12, 1_000), through(30));
        assert_eq!(log.asked, 1);
        assert_eq!(log.way(30, 1_000), through(60));
        assert_eq!(log.way(60, 1_000), by(&[], 1_000), "none is left");
        assert_eq!(log.asked, 3);
        assert_eq!(log.way(5, 1_000), through(35), "elsewhere is asked for anew");
        assert_eq!(log.asked, 4);
    }

    #[test]
    fn near_the_head_nobody_is_asked() {
        let mut log = Walked::new([]);
        assert_eq!(log.way(990, 1_000), through(1_000));
        assert_eq!(log.asked, 0);
    }

    #[test]
    fn only_a_filter_that_names_types_is_looked_for() {
        let types = |names: &[Option<&str>]| Route::new(&filter(names), MEASURES).types;
        assert_eq!(types(&[Some("B"), Some("A"), Some("B")]), ["A", "B"]);
        assert!(types(&[Some("A"), None]).is_empty());
        assert!(types(&[]).is_empty());
        let names: Vec<String> = (0..=TYPES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| Some(name.as_str())).collect();
        assert!(types(&many).is_empty());
        assert_eq!(types(&many[1..]).len(), TYPES_MAX);
    }
}
