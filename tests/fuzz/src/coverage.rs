//! The counters that LLVM's `sancov-module` puts on each edge: where they are, and which were passed.
//!
//! Code that was compiled without them runs as well; then nothing is ever new.

use std::sync::Mutex;

/// Where one piece of the program has its counters: first and end, as addresses.
static REGIONS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by each piece of the program before `main`.
///
/// # Safety
/// LLVM calls it with the bounds of counters that live as long as the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(first: *mut u8, end: *mut u8) {
    if let Ok(mut regions) = REGIONS.lock() {
        let region = (first as usize, end as usize);
        if region.0 < region.1 && !regions.contains(&region) {
            regions.push(region);
        }
    }
}

/// Which edges were ever passed, and about how often.
pub struct Coverage {
    /// Per counter, a bit for each bucket of counts that was seen.
    seen: Vec<u8>,
    edges_seen: usize,
    news: u64,
    regions: Vec<(usize, usize)>,
}

impl Coverage {
    /// Nothing seen yet. `None` where nothing was compiled with counters.
    pub fn new() -> Option<Self> {
        let regions = REGIONS.lock().ok()?.clone();
        let counters: usize = regions.iter().map(|(first, end)| end - first).sum();
        (counters > 0).then(|| Self {
            seen: vec![0; counters],
            edges_seen: 0,
            news: 0,
            regions,
        })
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.seen.len()
    }

    /// How many were passed.
    pub fn edges_seen(&self) -> usize {
        self.edges_seen
    }

    /// Sets all counters to zero: before a run.
    pub fn reset(&self) {
        for &(first, end) in &self.regions {
            // SAFETY: the bounds that LLVM gave; one thread runs what is counted.
            unsafe { std::ptr::write_bytes(first as *mut u8, 0, end - first) };
        }
    }

    /// Forgets what was passed.
    pub fn forget(&mut self) {
        self.seen.fill(0);
        (self.edges_seen, self.news) = (0, 0);
    }

    /// Takes in what the run since [`Self::reset`] passed; true where it passed an edge that none before it did, or one
    /// about as often as none did.
    pub fn take(&mut self) -> bool {
        let before = self.news;
        let mut place = 0;
        for &(first, end) in &self.regions {
            // SAFETY: the bounds that LLVM gave; one thread runs what is counted, and it does not now.
            let counters = unsafe { std::slice::from_raw_parts(first as *const u8, end - first) };
            // Most are zero, and there are many.
            for (chunk, words) in counters.chunks(64).enumerate() {
                if words.iter().fold(0, |all, count| all | count) == 0 {
                    continue;
                }
                for (offset, count) in words.iter().enumerate() {
                    let seen = &mut self.seen[place + 64 * chunk + offset];
                    let bucket = bucket(*count);
                    if bucket & !*seen != 0 {
                        self.edges_seen += usize::from(*seen == 0);
                        self.news += 1;
                        *seen |= bucket;
                    }
                }
            }
            place += end - first;
        }
        self.news > before
    }
}

/// 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more: a bit each.
fn bucket(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}
