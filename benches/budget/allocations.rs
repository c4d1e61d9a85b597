//! How many allocations a hit takes: `cargo xtask budget` compares them with `budget.toml`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fast_cache_benches::hits::{ALL, HITS};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    for (name, prepare) in ALL {
        let mut hits = prepare();
        let before = ALLOCATIONS.get();
        for _ in 0..HITS {
            hits.next();
        }
        let counted = ALLOCATIONS.get() - before;
        // Headers are made once a second, so a hundred hits may allocate a little more than a multiple.
        println!("{name} {}", counted / HITS);
    }
}
