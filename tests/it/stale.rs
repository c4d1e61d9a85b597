//! Values that are stale, or will be soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fast_cache::testing::ManualClock;
use fast_cache::{Backend, Cache, Config, InMemoryBackend, TieredBackend, cache};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::{Hub, Remote, settle};

const SECOND: Duration = Duration::from_secs(1);

/// So slow that an early refresh in the last millisecond is all but certain: the draw fails once in 250,000.
/// Slower computations are not stored in shared stores.
const SLOW: Duration = Duration::from_secs(250);

/// Something that functions depend on: slow at times, and broken at others.
#[derive(Clone, Default)]
struct Origin(Arc<State>);

#[derive(Default)]
struct State {
    calls: AtomicU64,
    is_broken: AtomicBool,
    panics: AtomicBool,
    is_slow: AtomicBool,
    gate: Notify,
    clock: ManualClock,
    takes: AtomicU64,
}

impl Origin {
    /// Gives the number of the call.
    async fn ask(&self) -> Result<u64, String> {
        let State {
            is_broken,
            panics,
            is_slow,
            gate,
            ..
        } = &*self.0;
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if is_slow.load(Ordering::SeqCst) {
            gate.notified().await;
        }
        self.advance(Duration::from_millis(self.0.takes.load(Ordering::SeqCst)));
        assert!(!panics.load(Ordering::SeqCst), "the origin panics");
        match is_broken.load(Ordering::SeqCst) {
            true => Err(format!("call {call} failed")),
            false => Ok(call),
        }
    }

    fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn broken(&self, is_broken: bool) {
        self.0.is_broken.store(is_broken, Ordering::SeqCst);
    }

    fn slow(&self, is_slow: bool) {
        self.0.is_slow.store(is_slow, Ordering::SeqCst);
    }

    fn panics(&self, panics: bool) {
        self.0.panics.store(panics, Ordering::SeqCst);
    }

    fn takes(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap();
        self.0.takes.store(milliseconds, Ordering::SeqCst);
    }

    fn advance(&self, duration: Duration) {
        self.0.clock.advance(duration);
    }

    fn cache(&self, backend: impl Backend, set_up: impl FnOnce(Config) -> Config) -> Cache {
        let config = Config::new(backend).clock(self.0.clock.clone());
        Cache::new(set_up(config))
    }
}

/// Borrows what it needs, so that it is computed in one of its callers.
#[cache(expire = 60, key = "{id}")]
async fn borrowed(id: u64, origin: &Origin) -> Result<u64, String> {
    let _ = id;
    origin.ask().await
}

async fn call(cache: &Cache, origin: &Origin) -> Result<u64, String> {
    cache.scope(borrowed(1, origin)).await
}

/// Makes a call that goes on by itself, up to where it waits.
async fn begin(cache: &Cache, origin: &Origin) -> JoinHandle<Result<u64, String>> {
    let (cache, origin) = (cache.clone(), origin.clone());
    let call = tokio::spawn(async move { call(&cache, &origin).await });
    settle().await;
    call
}

/// In this process, in a shared store, and in both.
fn caches(origin: &Origin, set_up: impl Fn(Config) -> Config) -> [Cache; 3] {
    let hub = Hub::default();
    let tiered = TieredBackend::new(Remote::default().with_bus(&hub));
    [
        origin.cache(InMemoryBackend::new(), &set_up),
        origin.cache(Remote::default(), &set_up),
        origin.cache(tiered, &set_up),
    ]
}

#[tokio::test]
async fn a_stale_value_is_computed_anew_by_one_caller_and_served_to_the_others() {
    let while_revalidate = |config: Config| config.stale_while_revalidate(30 * SECOND);
    for index in 0..3 {
        let origin = Origin::default();
        let cache = &caches(&origin, while_revalidate)[index];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.slow(true);
        let refresher = begin(cache, &origin).await;
        for _ in 0..3 {
            assert_eq!(call(cache, &origin).await, Ok(1));
        }
        origin.0.gate.notify_one();
        assert_eq!(refresher.await.unwrap(), Ok(2));
        assert_eq!(call(cache, &origin).await, Ok(2));
        let stats = cache.stats();
        assert_eq!(
            (stats.computes, stats.refreshes, stats.stale_hits),
            (2, 1, 4)
        );
        assert_eq!((stats.misses, stats.hits), (1, 5), "cache {index}");
    }
}

