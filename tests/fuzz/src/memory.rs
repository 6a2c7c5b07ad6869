//! How much memory is in use, counted by the allocator: of this thread alone, for tests run beside each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static USED: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static BASE: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Begins to look for a peak: the most that is in use from now on, beside what is in use now.
pub(crate) fn start() {
    PEAK.set(USED.get());
    BASE.set(USED.get());
}

/// The peak since [`start`].
pub(crate) fn peak() -> usize {
    PEAK.get().saturating_sub(BASE.get())
}

/// Does what a target has to do to have an input, and what is not measured: makes something large of a few bytes.
pub(crate) fn beside<T>(make: impl FnOnce() -> T) -> T {
    let peak = peak();
    let made = make();
    BASE.set(USED.get());
    PEAK.set(USED.get() + peak);
    made
}

// SAFETY: all is left to the system's allocator; the counters touch no memory of its.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counters any more.
        let _ = USED.try_with(|used| {
            // What another thread frees wraps this one's count; the peak is only read where none does.
            let now = used.get().wrapping_add(layout.size());
            used.set(now);
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
        });
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = USED.try_with(|used| used.set(used.get().wrapping_sub(layout.size())));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}
