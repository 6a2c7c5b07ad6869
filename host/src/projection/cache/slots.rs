//! A list that grows without moving what is in it: what a growing `Vec` copies, and leaves behind, is new memory each
//! time.

/// Items of a chunk. More would take memory that a small table does not need; fewer would make more chunks.
const CHUNK: usize = 1 << 10;

/// Items by number.
pub(super) struct Slots<T> {
    /// All but the last are full.
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self.chunks.split_last() {
            Some((last, full)) => full.len() * CHUNK + last.len(),
            None => 0,
        }
    }

    /// Adds one behind the others.
    pub(super) fn push(&mut self, item: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> std::ops::Index<usize> for Slots<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.chunks[index / CHUNK][index % CHUNK]
    }
}

impl<T> std::ops::IndexMut<usize> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_numbers_over_chunks() {
        let mut slots = Slots::default();
        assert_eq!((slots.len(), slots.iter().count()), (0, 0));
        for number in 0..2 * CHUNK + 3 {
            slots.push(number);
            assert_eq!(slots.len(), number + 1);
        }
        slots[CHUNK] = 7;
        assert_eq!(
            (slots[CHUNK - 1], slots[CHUNK], slots[2 * CHUNK + 2]),
            (CHUNK - 1, 7, 2 * CHUNK + 2)
        );
        let there: Vec<usize> = slots.iter().copied().collect();
        assert!(
            (0..)
                .zip(&there)
                .all(|(number, item)| *item == number || number == CHUNK)
        );
    }
}