#[tokio::test]
async fn a_value_that_has_been_stale_for_too_long_is_not_served() {
    for cache in [0, 1, 2] {
        let origin = Origin::default();
        let set_up = |config: Config| config.stale_while_revalidate(30 * SECOND);
        let cache = &caches(&origin, set_up)[cache];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(90 * SECOND);
        origin.broken(true);
        assert!(call(cache, &origin).await.is_err());
        assert_eq!(cache.stats().stale_hits, 0);
    }
}

#[tokio::test]
async fn a_stale_value_stands_in_for_an_error() {
    for cache in [0, 1, 2] {
        let origin = Origin::default();
        let set_up = |config: Config| config.stale_if_error(300 * SECOND);
        let cache = &caches(&origin, set_up)[cache];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.broken(true);
        // It is tried once, and then not again for a second.
        for _ in 0..5 {
            assert_eq!(call(cache, &origin).await, Ok(1));
        }
        assert_eq!(origin.calls(), 2);
        origin.advance(SECOND);
        assert_eq!(call(cache, &origin).await, Ok(1));
        assert_eq!(origin.calls(), 3);

        origin.broken(false);
        origin.advance(SECOND);
        assert_eq!(call(cache, &origin).await, Ok(4));
        assert_eq!(call(cache, &origin).await, Ok(4));

        // Beyond its time, the error is the caller's.
        origin.broken(true);
        origin.advance(360 * SECOND);
        assert_eq!(call(cache, &origin).await, Err("call 5 failed".to_owned()));
    }
}

#[tokio::test]
async fn many_callers_of_a_broken_function_try_it_once() {
    for cache in [0, 1, 2] {
        let origin = Origin::default();
        let set_up = |config: Config| config.stale_if_error(300 * SECOND);
        let cache = &caches(&origin, set_up)[cache];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.broken(true);
        origin.slow(true);
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (cache, origin) = (cache.clone(), origin.clone());
                tokio::spawn(async move { call(&cache, &origin).await })
            })
            .collect();
        settle().await;
        origin.0.gate.notify_one();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Ok(1));
        }
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test]
async fn a_stale_value_stands_in_for_a_panic() {
    for cache in [0, 1, 2] {
        let origin = Origin::default();
        let set_up = |config: Config| config.stale_if_error(300 * SECOND);
        let cache = &caches(&origin, set_up)[cache];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.panics(true);
        assert_eq!(call(cache, &origin).await, Ok(1));
    }
}

#[tokio::test]
async fn a_panic_without_a_stale_value_is_the_callers() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| {
        config.stale_if_error(300 * SECOND)
    });
    origin.panics(true);
    let call = begin(&cache, &origin).await;
    assert!(call.await.unwrap_err().is_panic());
}

#[tokio::test]
async fn an_invalidated_value_is_not_served_stale() {
    for cache in [0, 1, 2] {
        let origin = Origin::default();
        let set_up = |config: Config| {
            let config = config.stale_while_revalidate(300 * SECOND);
            config.stale_if_error(300 * SECOND)
        };
        let cache = &caches(&origin, set_up)[cache];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        let entry = cache.scope(async { borrowed::entry(1) }).await;
        assert_eq!(entry.get().await.unwrap(), None);
        entry.invalidate().await.unwrap();
        origin.broken(true);
        assert!(call(cache, &origin).await.is_err());
    }
}

#[tokio::test]
async fn a_refresh_that_comes_late_does_not_overwrite() {
    for index in 0..3 {
        let origin = Origin::default();
        let set_up = |config: Config| config.stale_while_revalidate(300 * SECOND);
        let cache = &caches(&origin, set_up)[index];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.slow(true);
        let refresher = begin(cache, &origin).await;
        let entry = cache.scope(async { borrowed::entry(1) }).await;
        entry.set(77).await.unwrap();
        origin.0.gate.notify_one();
        assert_eq!(refresher.await.unwrap(), Ok(2));
        assert_eq!(call(cache, &origin).await, Ok(77), "cache {index}");
    }
}

