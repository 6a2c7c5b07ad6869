//! New inputs from old ones. Everything comes from the seed, so that a run can be had again.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Numbers at which code tends to change its mind.
const EDGES: [u64; 16] = [
    0,
    1,
    0x1f,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 53,
    i64::MAX as u64,
    u64::MAX,
];

/// Makes inputs.
pub struct Mutator {
    chance: SmallRng,
    words: &'static [&'static [u8]],
    bytes_max: usize,
}

impl Mutator {
    /// The same seed makes the same inputs of the same corpus.
    pub fn new(seed: u64, words: &'static [&'static [u8]], bytes_max: usize) -> Self {
        Self {
            chance: SmallRng::seed_from_u64(seed),
            words,
            bytes_max,
        }
    }

    /// A new input from one of these, or from nothing.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match corpus.len() {
            0 => Vec::new(),
            // Half of the time one of the newest: they reach what few do.
            len if self.chance.random() => corpus[self.chance.random_range(len - len.min(8)..len)].clone(),
            len => corpus[self.chance.random_range(0..len)].clone(),
        };
        for _ in 0..1 << self.chance.random_range(0..5) {
            self.change(&mut input, corpus);
        }
        input.truncate(self.bytes_max);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.chance.random_range(0..=input.len());
        let end = (at + self.length(input.len() - at)).min(input.len());
        match self.chance.random_range(0..12) {
            0 if at < input.len() => input[at] ^= 1 << self.chance.random_range(0..8),
            1 if at < input.len() => input[at] = self.chance.random(),
            2 if at < input.len() => {
                let step: i8 = self.chance.random_range(-4..=4);
                input[at] = input[at].wrapping_add_signed(step);
            }
            3 => input.insert(at, self.chance.random()),
            4 => drop(input.drain(at..end)),
            5 => {
                let piece = input[at..end].to_vec();
                let to = self.chance.random_range(0..=input.len());
                input.splice(to..to, piece);
            }
            6 => {
                let word = self.words.choose(&mut self.chance).copied().unwrap_or_default();
                let replaced = if self.chance.random() {
                    at..at
                } else {
                    at..(at + word.len()).min(input.len())
                };
                input.splice(replaced, word.iter().copied());
            }
            7 => {
                let number = EDGES[self.chance.random_range(0..EDGES.len())].to_be_bytes();
                let bytes = &number[8 - (1 << self.chance.random_range(0..4))..];
                input.splice(at..(at + bytes.len()).min(input.len()), bytes.iter().copied());
            }
            8 => {
                if let Some(other) = corpus.choose(&mut self.chance).filter(|other| !other.is_empty()) {
                    let from = self.chance.random_range(0..other.len());
                    let until = from + self.length(other.len() - from).min(other.len() - from);
                    input.splice(at..end, other[from..until].iter().copied());
                }
            }
            9 => input.truncate(at),
            10 => {
                let byte = input.get(at).copied().unwrap_or_default();
                let times = self.length(200);
                input.splice(at..at, std::iter::repeat_n(byte, times));
            }
            _ => {
                let text = EDGES[self.chance.random_range(0..EDGES.len())].to_string();
                input.splice(at..end, text.into_bytes());
            }
        }
    }

    /// Short mostly, long at times; at least 1.
    fn length(&mut self, max: usize) -> usize {
        let max = if self.chance.random_range(0..8) == 0 {
            max
        } else {
            max.min(8)
        };
        self.chance.random_range(1..=max.max(1))
    }
}
