//! What a hit costs: no allocation beyond the value's own clone, and a small future.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fast_cache::{Cache, InMemoryBackend, cache};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
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
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Polls a future that is ready, and counts what it allocates.
fn allocations<T>(future: impl Future<Output = T>) -> u64 {
    let mut future = pin!(future);
    let before = ALLOCATIONS.with(Cell::get);
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    let after = ALLOCATIONS.with(Cell::get);
    assert!(
        matches!(polled, Poll::Ready(_)),
        "a local hit does not wait"
    );
    after - before
}

#[tokio::test]
async fn a_local_hit_allocates_nothing_beyond_the_clone() {
    #[cache(expire = 60)]
    async fn number(n: u64) -> u64 {
        n
    }
    #[cache(expire = 60, namespace = "texts", key = "text:{id}:{name}")]
    async fn by_text(id: u64, name: &str) -> u64 {
        id + name.len() as u64
    }
    #[cache(expire = 60)]
    async fn owned(name: &str) -> Result<String, String> {
        Ok(name.to_owned())
    }

    Cache::new(InMemoryBackend::new())
        .scope(async {
            number(1).await;
            by_text(1, "ada").await;
            owned("ada").await.unwrap();
            assert_eq!(allocations(number(1)), 0);
            assert_eq!(allocations(by_text(1, "ada")), 0);
            assert_eq!(allocations(owned("ada")), 1);
        })
        .await;
}

#[test]
fn a_cached_future_is_about_as_small_as_the_uncached_one() {
    #[cache(expire = 60)]
    async fn large(id: u64) -> u64 {
        let buffer = [id as u8; 1000];
        tokio::task::yield_now().await;
        u64::from(buffer[id as usize % 1000])
    }
    #[cache(expire = 60)]
    async fn small(id: u64) -> u64 {
        id
    }

    let sizes = [size_of_val(&large::uncached(1)), size_of_val(&large(1))];
    assert!(sizes[1] <= sizes[0], "{sizes:?}");
    let sizes = [size_of_val(&small::uncached(1)), size_of_val(&small(1))];
    assert!(sizes[1] <= sizes[0] + 64, "{sizes:?}");
}
