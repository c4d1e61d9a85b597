//! What was invalidated stays so, and an invalidation that has succeeded is over.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fast_cache::testing::ManualClock;
use fast_cache::{
    Backend, Bus, Cache, Config, Error, FastCache, InMemoryBackend, InitError, TieredBackend,
    cache, cache_evict,
};
use futures_util::future::{join_all, poll_immediate};
use tokio::sync::Notify;

use crate::support::{Calls, Hub, Remote, settle};

const SECOND: Duration = Duration::from_secs(1);

#[cache(
    expire = 600,
    namespace = "finality",
    key = "{id}",
    tags("tag:{id}", "all")
)]
async fn load(id: u64, calls: &Calls) -> u64 {
    id * 1000 + calls.next()
}

/// Whether something is refused, by what it is and its key.
type Refuses = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Refuses some of what it is asked for.
#[derive(Clone)]
struct Picky {
    remote: Remote,
    refuses: Arc<Refuses>,
    refused: Arc<AtomicU64>,
}

impl Picky {
    fn new(refuses: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            remote: Remote::default(),
            refuses: Arc::new(refuses),
            refused: Arc::default(),
        }
    }

    fn ask(&self, what: &str, key: &str) -> Result<(), Error> {
        if !(self.refuses)(what, key) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(Error::backend(format!("{what} is refused")))
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Picky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Picky")
    }
}

impl Backend for Picky {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.ask("get", key)?;
        self.remote.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        self.ask("set", key)?;
        self.remote.set(key, value, expire).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        self.ask("replace", key)?;
        self.remote.replace(key, seen, value, expire).await
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.ask("clear", prefix)?;
        self.remote.clear(prefix).await
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        self.remote.bus()
    }
}

fn shared(backend: impl Backend) -> Cache {
    Cache::new(
        Config::new(backend)
            .prefix("shop")
            .invalidation_delay(Duration::ZERO),
    )
}

/// Whether a value is computed once, and then read.
async fn serves(cache: &Cache, id: u64) -> bool {
    let calls = Calls::default();
    let first = cache.scope(load(id, &calls)).await;
    first == cache.scope(load(id, &calls)).await && calls.get() <= 1
}

#[tokio::test]
async fn many_invalidations_at_once_leave_nothing_behind() {
    let cache = shared(Remote::default());
    let all = (0..5000).map(|number| async move {
        match number % 3 {
            0 => FastCache::clear_key(&format!("shop:finality:{number}")).await,
            1 => FastCache::clear_tag(&format!("tag:{number}")).await,
            _ => FastCache::clear_namespace(&format!("other{number}")).await,
        }
    });
    let all = cache.scope(join_all(all)).await;
    assert!(all.iter().all(Result::is_ok));
    assert!(serves(&cache, 1).await);
}