#[tokio::test]
async fn a_refresh_is_not_kept_after_an_invalidation() {
    for index in 0..3 {
        let origin = Origin::default();
        let set_up = |config: Config| config.stale_while_revalidate(300 * SECOND);
        let cache = &caches(&origin, set_up)[index];
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.slow(true);
        let refresher = begin(cache, &origin).await;
        cache.clear().await.unwrap();
        origin.0.gate.notify_one();
        assert_eq!(refresher.await.unwrap(), Ok(2));
        origin.slow(false);
        assert_eq!(call(cache, &origin).await, Ok(3), "cache {index}");
    }
}

#[tokio::test]
async fn of_two_computations_the_one_that_began_last_is_kept() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| config.coalesce(false));
    origin.slow(true);
    let first = begin(&cache, &origin).await;
    origin.slow(false);
    assert_eq!(call(&cache, &origin).await, Ok(2));
    origin.0.gate.notify_one();
    assert_eq!(first.await.unwrap(), Ok(1));
    assert_eq!(call(&cache, &origin).await, Ok(2));
}

#[tokio::test]
async fn a_value_in_demand_is_computed_anew_before_it_expires() {
    for index in 0..3 {
        let origin = Origin::default();
        let cache = &caches(&origin, |config| config.early_refresh(true))[index];
        origin.takes(SLOW);
        assert_eq!(call(cache, &origin).await, Ok(1));
        origin.advance(59 * SECOND + Duration::from_millis(999));
        assert_eq!(call(cache, &origin).await, Ok(2), "cache {index}");
        assert_eq!(cache.stats().refreshes, 1);
    }
}

#[tokio::test]
async fn a_failed_early_refresh_costs_nothing() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| config.early_refresh(true));
    origin.takes(SLOW);
    assert_eq!(call(&cache, &origin).await, Ok(1));
    origin.advance(Duration::from_millis(59_999));
    origin.takes(Duration::ZERO);
    origin.broken(true);
    assert_eq!(call(&cache, &origin).await, Ok(1));
    assert_eq!(call(&cache, &origin).await, Ok(1));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn jitter_spreads_the_ends_of_lifetimes() {
    for index in 0..3 {
        let origin = Origin::default();
        let cache = &caches(&origin, |config| config.jitter(0.5))[index];
        let mut ends = Vec::new();
        for id in 0..50 {
            cache.scope(borrowed(id, &origin)).await.unwrap();
            let entry = cache.scope(async { borrowed::entry(id) }).await;
            ends.push(entry.ttl().await.unwrap().unwrap());
        }
        let (least, most) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        assert!(*least >= 30 * SECOND && *most <= 60 * SECOND);
        assert!(*most - *least > 10 * SECOND, "cache {index}");
    }
}

/// Owns what it needs, so that it is computed in the background.
#[cache(
    expire = 60,
    key = "owned:{id}",
    stale_while_revalidate = 30,
    stale_if_error = "5m",
    soft_timeout = "500ms"
)]
async fn owned(id: u64, origin: Origin) -> Result<u64, String> {
    let _ = id;
    origin.ask().await
}

async fn call_owned(cache: &Cache, origin: &Origin) -> Result<u64, String> {
    cache.scope(owned(1, origin.clone())).await
}

