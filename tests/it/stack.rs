//! What a call takes of the stack, and what its future takes.

use std::cell::Cell;
use std::thread;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, InMemoryBackend, cache};
use tower::ServiceExt;

/// What Tokio gives its workers.
const STACK: usize = 2 << 20;

fn memory() -> Cache {
    Cache::new(InMemoryBackend::new())
}

fn on_a_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let worker = thread::Builder::new().stack_size(STACK);
    worker.spawn(work).unwrap().join().unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

thread_local! {
    /// The lowest address of the stack that was seen.
    static LOWEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Notes how deep the stack is.
#[inline(never)]
fn note() {
    let here = 0_u8;
    let address = std::ptr::from_ref(&here).addr();
    LOWEST.set(LOWEST.get().min(address));
}

fn taken_by(work: impl FnOnce()) -> usize {
    note();
    let before = LOWEST.replace(usize::MAX);
    work();
    before - LOWEST.replace(usize::MAX)
}

async fn bare(depth: u64) -> u64 {
    note();
    match depth {
        0 => 0,
        _ => Box::pin(bare(depth - 1)).await + 1,
    }
}

#[cache(expire = 60)]
async fn cached(depth: u64) -> u64 {
    note();
    match depth {
        0 => 0,
        _ => Box::pin(cached(depth - 1)).await + 1,
    }
}

#[cache(expire = 60, skip(text))]
async fn borrowing(depth: u64, text: &str) -> u64 {
    note();
    match depth {
        0 => text.len() as u64,
        _ => Box::pin(borrowing(depth - 1, text)).await + 1,
    }
}

const DEPTH: u64 = 200;

#[test]
fn recursion_goes_as_deep_as_without_a_cache_within_a_factor() {
    let taken = on_a_worker(|| {
        let bare = taken_by(|| assert_eq!(block_on(bare(DEPTH)), DEPTH));
        let cached = taken_by(|| assert_eq!(block_on(memory().scope(cached(DEPTH))), DEPTH));
        let borrowing =
            taken_by(|| assert_eq!(block_on(memory().scope(borrowing(DEPTH, ""))), DEPTH));
        [bare, cached, borrowing].map(|taken| taken / DEPTH as usize)
    });
    let [bare, cached, borrowing] = taken;
    assert!(cached <= 4 * bare && borrowing <= 4 * bare, "{taken:?}");
}

/// More than a worker's stack could hold a few times.
const LARGE: usize = 100_000;

/// Keeps what is large in its future, and makes it there.
async fn large(byte: u8) -> usize {
    let mut kept = [0; LARGE];
    for place in kept.iter_mut().step_by(1000) {
        *place = byte;
    }
    tokio::task::yield_now().await;
    note();
    kept.iter().map(|byte| usize::from(*byte)).sum()
}

#[test]
fn the_size_of_a_computation_is_not_on_the_stack() {
    #[cache(expire = 60)]
    async fn small(byte: u8) -> usize {
        tokio::task::yield_now().await;
        note();
        usize::from(byte)
    }
    #[cache(expire = 60)]
    async fn one(byte: u8) -> usize {
        large(byte).await
    }
    #[cache(expire = 60)]
    async fn page(Path(byte): Path<u8>) -> String {
        large(byte).await.to_string()
    }
    async fn plain(Path(byte): Path<u8>) -> String {
        large(byte).await.to_string()
    }

    let size = size_of_val(&one(1));
    assert!(
        size < 1000,
        "the future of a cached function takes {size} bytes"
    );
    on_a_worker(|| {
        block_on(memory().scope(async {
            assert_eq!((small(1).await, one(1).await), (1, LARGE.div_ceil(1000)));
            let router = Router::new()
                .route("/page/{byte}", get(page))
                .route("/plain/{byte}", get(plain).layer(CacheLayer::new()));
            for path in ["/page/1", "/plain/1"] {
                let request = Request::get(path).body(Body::empty()).unwrap();
                let response = router.clone().oneshot(request).await.unwrap();
                assert_eq!(response.status(), 200, "{path}");
            }
        }));
    });
}
