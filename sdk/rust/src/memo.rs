//! The rows that one call has read or changed.
//!
//! Every row is answered from here once it is known, with all changes of the call in it; what it became goes to the
//! host once, at the end: a row that a batch touches a hundred times crosses the boundary once. A row that is only
//! changed, never read, is never asked for: its changes are merged instead.
//!
//! The same rows come of it as of one change after the other, with one exception that no real log meets: a sum of
//! integers or decimals that overflows and comes back within one call faults in one way only when the call is smaller.

use hashbrown::HashTable;
use lamphouse_contract::packed;
use lamphouse_contract::semantics::{self, Violation};
use lamphouse_contract::{Cell, Descriptor, Key, Row, TableSchema, Value, ValueRef};

use crate::host::Host;
use crate::{Error, Result};

#[derive(Default)]
pub(crate) struct Memo {
    entries: Vec<Entry>,
    /// By table and key.
    places: HashTable<Place>,
    /// The keys' bytes, one after the other: found with one look less than in a box each.
    keys: Vec<u8>,
    /// The bytes of the key that is looked for, where they are not at hand.
    scratch: Vec<u8>,
}

struct Entry {
    table: u32,
    /// Conformed, so that there is one form of each key.
    key: Key,
    state: State,
}

/// Where an entry is, and its key's bytes in [`Memo::keys`].
struct Place {
    at: u32,
    table: u32,
    start: u32,
    length: u32,
}

impl Place {
    #[inline]
    fn bytes<'k>(&self, keys: &'k [u8]) -> &'k [u8] {
        let start = self.start as usize;
        &keys[start..start + self.length as usize]
    }
}

enum State {
    /// Never read, or handed over since.
    Unknown,
    /// The row as it is now; None where there is none.
    Known { row: Option<Row>, dirty: bool },
    /// Merged changes of a row that was never read: of an upsert, or, where it must exist, of a patch.
    Pending { cells: Vec<Cell>, must_exist: bool },
}

impl Memo {
    /// The place of a row; made where there is none. The key must be conformed.
    pub(crate) fn place(&mut self, table: u32, key: Key) -> usize {
        self.with_scratch(|memo, bytes| {
            // All keys of a table have the same types, so that a text may stand for itself.
            match &*key {
                [Value::Text(text)] => bytes.extend_from_slice(text.as_bytes()),
                values => packed::write_values(bytes, values),
            }
            memo.place_of_bytes(table, bytes, || key)
        })
    }