#[tokio::test(start_paused = true)]
async fn memory_that_cannot_be_freed_ends_nothing_twice() {
    let store = Picky::new(|what, _| what == "clear");
    let cache = shared(store.clone());
    let calls = Calls::default();
    let first = cache.scope(load(1, &calls)).await;
    let cleared = cache.scope(FastCache::clear_namespace("finality")).await;
    assert_eq!(cleared.unwrap(), 0);
    assert_ne!(cache.scope(load(1, &calls)).await, first);
    tokio::time::sleep(60 * SECOND).await;
    assert!(serves(&cache, 1).await);
    assert_eq!((calls.get(), store.refused()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn memory_that_is_freed_slowly_is_not_waited_for() {
    #[derive(Debug)]
    struct Slow(Remote, Arc<Notify>);

    impl Backend for Slow {
        async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
            self.0.get(key).await
        }

        async fn set(
            &self,
            key: &str,
            value: Bytes,
            expire: Option<Duration>,
        ) -> Result<(), Error> {
            self.0.set(key, value, expire).await
        }

        async fn replace(
            &self,
            key: &str,
            seen: Option<&[u8]>,
            value: Bytes,
            expire: Option<Duration>,
        ) -> Result<bool, Error> {
            self.0.replace(key, seen, value, expire).await
        }

        async fn clear(&self, prefix: &str) -> Result<u64, Error> {
            self.1.notified().await;
            self.0.clear(prefix).await
        }
    }

    let freed = Arc::<Notify>::default();
    let cache = shared(Slow(Remote::default(), Arc::clone(&freed)));
    assert!(serves(&cache, 1).await);
    let clearing = cache.scope(FastCache::clear());
    assert_eq!(
        tokio::time::timeout(SECOND, clearing)
            .await
            .unwrap()
            .unwrap(),
        0
    );
    assert!(serves(&cache, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_store_that_is_away_holds_up_no_other() {
    let store = Picky::new(|_, key| key.ends_with(":dead"));
    let cache = shared(store.clone());
    let clear = |key: &'static str| cache.scope(FastCache::clear_key(key));
    for _ in 0..3 {
        assert!(clear("shop:finality:dead").await.is_err());
    }
    store.remote.fail(true);
    assert!(clear("shop:finality:1").await.is_err());
    store.remote.fail(false);
    tokio::time::sleep(60 * SECOND).await;
    assert!(serves(&cache, 1).await);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_newer_than_what_is_here() {
    let (remote, hub, clock) = (Remote::default(), Hub::default(), ManualClock::new());
    let tiers = TieredBackend::new(remote.with_bus(&hub)).local_expire(SECOND);
    let cache = Cache::new(Config::new(tiers).prefix("shop").clock(clock.clone()));
    let calls = Calls::default();
    assert_eq!(cache.scope(load(1, &calls)).await, 1001);
    // Another program has invalidated it, in a way that this one does not know.
    remote.write("shop:finality:1", "not ours");
    clock.advance(2 * SECOND);
    assert_eq!(cache.scope(load(1, &calls)).await, 1002);
}

#[tokio::test]
async fn what_a_change_makes_wrong_goes_though_the_caller_leaves() {
    #[cache_evict(entry = load(id), tags("all"))]
    async fn change(id: u64, changed: &Notify) {
        let _ = id;
        changed.notify_one();
    }

    let cache = shared(Remote::default());
    let calls = Calls::default();
    let before = cache.scope(load(1, &calls)).await;
    let changed = Notify::new();
    {
        let mut changing = pin!(cache.scope(change(1, &changed)));
        while poll_immediate(changed.notified()).await.is_none() {
            assert!(poll_immediate(&mut changing).await.is_none());
        }
    }
    settle().await;
    assert_ne!(cache.scope(load(1, &calls)).await, before);
}

#[tokio::test]
async fn a_clock_that_is_ahead_makes_no_value_live_longer() {
    let remote = Remote::default();
    let (ahead, clock) = (ManualClock::new(), ManualClock::new());
    ahead.advance(300 * SECOND);
    let cache = |clock: &ManualClock| {
        let config = Config::new(remote.clone()).prefix("shop");
        Cache::new(config.clock(clock.clone()))
    };
    let (one, other) = (cache(&ahead), cache(&clock));
    let calls = Calls::default();
    let first = one.scope(load(1, &calls)).await;
    let second = other.scope(load(1, &calls)).await;
    assert_ne!(first, second);
    assert_eq!(other.stats().decode_errors, 1);
    assert_eq!(other.scope(load(1, &calls)).await, second);
    // A little is what clocks differ by.
    clock.advance(299 * SECOND);
    let third = one.scope(load(2, &calls)).await;
    assert_eq!(other.scope(load(2, &calls)).await, third);
}

#[tokio::test]
async fn processes_agree_on_a_tag_whose_barrier_was_evicted() {
    let remote = Remote::default();
    let (one, other) = (shared(remote.clone()), shared(remote.clone()));
    let calls = Calls::default();
    // Both know the tag.
    for cache in [&one, &other] {
        cache.scope(load(1, &calls)).await;
    }
    for key in remote.all_keys() {
        if key.contains("#tag:") {
            remote.remove(&key);
        }
    }
    one.scope(load(2, &calls)).await;
    let third = shared(remote.clone());
    let value = third.scope(load(3, &calls)).await;
    for cache in [&one, &other, &third] {
        assert_eq!(cache.scope(load(3, &calls)).await, value);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let config = || Config::new(InMemoryBackend::new());
    for (config, setting) in [
        (config().lease(Duration::MAX), "lease"),
        (
            config().invalidation_delay(Duration::MAX),
            "invalidation_delay",
        ),
        (config().patience(Duration::MAX), "patience"),
    ] {
        let refused = Cache::try_new(config).err();
        assert_eq!(refused, Some(InitError::TooLong(setting)));
    }
}

#[tokio::test]
async fn a_ticket_stores_nothing_over_an_invalidation() {
    for cache in [
        Cache::new(InMemoryBackend::new()),
        shared(Remote::default()),
    ] {
        cache
            .scope(async {
                let (entry, other) = (load::entry(1), load::entry(2));
                let ticket = entry.ticket().await?;
                assert!(entry.set_on(ticket, 7).await?);
                assert_eq!(entry.get().await?, Some(7));
                let late = entry.ticket().await?;
                entry.invalidate().await?;
                assert!(!entry.set_on(late, 8).await?);
                assert_eq!(entry.get().await?, None);
                let tagged = entry.ticket().await?;
                FastCache::clear_tag("tag:1").await?;
                assert!(!entry.set_on(tagged, 9).await?);
                let of_another = other.ticket().await?;
                assert!(entry.set_on(of_another, 10).await.is_err());
                // By hand, all is stored.
                entry.set(11).await?;
                assert_eq!(entry.get().await?, Some(11));
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_refresh_computes_while_the_old_value_is_served() {
    #[cache(expire = 600, key = "slow")]
    async fn slow(gate: &crate::support::Gate) -> u64 {
        gate.pass().await
    }

    for cache in [
        Cache::new(InMemoryBackend::new()),
        shared(Remote::default()),
    ] {
        cache
            .scope(async {
                let gate = crate::support::Gate::new();
                gate.open();
                assert_eq!(slow(&gate).await, 1);
                let closed = crate::support::Gate::new();
                closed.calls.next();
                let mut refreshing = pin!(slow::refresh(&closed));
                assert!(poll_immediate(&mut refreshing).await.is_none());
                assert_eq!(slow(&gate).await, 1);
                closed.open();
                assert_eq!(refreshing.await, 2);
                assert_eq!(slow(&gate).await, 2);
                // One that began before an invalidation is not stored.
                let late = crate::support::Gate::new();
                let mut refreshing = pin!(slow::refresh(&late));
                for _ in 0..10 {
                    assert!(poll_immediate(&mut refreshing).await.is_none());
                }
                slow::entry().invalidate().await.unwrap();
                late.open();
                refreshing.await;
                assert_eq!(slow::entry().get().await.unwrap(), None);
            })
            .await;
    }
}

/// A tag that is cleared all the time keeps no value of another tag out, though each computation sees it cleared.
#[tokio::test]
async fn clearing_one_tag_keeps_no_value_of_another_out() {
    let remote = Remote::default();
    let (cache, elsewhere) = (shared(remote.clone()), shared(remote.clone()));
    let gate = crate::support::Gate::new();
    let calls = Calls::default();

    #[cache(expire = 600, key = "busy:{id}", tags("busy:{id}"))]
    async fn busy(id: u64, gate: &crate::support::Gate) -> u64 {
        id + gate.pass().await
    }

    let (first, second) = (cache.scope(busy(0, &gate)), cache.scope(busy(100, &gate)));
    let clearing = async {
        settle().await;
        elsewhere.clear_tag("busy:0").await.unwrap();
        elsewhere.clear_tag("unheard of").await.unwrap();
        gate.open();
    };
    let (first, second, ()) = tokio::join!(first, second, clearing);
    // What was cleared is computed anew, the other one is there.
    let open = crate::support::Gate::new();
    open.open();
    open.calls.next();
    assert_ne!(cache.scope(busy(0, &open)).await, first);
    assert_eq!(cache.scope(busy(100, &open)).await, second);
    assert_eq!(calls.get(), 0);
}

/// Those who join a computation after a tag was cleared elsewhere do not get what it gives.
#[tokio::test]
async fn a_value_that_lost_its_tag_is_not_shared() {
    let remote = Remote::default();
    let (cache, elsewhere) = (shared(remote.clone()), shared(remote.clone()));
    let gate = crate::support::Gate::new();

    #[cache(expire = 600, key = "shared:{id}", tags("shared:{id}"))]
    async fn one(id: u64, gate: &crate::support::Gate) -> u64 {
        id + gate.pass().await
    }

    let first = cache.scope(one(0, &gate));
    let later = async {
        settle().await;
        elsewhere.clear_tag("shared:0").await.unwrap();
        let (later, ()) = tokio::join!(cache.scope(one(0, &gate)), async {
            settle().await;
            gate.open();
        });
        later
    };
    let (first, later) = tokio::join!(first, later);
    assert_ne!(first, later);
}
