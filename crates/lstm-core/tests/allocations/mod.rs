//! Counts the bytes that this process has allocated: what is alive, and the most there was of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn more(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: all is the system's allocator's, whose callers' promises are the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes of a forward and a backward pass.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Alive between the two.
    pub kept: usize,
    /// The most alive at a time.
    pub peak: usize,
}

/// Counts what comes to be alive in `forward`, and in `backward` from what it gives. Nothing else may run in
/// the process.
pub fn count<T, U>(forward: impl FnOnce() -> T, backward: impl FnOnce(T) -> U) -> Bytes {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let between = forward();
    let kept = LIVE.load(Relaxed).saturating_sub(before);
    let _gradients = backward(between);
    Bytes {
        kept,
        peak: PEAK.load(Relaxed) - before,
    }
}