    /// The same for a key that is borrowed: it is copied only where there is no place yet.
    #[inline]
    pub(crate) fn place_of(&mut self, table: u32, key: &[ValueRef<'_>]) -> usize {
        let own = || key.iter().map(|value| value.to_value()).collect();
        if let [ValueRef::Text(text)] = key {
            return self.place_of_bytes(table, text.as_bytes(), own);
        }
        self.with_scratch(|memo, bytes| {
            packed::write_array(bytes, key.len());
            for &value in key {
                packed::write_value_ref(bytes, value);
            }
            memo.place_of_bytes(table, bytes, own)
        })
    }

    fn with_scratch(&mut self, place: impl FnOnce(&mut Self, &mut Vec<u8>) -> usize) -> usize {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let at = place(self, &mut scratch);
        self.scratch = scratch;
        at
    }

    #[inline]
    fn place_of_bytes(&mut self, table: u32, bytes: &[u8], key: impl FnOnce() -> Key) -> usize {
        let hash = hash(table, bytes);
        let is_it = |place: &Place| place.table == table && is_same(place.bytes(&self.keys), bytes);
        match self.places.find(hash, is_it) {
            Some(place) => place.at as usize,
            None => self.insert(hash, table, bytes, key()),
        }
    }

    #[cold]
    fn insert(&mut self, hash: u64, table: u32, bytes: &[u8], key: Key) -> usize {
        let at = self.entries.len();
        let place = Place {
            at: at as u32,
            table,
            start: self.keys.len() as u32,
            length: bytes.len() as u32,
        };
        self.keys.extend_from_slice(bytes);
        let keys = &self.keys;
        self.places
            .insert_unique(hash, place, |place| self::hash(place.table, place.bytes(keys)));
        self.entries.push(Entry {
            table,
            key,
            state: State::Unknown,
        });
        at
    }

    /// Whether the row at this place must be read before it can be answered.
    pub(crate) fn is_unread(&self, at: usize) -> bool {
        !matches!(self.entries[at].state, State::Known { .. })
    }

    /// The row at this place; it must be known.
    pub(crate) fn row(&self, at: usize) -> Option<&Row> {
        match &self.entries[at].state {
            State::Known { row, .. } => row.as_ref(),
            _ => unreachable!("invariant: a row is read before it is looked at"),
        }
    }

    /// Makes the rows at these places known, with one read.
    pub(crate) fn read(
        &mut self,
        places: impl IntoIterator<Item = usize>,
        descriptor: &Descriptor,
        host: &mut dyn Host,
    ) -> Result<()> {
        let mut wanted: Vec<usize> = places.into_iter().filter(|&at| self.is_unread(at)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut reads = Vec::new();
        for &at in &wanted {
            let entry = &self.entries[at];
            packed::write_read(&mut reads, entry.table, &entry.key);
        }
        let bytes = host.read(&reads)?;
        let mut answers = packed::answers(&bytes);
        for at in wanted {
            let answer = answers
                .next()
                .ok_or_else(|| Error::new("the host answered fewer rows than were asked for"))?;
            let entry = &mut self.entries[at];
            entry.learn(answer?, &descriptor.tables[entry.table as usize])?;
        }
        Ok(())
    }

    /// Takes in a row that the host found.
    pub(crate) fn found(&mut self, at: usize, row: Row) {
        if let state @ State::Unknown = &mut self.entries[at].state {
            *state = State::Known {
                row: Some(row),
                dirty: false,
            };
        }
    }

    /// Puts or removes a whole row.
    pub(crate) fn replace(
        &mut self,
        at: usize,
        row: Option<Row>,
        descriptor: &Descriptor,
        host: &mut dyn Host,
    ) -> Result<()> {
        // A patch of an absent row faults, even if another row comes after it.
        if let State::Pending { must_exist: true, .. } = self.entries[at].state {
            self.read([at], descriptor, host)?;
        }
        let state = &mut self.entries[at].state;
        // A row known to be absent need not be removed again.
        let dirty = row.is_some()
            || !matches!(
                state,
                State::Known {
                    row: None,
                    dirty: false
                }
            );
        *state = State::Known { row, dirty };
        Ok(())
    }

    /// Changes cells of a row: an upsert, or, where the row must exist, a patch.
    pub(crate) fn change(
        &mut self,
        at: usize,
        cells: impl IntoIterator<Item = Cell>,
        must_exist: bool,
        descriptor: &Descriptor,
        host: &mut dyn Host,
    ) -> Result<()> {
        let entry = &mut self.entries[at];
        let table = &descriptor.tables[entry.table as usize];
        let rest = match &mut entry.state {
            State::Known {
                row: Some(row),
                dirty,
            } => {
                *dirty = true;
                return Ok(semantics::patch(table, row, cells)?);
            }
            State::Known { row: None, .. } => {
                if must_exist {
                    return Err(absent(table, &entry.key).into());
                }
                let row = semantics::upsert(table, None, &entry.key, cells)?;
                entry.state = State::Known {
                    row: Some(row),
                    dirty: true,
                };
                return Ok(());
            }
            State::Pending { cells: earlier, .. } => {
                // Behind either change the row exists, so that an upsert and a patch are the same now.
                let rest = semantics::merge_cells(table, earlier, cells)?;
                if rest.is_empty() {
                    return Ok(());
                }
                rest
            }
            State::Unknown => {
                let cells = semantics::conform_cells(table, cells)?;
                if must_exist || semantics::names_all_required(table, &cells) {
                    entry.state = State::Pending { cells, must_exist };
                    return Ok(());
                }
                // Only right if the row is there already, which only the host knows.
                cells
            }
        };
        self.read([at], descriptor, host)?;
        self.change(at, rest, must_exist, descriptor, host)
    }

    /// Writes what became of the rows, of one table or of all, as packed changes; they then count as handed over.
    pub(crate) fn hand_over(&mut self, only: Option<u32>, out: &mut Vec<u8>) {
        for entry in &mut self.entries {
            if only.is_some_and(|table| table != entry.table) {
                continue;
            }
            match &mut entry.state {
                State::Known { dirty: false, .. } | State::Unknown => {}
                State::Known {
                    row: Some(row),
                    dirty,
                } => {
                    packed::write_put(out, entry.table);
                    packed::write_values(out, row);
                    *dirty = false;
                }
                State::Known { row: None, dirty } => {
                    packed::write_remove(out, entry.table, &entry.key);
                    *dirty = false;
                }
                State::Pending { cells, must_exist } => {
                    if *must_exist {
                        packed::write_patch(out, entry.table, &entry.key, cells);
                    } else {
                        packed::write_upsert(out, entry.table, &entry.key, cells);
                    }
                    entry.state = State::Unknown;
                }
            }
        }
    }
}

impl Entry {
    /// Takes in what the host has, with the changes that were made meanwhile.
    fn learn(&mut self, row: Option<Row>, table: &TableSchema) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Unknown) {
            State::Pending { cells, must_exist } => {
                let row = match row {
                    Some(mut row) => {
                        semantics::patch(table, &mut row, cells)?;
                        row
                    }
                    None if must_exist => return Err(absent(table, &self.key).into()),
                    None => semantics::upsert(table, None, &self.key, cells)?,
                };
                State::Known {
                    row: Some(row),
                    dirty: true,
                }
            }
            State::Unknown => State::Known { row, dirty: false },
            known @ State::Known { .. } => known,
        };
        Ok(())
    }
}

