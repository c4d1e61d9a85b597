//! Values under tags.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fast_cache::testing::ManualClock;
use fast_cache::{Backend, Cache, Config, InMemoryBackend, TieredBackend, cache};
use tokio::sync::Notify;

use crate::support::{Hub, Remote, settle};

#[derive(Clone, Default)]
struct Database(Arc<State>);

#[derive(Default)]
struct State {
    version: AtomicU64,
    gate: Notify,
    is_slow: AtomicU64,
}

impl Database {
    fn change(&self) {
        self.0.version.fetch_add(1, Ordering::SeqCst);
    }

    async fn read(&self) -> u64 {
        let version = self.0.version.load(Ordering::SeqCst);
        if self.0.is_slow.load(Ordering::SeqCst) > 0 {
            self.0.gate.notified().await;
        }
        version
    }
}

#[cache(
    expire = 60,
    namespace = "users",
    skip(database),
    tags("users", "user:{id}")
)]
async fn user(id: u64, database: &Database) -> u64 {
    id * 100 + database.read().await
}

#[cache(expire = 60, skip(database), tags("user:{id:02}", "{{posts}}"))]
async fn posts((id, page): (u64, u64), database: &Database) -> u64 {
    id * 100 + page * 10 + database.read().await
}

fn caches() -> Vec<Cache> {
    let hub = Hub::default();
    let tiered = TieredBackend::new(Remote::default().with_bus(&hub));
    vec![
        cache_on(InMemoryBackend::new()),
        cache_on(Remote::default()),
        cache_on(tiered),
    ]
}

fn cache_on(backend: impl Backend) -> Cache {
    let config = Config::new(backend).clock(ManualClock::new());
    Cache::new(config.prefix("shop").invalidation_delay(Duration::ZERO))
}

#[tokio::test]
async fn a_tag_ends_what_is_under_it_and_nothing_else() {
    for cache in caches() {
        let test = async {
            let database = Database::default();
            assert_eq!(user(1, &database).await, 100);
            assert_eq!(user(2, &database).await, 200);
            assert_eq!(posts((1, 5), &database).await, 150);
            database.change();
            assert_eq!(user(1, &database).await, 100);

            cache.clear_tag("user:1").await.unwrap();
            assert_eq!(user(1, &database).await, 101);
            assert_eq!(user(2, &database).await, 200);
            assert_eq!(posts((1, 5), &database).await, 150);

            cache.clear_tag("user:01").await.unwrap();
            assert_eq!(posts((1, 5), &database).await, 151);
            cache.clear_tag("{posts}").await.unwrap();
            database.change();
            assert_eq!(user(1, &database).await, 101);
            assert_eq!(posts((1, 5), &database).await, 152);

            cache.clear_tag("users").await.unwrap();
            assert_eq!(user(1, &database).await, 102);
            assert_eq!(user(2, &database).await, 202);
            // What was stored afterwards stays.
            assert_eq!(cache.clear_tag("nothing").await.unwrap(), 0);
            database.change();
            assert_eq!(user(1, &database).await, 102);
        };
        cache.scope(test).await;
    }
}

#[tokio::test]
async fn in_this_process_what_is_ended_is_counted_and_freed() {
    let clock = ManualClock::new();
    let cache = Cache::new(Config::new(InMemoryBackend::new()).clock(clock.clone()));
    let database = Database::default();
    let test = async {
        for id in 0..100 {
            user(id, &database).await;
        }
        assert_eq!(cache.clear_tag("user:7").await.unwrap(), 1);
        // What has ended may not have been freed yet.
        assert!((99..=100).contains(&cache.clear_tag("users").await.unwrap()));
        assert_eq!(cache.clear_tag("users").await.unwrap(), 0);
    };
    cache.scope(test).await;
    while cache.stats().entries > 0 {
        // Sweeps are a second apart.
        clock.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_computation_from_before_is_not_served_after() {
    for (index, cache) in caches().into_iter().enumerate() {
        let database = Database::default();
        database.0.is_slow.store(1, Ordering::SeqCst);
        let early = {
            let (cache, database) = (cache.clone(), database.clone());
            tokio::spawn(async move { cache.scope(user(1, &database)).await })
        };
        settle().await;
        database.change();
        cache.clear_tag("user:1").await.unwrap();
        // Whoever comes now does not get what began before.
        let late = {
            let (cache, database) = (cache.clone(), database.clone());
            tokio::spawn(async move { cache.scope(user(1, &database)).await })
        };
        settle().await;
        database.0.is_slow.store(0, Ordering::SeqCst);
        database.0.gate.notify_waiters();
        assert_eq!(early.await.unwrap(), 100);
        assert_eq!(late.await.unwrap(), 101, "cache {index}");
        assert_eq!(cache.scope(user(1, &database)).await, 101);
    }
}

#[tokio::test]
async fn another_process_notices() {
    let (remote, hub) = (Remote::default(), Hub::default());
    let tiered = || TieredBackend::new(remote.with_bus(&hub));
    let pairs = [
        (cache_on(remote.clone()), cache_on(remote.clone())),
        (cache_on(tiered()), cache_on(tiered())),
    ];
    for (one, two) in pairs {
        let database = Database::default();
        one.clear().await.unwrap();
        assert_eq!(one.scope(user(1, &database)).await, 100);
        assert_eq!(two.scope(user(1, &database)).await, 100);
        settle().await;
        assert_eq!(two.scope(user(1, &database)).await, 100);
        database.change();
        one.clear_tag("user:1").await.unwrap();
        settle().await;
        assert_eq!(two.scope(user(1, &database)).await, 101);
        assert_eq!(one.scope(user(1, &database)).await, 101);
        assert_eq!(two.stats().misses, 1);
    }
}

#[tokio::test]
async fn a_value_that_is_set_by_hand_has_its_tags() {
    for cache in caches() {
        let test = async {
            let database = Database::default();
            user::entry(1).set(7).await.unwrap();
            assert_eq!(user(1, &database).await, 7);
            cache.clear_tag("user:1").await.unwrap();
            assert_eq!(user::entry(1).get().await.unwrap(), None);
        };
        cache.scope(test).await;
    }
}

#[tokio::test]
async fn caches_of_other_prefixes_have_tags_of_their_own() {
    let backend = Arc::new(InMemoryBackend::new());
    let remote = Remote::default();
    let with_prefix = |prefix: &str| {
        let config = || Config::new(remote.clone()).invalidation_delay(Duration::ZERO);
        [
            Cache::new(Config::new(Arc::clone(&backend)).prefix(prefix)),
            Cache::new(config().prefix(prefix)),
        ]
    };
    for (shop, blog) in with_prefix("shop").into_iter().zip(with_prefix("blog")) {
        let database = Database::default();
        shop.scope(user(1, &database)).await;
        blog.scope(user(1, &database)).await;
        database.change();
        shop.clear_tag("user:1").await.unwrap();
        assert_eq!(shop.scope(user(1, &database)).await, 101);
        assert_eq!(blog.scope(user(1, &database)).await, 100);
    }
}
