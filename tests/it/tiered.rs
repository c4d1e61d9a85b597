//! Two tiers: values in each process, in front of a store that all share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fast_cache::testing::ManualClock;
use fast_cache::{Cache, Config, Stats, TieredBackend, cache};
use tokio::sync::Notify;

use crate::support::{Hub, Remote, settle};

/// What the functions read, and how often.
#[derive(Default)]
struct Database {
    value: AtomicU64,
    reads: AtomicU64,
}

impl Database {
    fn write(&self, value: u64) {
        self.value.store(value, Ordering::SeqCst);
    }

    fn read(&self) -> u64 {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.value.load(Ordering::SeqCst)
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

#[cache(expire = 600, namespace = "tiers", key = "{id}")]
async fn load(id: u64, database: &Database) -> u64 {
    let _ = id;
    database.read()
}

#[cache(expire = 600, namespace = "tiers", key = "slow:{id}")]
async fn load_slowly(id: u64, database: &Database, gate: &Notify) -> u64 {
    let read = database.read();
    gate.notified().await;
    id + read
}

/// Several processes, as far as caches can tell.
struct Fleet {
    remote: Remote,
    hub: Hub,
    clock: ManualClock,
    database: Arc<Database>,
}

impl Fleet {
    fn new() -> Self {
        Self {
            remote: Remote::default(),
            hub: Hub::default(),
            clock: ManualClock::new(),
            database: Arc::default(),
        }
    }

    fn config(&self, backend: impl Into<Config>) -> Config {
        backend
            .into()
            .prefix("shop")
            .clock(self.clock.clone())
            .breaker(0, Duration::ZERO)
    }

    /// A process that has heard the others by now.
    async fn node(&self) -> Node {
        let backend = TieredBackend::new(self.remote.with_bus(&self.hub));
        let node = Node {
            cache: Cache::new(self.config(backend)),
            database: Arc::clone(&self.database),
        };
        // The first lookup subscribes.
        node.cache
            .scope(async { load::entry(u64::MAX).get().await })
            .await
            .unwrap();
        settle().await;
        node
    }

    fn write(&self, value: u64) {
        self.database.write(value);
    }
}

#[derive(Clone)]
struct Node {
    cache: Cache,
    database: Arc<Database>,
}

impl Node {
    async fn load(&self) -> u64 {
        self.cache.scope(load(1, &self.database)).await
    }

    async fn invalidate(&self) -> Result<bool, fast_cache::Error> {
        let entry = self.cache.scope(async { load::entry(1) }).await;
        entry.invalidate().await
    }

    async fn set(&self, value: u64) -> Result<(), fast_cache::Error> {
        let entry = self.cache.scope(async { load::entry(1) }).await;
        entry.set(value).await
    }

    fn stats(&self) -> Stats {
        self.cache.stats()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hit_in_this_process_asks_nobody() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    fleet.write(1);
    assert_eq!(one.load().await, 1);
    let gets = fleet.remote.gets();
    assert_eq!(one.load().await, 1);
    assert_eq!(fleet.remote.gets(), gets);
    assert_eq!(one.stats().local_hits, 1);

    // The other process finds it in the shared store, and holds it from then on.
    assert_eq!(two.load().await, 1);
    assert_eq!(two.load().await, 1);
    let stats = two.stats();
    assert_eq!(
        (stats.remote_hits, stats.local_hits, stats.misses),
        (1, 1, 0)
    );
    assert_eq!(fleet.database.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_process_invalidates_the_others_drop() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    let mut value = 0;
    for way in 0..4 {
        assert_eq!(two.load().await, value);
        assert_eq!(one.load().await, value);
        value += 1;
        fleet.write(value);
        match way {
            0 => assert!(one.invalidate().await.unwrap()),
            1 => drop(one.cache.clear_namespace("tiers").await.unwrap()),
            2 => drop(one.cache.clear().await.unwrap()),
            _ => one.set(value).await.unwrap(),
        }
        settle().await;
        assert_eq!(two.load().await, value, "way {way}");
        assert_eq!(one.load().await, value, "way {way}");
    }
    assert_eq!(fleet.database.reads(), 4);
}

#[tokio::test(start_paused = true)]
async fn another_namespace_stays() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    two.load().await;
    fleet.write(1);
    one.cache.clear_namespace("tier").await.unwrap();
    settle().await;
    assert_eq!(two.load().await, 0);
    assert_eq!(two.stats().local_hits, 1);
}

#[tokio::test(start_paused = true)]
async fn own_messages_and_first_values_drop_nothing() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    one.load().await;
    settle().await;
    // Nobody can hold what was not there.
    assert_eq!(fleet.hub.published(), 0);
    one.set(7).await.unwrap();
    settle().await;
    assert_eq!(fleet.hub.published(), 1);
    assert_eq!(one.load().await, 7);
    assert_eq!(one.stats().local_hits, 1);
    assert_eq!(two.load().await, 7);
}

#[tokio::test(start_paused = true)]
async fn without_messages_nothing_here_is_relied_on() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    assert_eq!(two.load().await, 0);
    fleet.hub.cut();
    settle().await;
    fleet.write(1);
    // The shared store knows of it, and the others cannot be told.
    assert!(one.invalidate().await.is_err());
    assert_eq!(two.load().await, 1);
    assert_eq!(two.load().await, 1);
    assert_eq!(two.stats().local_hits, 0);

    // What may have been missed is dropped when messages come again.
    fleet.hub.mend();
    tokio::time::sleep(Duration::from_secs(60)).await;
    settle().await;
    fleet.write(2);
    one.invalidate().await.unwrap();
    settle().await;
    assert_eq!(two.load().await, 2);
    assert_eq!(two.load().await, 2);
    assert_eq!(two.stats().local_hits, 1);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_missed_is_dropped() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    assert_eq!(two.load().await, 0);
    // The others lose their subscriptions, and this one is heard by nobody.
    fleet.hub.cut();
    fleet.hub.mend();
    fleet.write(1);
    one.invalidate().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(two.load().await, 1);
    assert_eq!(two.load().await, 1);
    assert_eq!(two.stats().local_hits, 1);
}

#[tokio::test(start_paused = true)]
async fn values_here_serve_on_while_the_shared_store_is_away() {
    let fleet = Fleet::new();
    let node = fleet.node().await;
    assert_eq!(node.load().await, 0);
    fleet.remote.fail(true);
    fleet.hub.cut();
    settle().await;
    fleet.write(1);
    // Beyond the time for which they are relied on.
    for _ in 0..5 {
        fleet.clock.advance(Duration::from_secs(100));
        assert_eq!(node.load().await, 0);
    }
    assert_eq!(fleet.database.reads(), 1);
    // And what is computed meanwhile is held here.
    fleet.clock.advance(Duration::from_secs(100));
    assert_eq!(node.load().await, 1);
    assert_eq!(node.load().await, 1);
    assert_eq!(fleet.database.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_while_the_store_was_away_stays_so() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    assert_eq!(one.load().await, 0);
    assert_eq!(two.load().await, 0);
    fleet.remote.fail(true);
    fleet.write(1);
    assert!(one.invalidate().await.is_err());
    assert_eq!(one.load().await, 1);
    // The store comes back with the old value, and the process that has invalidated it knows better.
    fleet.remote.fail(false);
    assert_eq!(one.load().await, 1);
    let entry = one.cache.scope(async { load::entry(1) }).await;
    assert_ne!(entry.get().await.unwrap(), Some(0));

    // The others learn of it as soon as it has reached the store.
    tokio::time::sleep(Duration::from_secs(60)).await;
    settle().await;
    assert_eq!(two.load().await, 1);
    assert_eq!(one.load().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_ends_a_computation_under_way() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    let gate = Arc::new(Notify::new());
    let slow = {
        let (node, gate) = (two.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let call = load_slowly(1, &node.database, &gate);
            node.cache.scope(call).await
        })
    };
    settle().await;
    fleet.write(10);
    let entry = one.cache.scope(async { load_slowly::entry(1) }).await;
    entry.invalidate().await.unwrap();
    settle().await;
    gate.notify_one();
    assert_eq!(slow.await.unwrap(), 1);
    gate.notify_one();
    let again = load_slowly(1, &two.database, &gate);
    assert_eq!(two.cache.scope(again).await, 11);
}

#[tokio::test(start_paused = true)]
async fn a_late_message_costs_a_lookup_and_no_more() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    fleet.hub.hold();
    one.set(1).await.unwrap();
    two.set(2).await.unwrap();
    assert_eq!(one.load().await, 1);
    fleet.hub.release();
    settle().await;
    assert_eq!(one.load().await, 2);
    assert_eq!(two.load().await, 2);
    assert_eq!(fleet.database.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_bus_values_are_relied_on_for_a_second() {
    let fleet = Fleet::new();
    let backend = || TieredBackend::new(fleet.remote.clone());
    let node = |backend| Node {
        cache: Cache::new(fleet.config(Config::new(backend))),
        database: Arc::clone(&fleet.database),
    };
    let (one, two) = (node(backend()), node(backend()));
    assert_eq!(two.load().await, 0);
    fleet.write(1);
    one.invalidate().await.unwrap();
    assert_eq!(two.load().await, 0);
    fleet.clock.advance(Duration::from_secs(1));
    assert_eq!(two.load().await, 1);
}

#[tokio::test(start_paused = true)]
async fn lifetimes_are_those_of_the_value() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.node().await, fleet.node().await);
    one.load().await;
    fleet.clock.advance(Duration::from_secs(590));
    assert_eq!(two.load().await, 0);
    fleet.write(1);
    // Held for ten seconds by now, and for which it would be relied on sixty.
    fleet.clock.advance(Duration::from_secs(10));
    assert_eq!(two.load().await, 1);
}