fn absent(table: &TableSchema, key: &Key) -> Violation {
    Violation(format!(
        "table '{}' has no row with key {key:?} to patch (upsert makes one)",
        table.name
    ))
}

/// Whether two keys are the same: word by word, for the sandbox has no quick `memcmp`.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // The last eight bytes take in what is left behind whole words.
    let (Some(last), Some(other_last)) = (one.last_chunk(), other.last_chunk()) else {
        return one.iter().eq(other);
    };
    let (words, other_words) = (one.as_chunks().0, other.as_chunks().0);
    word(last) == word(other_last) && words.iter().map(word).eq(other_words.iter().map(word))
}

#[inline]
fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// FxHash over words, the last of which may overlap the one before, with the last step of MurmurHash3 behind it: what
/// numbered keys differ in stands in the highest bytes of their last word, which one multiplication only carries upwards.
#[inline]
fn hash(table: u32, key: &[u8]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = u64::from(table) << 32 | key.len() as u64;
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    match key.last_chunk() {
        Some(last) => {
            key.as_chunks().0.iter().map(word).for_each(&mut mix);
            mix(word(last));
        }
        None => mix(key.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
    }
    // The table looks at the lowest bits and, in the sandbox, at bits 25 to 31.
    let hash = (hash ^ hash >> 32).wrapping_mul(FACTOR);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Most keys of real tables end in a number; a batch has those of a small range.
    #[test]
    fn keys_that_differ_in_a_number_alone_are_spread() {
        for form in [
            "order-{}",
            "customer-{}",
            "{}",
            "a-longer-name-of-a-stream/{}",
            "{}-2026",
        ] {
            for digits in [5, 8, 12] {
                let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
                for number in 40_000..44_096 {
                    let key = form.replace("{}", &format!("{number:0digits$}"));
                    let hash = hash(1, key.as_bytes());
                    // Where a table of so many places begins to look, and what it compares first there.
                    *lower.entry(hash & 0xfff).or_insert(0) += 1;
                    *upper.entry(hash >> 25 & 0x7f).or_insert(0) += 1;
                }
                // By chance a place is met seven or eight times, and 2,590 of 4,096 are met at all.
                assert!(
                    lower.len() > 2_400,
                    "{form}, {digits} digits: {} places",
                    lower.len()
                );
                assert!(lower.values().all(|&met| met < 14), "{form}, {digits} digits");
                assert!(
                    upper.values().all(|&met| met < 80),
                    "{form}, {digits} digits: {upper:?}"
                );
            }
        }
    }
}
