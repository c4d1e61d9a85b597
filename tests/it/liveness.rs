//! No call waits for a computation that nothing drives.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fast_cache::testing::ManualClock;
use fast_cache::{Cache, Config, InMemoryBackend, cache};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Calls, settle};

const SECOND: Duration = Duration::from_secs(1);
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

fn memory() -> Cache {
    Cache::new(InMemoryBackend::new())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_polled_once_and_left_holds_nobody_up() {
    #[cache(expire = 60, skip(calls, event))]
    async fn slow(id: u64, calls: &Calls, event: &Notify) -> u64 {
        if calls.next() == 1 {
            event.notified().await;
        }
        id
    }

    let (cache, calls, event) = (memory(), Arc::<Calls>::default(), Notify::new());
    let ended = cache.scope(async {
        let mut left = pin!(slow(7, &calls, &event));
        tokio::select! {
            biased;
            _ = &mut left => unreachable!("it waits"),
            () = async {} => {}
        }
        event.notify_one();
        slow(7, &calls, &event).await
    });
    assert_eq!(timeout(10 * SECOND, ended).await, Ok(7));
    assert_eq!(calls.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_computation_is_one_however_long_it_takes() {
    #[cache(expire = 60, skip(calls))]
    async fn slow(id: u64, calls: &Calls) -> u64 {
        calls.next();
        sleep(AN_HOUR).await;
        id
    }

    let (cache, calls) = (memory(), Arc::<Calls>::default());
    let all = cache.scope(join_all((0..100).map(|_| slow(7, &calls))));
    assert_eq!(all.await, [7; 100]);
    assert_eq!(calls.get(), 1);
}

mod circles {
    use super::*;

    #[cache(expire = 60, skip(seen))]
    pub(super) fn node(id: u64, seen: Vec<u64>) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(async move {
            if seen.contains(&id) {
                return id;
            }
            tokio::task::yield_now().await;
            let seen = [&seen[..], &[id]].concat();
            node((id + 1) % 3, seen).await + 1
        })
    }

    #[cache(expire = 60, namespace = "shared", key = "{id}")]
    pub(super) async fn outer(id: u64) -> u64 {
        tokio::task::yield_now().await;
        inner(id).await + 1
    }

    #[cache(expire = 60, namespace = "shared", key = "{id}")]
    pub(super) async fn inner(id: u64) -> u64 {
        tokio::task::yield_now().await;
        id * 10
    }
}

#[tokio::test(start_paused = true)]
async fn a_computation_that_asks_for_itself_computes() {
    let node = memory().scope(circles::node(0, Vec::new()));
    assert_eq!(timeout(SECOND, node).await, Ok(3));
}

#[tokio::test]
async fn computations_that_ask_for_each_other_compute() {
    for _ in 0..200 {
        let cache = memory();
        let tasks = [0, 1, 2].map(|id| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.scope(circles::node(id, Vec::new())).await })
        });
        for task in tasks {
            timeout(10 * SECOND, task).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_may_call_another_one_that_shares_its_keys() {
    let outer = memory().scope(circles::outer(1));
    let answer = timeout(SECOND, outer).await.unwrap();
    // What one has stored, the other one finds.
    assert!(answer == 11 || answer == 21, "{answer}");
}

#[tokio::test]
async fn a_refresh_that_never_ends_is_followed_by_another() {
    #[cache(expire = 10, stale_while_revalidate = 20, skip(calls))]
    async fn value(id: u64, calls: Arc<Calls>) -> u64 {
        match calls.next() {
            2 => pending().await,
            call => id + call,
        }
    }

    let clock = ManualClock::new();
    let cache = Cache::new(Config::new(InMemoryBackend::new()).clock(clock.clone()));
    let calls = Arc::<Calls>::default();
    let ask = || cache.scope(value(0, calls.clone()));
    assert_eq!(ask().await, 1);
    clock.advance(11 * SECOND);
    assert_eq!(ask().await, 1);
    settle().await;
    assert_eq!(calls.get(), 2);
    // The value has ended, and the next one is computed, though the refresh still waits.
    clock.advance(25 * SECOND);
    let next = timeout(60 * SECOND, ask());
    tokio::time::pause();
    assert_eq!(next.await, Ok(3));
    clock.advance(11 * SECOND);
    assert_eq!(ask().await, 3);
    settle().await;
    assert_eq!(calls.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_panic_sends_all_callers_on_at_once() {
    #[cache(expire = 60, skip(calls))]
    async fn broken(id: u64, calls: &Calls) -> u64 {
        calls.next();
        sleep(SECOND).await;
        panic!("{id} cannot be computed")
    }

    let (cache, calls, began) = (memory(), Arc::<Calls>::default(), Instant::now());
    let call = || AssertUnwindSafe(broken(7, &calls)).catch_unwind();
    let all = cache.scope(join_all((0..20).map(|_| call()))).await;
    assert!(all.iter().all(Result::is_err));
    assert!(began.elapsed() <= 2 * SECOND, "{:?}", began.elapsed());
    assert_eq!(calls.get(), 20);
}

/// A gate for threads.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let is_open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

#[tokio::test]
async fn what_callers_give_up_is_computed_once_and_kept() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    #[cache(expire = 60, skip(door))]
    fn report(id: u64, door: Door) -> u64 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        door.pass();
        id
    }

    let (cache, door) = (memory(), Door::default());
    for _ in 0..15 {
        let given_up = timeout(Duration::from_millis(1), report(7, door.clone()));
        assert!(cache.scope(given_up).await.is_err());
    }
    door.open();
    assert_eq!(cache.scope(report(7, door.clone())).await, 7);
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_gives_up_goes_on() {
    #[cache(expire = 60, detach, skip(calls))]
    async fn slow(id: u64, calls: Arc<Calls>) -> u64 {
        calls.next();
        sleep(5 * SECOND).await;
        id
    }

    let (cache, calls) = (memory(), Arc::<Calls>::default());
    for _ in 0..4 {
        let given_up = timeout(SECOND, slow(7, calls.clone()));
        assert!(cache.scope(given_up).await.is_err());
    }
    let began = Instant::now();
    assert_eq!(cache.scope(slow(7, calls.clone())).await, 7);
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_does_not_go_on_forever() {
    #[cache(expire = 60, detach, skip(calls))]
    async fn hangs_once(id: u64, calls: Arc<Calls>) -> u64 {
        match calls.next() {
            1 => pending().await,
            _ => id,
        }
    }

    let (cache, calls) = (memory(), Arc::<Calls>::default());
    let given_up = timeout(SECOND, hangs_once(7, calls.clone()));
    assert!(cache.scope(given_up).await.is_err());
    let began = Instant::now();
    assert_eq!(cache.scope(hangs_once(7, calls.clone())).await, 7);
    assert!(began.elapsed() <= 61 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_bounds_waiting_too() {
    #[cache(expire = 60, timeout = "5s", skip(calls))]
    async fn slow(id: u64, calls: &Calls) -> Result<u64, fast_cache::Error> {
        calls.next();
        sleep(AN_HOUR).await;
        Ok(id)
    }

    let (cache, calls) = (memory(), Arc::<Calls>::default());
    cache
        .scope(async {
            let first = slow(7, &calls);
            let second = async {
                sleep(4 * SECOND).await;
                let began = Instant::now();
                assert!(slow(7, &calls).await.is_err());
                began.elapsed()
            };
            let (first, took) = tokio::join!(first, second);
            assert!(first.is_err());
            assert_eq!(took, 5 * SECOND);
        })
        .await;
}

#[test]
fn without_a_runtime_all_options_work() {
    #[cache(
        expire = 60,
        stale_while_revalidate = 60,
        soft_timeout = 1,
        timeout = 60,
        lock,
        skip(calls)
    )]
    async fn value(id: u64, calls: Arc<Calls>) -> Result<u64, fast_cache::Error> {
        calls.next();
        Ok(id)
    }
    #[cache(expire = 60)]
    fn sync(id: u64) -> u64 {
        id
    }

    let (cache, calls) = (memory(), Arc::<Calls>::default());
    let all = cache.scope(async {
        for _ in 0..2 {
            assert_eq!(value(7, calls.clone()).await.unwrap(), 7);
            assert_eq!(sync(8).await, 8);
        }
    });
    block_on(all);
    assert_eq!(calls.get(), 1);
    // A runtime without time has none to give.
    let timeless = tokio::runtime::Builder::new_current_thread().build();
    let all = cache.scope(value(9, calls.clone()));
    assert_eq!(timeless.unwrap().block_on(all).unwrap(), 9);
}

/// Polls on this thread, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        let poll = future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        match poll {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// What decides about a value is the user's own, and may panic when the computation is over.
#[tokio::test]
async fn a_rule_that_panics_panics_once() {
    static RULED: AtomicUsize = AtomicUsize::new(0);

    #[cache(
        expire = 60,
        detach,
        cache_if = |value: &u64| {
            RULED.fetch_add(1, Ordering::SeqCst);
            assert_ne!(*value, 7, "seven is not ruled on");
            true
        }
    )]
    async fn ruled(id: u64) -> u64 {
        tokio::task::yield_now().await;
        id
    }

    let cache = memory();
    let ruled = tokio::spawn(async move { cache.scope(ruled(7)).await });
    assert!(ruled.await.unwrap_err().is_panic());
    settle().await;
    assert_eq!(RULED.load(Ordering::SeqCst), 1);
}
