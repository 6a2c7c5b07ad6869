//! What a guest can do wrong without the host's help.

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

pub fn spin() -> ! {
    let mut n = 0_u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

pub fn eat_memory() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

static END: AtomicU64 = AtomicU64::new(u64::MAX);

/// Uses the stack of calls, and nothing of the guest's memory.
#[inline(never)]
pub fn recurse(depth: u64) -> u64 {
    match depth == END.load(Ordering::Relaxed) {
        true => depth,
        false => (recurse(depth + 1) ^ depth).rotate_left(7),
    }
}

/// Uses the stack that Rust keeps in the guest's memory.
#[inline(never)]
pub fn recurse_in_memory(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    match depth {
        u64::MAX => frame[0],
        depth => recurse_in_memory(depth + 1).wrapping_add(black_box(frame[63])),
    }
}

#[inline(never)]
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    // Only for lints, which look at the guest as a native library.
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort()
}