#[tokio::test]
async fn a_stale_value_is_computed_anew_in_the_background() {
    for index in 0..3 {
        let origin = Origin::default();
        let cache = &caches(&origin, |config| config)[index];
        assert_eq!(call_owned(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.slow(true);
        for _ in 0..5 {
            assert_eq!(call_owned(cache, &origin).await, Ok(1));
            settle().await;
        }
        assert_eq!(origin.calls(), 2);
        origin.0.gate.notify_one();
        settle().await;
        assert_eq!(call_owned(cache, &origin).await, Ok(2));
        let stats = cache.stats();
        assert_eq!((stats.computes, stats.refreshes, stats.misses), (2, 1, 1));
        assert_eq!((stats.hits, stats.stale_hits), (6, 5), "cache {index}");
        assert_eq!(stats.functions.len(), 1);
        assert!(stats.functions[0].function.ends_with("stale::owned"));
    }
}

#[tokio::test]
async fn a_refresh_that_fails_is_tried_again_after_a_while() {
    for index in 0..3 {
        let origin = Origin::default();
        let cache = &caches(&origin, |config| config.retry_delay(5 * SECOND))[index];
        assert_eq!(call_owned(cache, &origin).await, Ok(1));
        origin.advance(60 * SECOND);
        origin.panics(true);
        for _ in 0..5 {
            assert_eq!(call_owned(cache, &origin).await, Ok(1));
            settle().await;
        }
        assert_eq!(origin.calls(), 2);
        origin.panics(false);
        origin.advance(5 * SECOND);
        assert_eq!(call_owned(cache, &origin).await, Ok(1));
        settle().await;
        assert_eq!(call_owned(cache, &origin).await, Ok(3), "cache {index}");
    }
}

#[tokio::test]
async fn so_many_refreshes_run_at_a_time() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| config.max_refreshes(2));
    let call_all = async || {
        for id in 0..5 {
            cache.scope(owned(id, origin.clone())).await.unwrap();
        }
        settle().await;
    };
    call_all().await;
    origin.advance(60 * SECOND);
    origin.slow(true);
    call_all().await;
    assert_eq!(origin.calls(), 7);
    origin.slow(false);
    origin.0.gate.notify_waiters();
    settle().await;
    call_all().await;
    call_all().await;
    assert_eq!(origin.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_stands_in_for_a_slow_computation_which_goes_on() {
    for index in 0..3 {
        let origin = Origin::default();
        let cache = &caches(&origin, |config| config)[index];
        assert_eq!(call_owned(cache, &origin).await, Ok(1));
        // Beyond the time in which it would be served at once.
        origin.advance(100 * SECOND);
        origin.slow(true);
        let began = tokio::time::Instant::now();
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let (cache, origin) = (cache.clone(), origin.clone());
                tokio::spawn(async move { call_owned(&cache, &origin).await })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Ok(1));
        }
        assert_eq!(began.elapsed(), Duration::from_millis(500));
        assert_eq!(origin.calls(), 2);
        assert_eq!(cache.stats().stale_hits, 100);
        origin.0.gate.notify_one();
        settle().await;
        assert_eq!(call_owned(cache, &origin).await, Ok(2), "cache {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_stale_value_callers_wait() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| config);
    origin.slow(true);
    let waiting = call_owned(&cache, &origin);
    let waited = tokio::time::timeout(100 * SECOND, waiting).await;
    assert!(waited.is_err());
}

#[derive(Debug)]
enum Failure {
    Cache(fast_cache::Error),
}

impl From<fast_cache::Error> for Failure {
    fn from(error: fast_cache::Error) -> Self {
        Self::Cache(error)
    }
}

#[cache(expire = 60, key = "limited", timeout = "5s", stale_if_error = 300)]
async fn limited(origin: &Origin) -> Result<u64, Failure> {
    Ok(origin.ask().await.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_computation_takes_no_longer_than_it_may() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| config);
    origin.slow(true);
    let began = tokio::time::Instant::now();
    let Err(Failure::Cache(error)) = cache.scope(limited(&origin)).await else {
        panic!("the origin never answers");
    };
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(error.kind(), fast_cache::ErrorKind::Timeout);
    assert!(
        error.to_string().ends_with("limited` took longer than 5s"),
        "{error}"
    );
    assert_eq!(cache.stats().timeouts, 1);

    origin.slow(false);
    assert_eq!(cache.scope(limited(&origin)).await.unwrap(), 2);
    origin.advance(60 * SECOND);
    origin.slow(true);
    assert_eq!(cache.scope(limited(&origin)).await.unwrap(), 2);
    assert_eq!(began.elapsed(), 10 * SECOND);
}

/// The options of the function, and what is left out of them.
#[cache(
    expire = 60,
    key = "own",
    stale_while_revalidate = 0,
    early_refresh = false,
    jitter = 0
)]
async fn strict(origin: Origin) -> Result<u64, String> {
    origin.ask().await
}

#[tokio::test]
async fn a_function_has_the_last_word() {
    let origin = Origin::default();
    let cache = origin.cache(InMemoryBackend::new(), |config| {
        let config = config.stale_while_revalidate(30 * SECOND).jitter(0.9);
        config.early_refresh(true)
    });
    origin.takes(SLOW);
    assert_eq!(cache.scope(strict(origin.clone())).await, Ok(1));
    origin.advance(Duration::from_millis(59_999));
    assert_eq!(cache.scope(strict(origin.clone())).await, Ok(1));
    origin.advance(Duration::from_millis(1));
    assert_eq!(cache.scope(strict(origin.clone())).await, Ok(2));
}
