//! Where each key's slot is.

use hashbrown::HashTable;

/// Numbers of slots, by the hashes of their keys.
#[derive(Default)]
pub(super) struct Places {
    places: HashTable<Place>,
}

/// A slot, with half of its key's hash: so no slot need be looked at when there are more places, and seldom one of another
/// key.
#[derive(Clone, Copy)]
struct Place {
    half: u32,
    slot: u32,
}

impl Places {
    /// The slot of a key with this hash: the one that `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let half = half(hash);
        let found = self
            .places
            .find(whole(half), |place| place.half == half && is_it(place.slot));
        found.map(|place| place.slot)
    }

    /// Adds the slot of a key that has none.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let half = half(hash);
        self.places
            .insert_unique(whole(half), Place { half, slot }, |place| whole(place.half));
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let is_it = |place: &Place| place.slot == slot;
        if let Ok(place) = self.places.find_entry(whole(half(hash)), is_it) {
            place.remove();
        }
    }
}

fn half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The table looks at both ends of a hash.
fn whole(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_also_where_hashes_are_the_same() {
        let mut places = Places::default();
        // A thousand hashes that differ by their lower halves alone, and others.
        let hash = |slot: u32| u64::from(slot % 7) << 40 | u64::from(slot);
        (0..1_000).for_each(|slot| places.insert(hash(slot), slot));
        assert!((0..1_000).all(|slot| places.find(hash(slot), |other| other == slot) == Some(slot)));
        places.remove(hash(14), 14);
        assert_eq!(places.find(hash(14), |slot| slot == 14), None);
        assert_eq!(places.find(hash(21), |slot| slot == 21), Some(21));
        places.remove(hash(14), 14);
        assert_eq!(places.find(u64::MAX, |_| true), None);
    }
}
