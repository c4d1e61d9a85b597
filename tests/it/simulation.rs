//! Three processes with two tiers each, over one store that misbehaves, in simulated time.
//!
//! Everything is drawn from a seed and runs on one thread, so that a seed that fails is replayed by
//! `FAST_CACHE_SEED=17 cargo test --features testing --test it simulation`.
//!
//! What is checked: a read gives nothing that was ended by an invalidation which its process had seen
//! before the read began. A process has seen its own invalidations, also those that failed, and those of the
//! others whose message it has dealt with. And after quiet, every process reads what was written last.
//!
//! The clocks of the processes differ, and jump; barriers are evicted, memory cannot be freed, messages are held up for all,
//! and many invalidations come at once. `FAST_CACHE_SEEDS=10000` takes ten times as many seeds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fast_cache::testing::{ChaosBackend, ManualClock};
use fast_cache::{
    Backend, BoxFuture, Bus, Cache, Config, Error, Subscription, TieredBackend, cache,
};
use fastrand::Rng;
use tokio::task::JoinHandle;

use crate::support::{Hub, Remote};

const NODES: usize = 3;
const KEYS: u64 = 4;
const STEPS: usize = 150;

tokio::task_local! {
    /// What this task invalidates.
    static WRITE: Write;
}

/// The invalidation of a version of a key, for one function or for both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    version: u64,
    key: u64,
    for_plain: bool,
    for_alone: bool,
}

/// What is true, whatever caches say.
#[derive(Default)]
struct World {
    versions: [AtomicU64; KEYS as usize],
    rng: Mutex<Rng>,
}

impl World {
    fn version(&self, key: u64) -> u64 {
        self.versions[key as usize].load(Ordering::SeqCst)
    }

    fn write(&self, key: u64) -> u64 {
        self.versions[key as usize].fetch_add(1, Ordering::SeqCst) + 1
    }

    fn roll<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap())
    }

    async fn pause(&self, up_to: u64) {
        let pause = self.roll(|rng| rng.u64(0..=up_to));
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// What a slow query gives, some of which fail.
    async fn query(&self, key: u64) -> Result<u64, String> {
        self.pause(20).await;
        let version = self.version(key);
        self.pause(50).await;
        match self.roll(|rng| rng.f64() < 0.05) {
            true => Err("the query failed".to_owned()),
            false => Ok(version),
        }
    }
}

#[cache(
    expire = 20,
    namespace = "simulated",
    key = "{key}",
    tags("tag:{key}"),
    stale_while_revalidate = 10,
    stale_if_error = 30,
    early_refresh,
    soft_timeout = "40ms"
)]
async fn load(key: u64, world: Arc<World>) -> Result<u64, String> {
    world.query(key).await
}

#[cache(
    expire = 20,
    namespace = "locked",
    key = "{key}",
    tags("tag:{key}"),
    lock
)]
async fn load_alone(key: u64, world: &World) -> Result<u64, String> {
    world.query(key).await
}

/// The lowest version of each key that the functions of a process may still give.
#[derive(Default)]
struct Floor {
    plain: [AtomicU64; KEYS as usize],
    alone: [AtomicU64; KEYS as usize],
}

impl Floor {
    fn raise(&self, write: Write) {
        let at = write.key as usize;
        if write.for_plain {
            self.plain[at].fetch_max(write.version, Ordering::SeqCst);
        }
        if write.for_alone {
            self.alone[at].fetch_max(write.version, Ordering::SeqCst);
        }
    }
}

/// Which invalidations a message is about, by what it says.
type Sent = Arc<Mutex<HashMap<Bytes, Vec<Write>>>>;

/// A bus that knows what its process has seen.
#[derive(Clone)]
struct Watched {
    inner: Arc<dyn Bus>,
    sent: Sent,
    floor: Arc<Floor>,
}

impl Bus for Watched {
    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        if let Ok(write) = WRITE.try_with(|write| *write) {
            let mut sent = self.sent.lock().unwrap();
            sent.entry(message.clone()).or_default().push(write);
        }
        self.inner.publish(channel, message)
    }

    fn subscribe<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, Error>> {
        Box::pin(async move {
            Ok(Box::new(WatchedSubscription {
                inner: self.inner.subscribe(channel).await?,
                sent: Arc::clone(&self.sent),
                floor: Arc::clone(&self.floor),
                given: None,
                told: HashMap::new(),
            }) as Box<dyn Subscription>)
        })
    }
}

struct WatchedSubscription {
    inner: Box<dyn Subscription>,
    sent: Sent,
    floor: Arc<Floor>,
    given: Option<Bytes>,
    /// How often a message has come.
    told: HashMap<Bytes, usize>,
}

impl Subscription for WatchedSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, Error>> {
        // Whoever asks for the next message has dealt with the last one.
        if let Some(message) = self.given.take() {
            self.has_seen(&message);
        }
        Box::pin(async move {
            let message = self.inner.next().await?;
            self.given = Some(message.clone());
            Ok(message)
        })
    }
}

impl WatchedSubscription {
    /// Of messages that say the same, one may overtake the other: the first to come is taken for the one
    /// that says least.
    fn has_seen(&mut self, message: &Bytes) {
        let sent = self.sent.lock().unwrap();
        let Some(writes) = sent.get(message) else {
            return;
        };
        let count = self.told.entry(message.clone()).or_default();
        let mut versions: Vec<_> = writes.clone();
        versions.sort_unstable();
        if let Some(write) = versions.get(*count) {
            self.floor.raise(*write);
        }
        *count += 1;
    }
}

/// The store with a bus that is watched.
#[derive(Clone)]
struct Seat {
    chaos: ChaosBackend<Remote>,
    bus: Watched,
    frees: Arc<AtomicBool>,
}

impl Backend for Seat {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        Backend::get(&self.chaos, key).await
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        Backend::set(&self.chaos, key, value, expire).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        Backend::replace(&self.chaos, key, seen, value, expire).await
    }

    /// Frees memory every other time.
    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        match self.frees.fetch_xor(true, Ordering::SeqCst) {
            true => Backend::clear(&self.chaos, prefix).await,
            false => Err(Error::backend("the memory cannot be freed")),
        }
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(self.bus.clone()))
    }
}

/// A process.
#[derive(Clone)]
struct Node {
    cache: Cache,
    clock: ManualClock,
    chaos: ChaosBackend<Remote>,
    floor: Arc<Floor>,
    /// Writes whose invalidation has not been confirmed; whoever made them tries again after a crash.
    pending: Arc<Mutex<Vec<(u64, u64)>>>,
}

struct Simulation {
    seed: u64,
    world: Arc<World>,
    /// How much time has passed.
    passed: Duration,
    remote: Remote,
    hub: Hub,
    sent: Sent,
    nodes: Vec<Node>,
    reads: Vec<JoinHandle<()>>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let world = World {
            rng: Mutex::new(Rng::with_seed(seed)),
            ..World::default()
        };
        let mut simulation = Self {
            seed,
            world: Arc::new(world),
            passed: Duration::ZERO,
            remote: Remote::default(),
            hub: Hub::default(),
            sent: Sent::default(),
            nodes: Vec::new(),
            reads: Vec::new(),
        };
        for _ in 0..NODES {
            let node = simulation.start();
            simulation.nodes.push(node);
        }
        simulation
    }

    fn start(&self) -> Node {
        let chaos_seed = self.world.roll(|rng| rng.u64(..));
        let short = Duration::from_millis(30);
        let chaos = ChaosBackend::new(self.remote.with_bus(&self.hub), chaos_seed)
            .fail(0.05)
            .fail_after(0.05)
            .lose(0.02)
            .corrupt(0.02)
            .delay(0.5, short)
            .bus_lose(0.1)
            .bus_delay(0.5, 10 * short);
        let floor = Arc::<Floor>::default();
        let bus = Watched {
            inner: chaos.bus().unwrap(),
            sent: Arc::clone(&self.sent),
            floor: Arc::clone(&floor),
        };
        let seat = Seat {
            chaos: chaos.clone(),
            bus,
            frees: Arc::default(),
        };
        let clock = ManualClock::new();
        clock.advance(self.passed + self.world.roll(|rng| skew(rng, 1500)));
        let config = Config::new(TieredBackend::new(seat)).clock(clock.clone());
        Node {
            cache: Cache::new(config.prefix("fleet").jitter(0.2)),
            clock,
            chaos,
            floor,
            pending: Arc::default(),
        }
    }

    async fn pass(&mut self, time: Duration) {
        self.passed += time;
        for node in &self.nodes {
            node.clock.advance(time);
        }
        tokio::time::sleep(time).await;
    }

    /// Takes a barrier from the store, as a store does that is full.
    fn evict(&self) {
        let mut barriers: Vec<_> = self.remote.all_keys();
        barriers.retain(|key| key.starts_with('~') && !key.contains("#lease"));
        barriers.sort();
        if !barriers.is_empty() {
            let at = self.world.roll(|rng| rng.usize(0..barriers.len()));
            self.remote.remove(&barriers[at]);
        }
    }

    /// Many invalidations at once, by one process.
    fn burst(&self, at: usize) {
        for number in 0..50 {
            self.write(at, number % KEYS);
        }
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            let (at, key, action) = self
                .world
                .roll(|rng| (rng.usize(0..NODES), rng.u64(0..KEYS), rng.u32(0..100)));
            match action {
                0..70 => self.read(at, key),
                70..90 => self.write(at, key),
                90..94 => self.nodes[at].chaos.outage(true),
                94..97 => self.nodes[at].chaos.outage(false),
                97 => match self.world.roll(|rng| rng.u32(0..5)) {
                    0 => self.evict(),
                    1 => self.burst(at),
                    2 => self.hub.hold(),
                    3 => self.hub.release(),
                    _ => {
                        let jump = self.world.roll(|rng| skew(rng, 60_000));
                        self.nodes[at].clock.advance(jump);
                    }
                },
                _ => self.crash(at),
            }
            let pause = self.world.roll(|rng| match rng.u32(0..10) {
                0..6 => rng.u64(0..20),
                6..9 => rng.u64(0..500),
                _ => rng.u64(0..8_000),
            });
            self.pass(Duration::from_millis(pause)).await;
        }
        self.hub.release();
        for node in &self.nodes {
            node.chaos.outage(false);
            node.chaos.calm(true);
        }
        // Longer than anything is relied on, and than anybody waits before trying again.
        for _ in 0..24 {
            self.pass(Duration::from_secs(5)).await;
        }
        for read in self.reads.drain(..) {
            read.await.unwrap();
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for key in 0..KEYS {
                let expected = self.world.version(key);
                let got = node.load(key, &self.world).await;
                assert_eq!(got, expected, "seed {}: node {index}, key {key}", self.seed);
            }
        }
    }

    fn read(&mut self, at: usize, key: u64) {
        let (node, world, seed) = (self.nodes[at].clone(), Arc::clone(&self.world), self.seed);
        self.reads.push(tokio::spawn(async move {
            let check = |what: &str, read: Result<u64, String>, floor: u64| {
                let is_good = read.as_ref().map_or(true, |version| *version >= floor);
                assert!(
                    is_good,
                    "seed {seed}: node {at} read {read:?} of {what} key {key} after {floor}"
                );
            };
            let floor = node.floor.plain[key as usize].load(Ordering::SeqCst);
            let read = node.cache.scope(load(key, Arc::clone(&world))).await;
            check("plain", read, floor);
            let floor = node.floor.alone[key as usize].load(Ordering::SeqCst);
            let read = node.cache.scope(load_alone(key, &world)).await;
            check("locked", read, floor);
        }));
    }

    fn write(&self, at: usize, key: u64) {
        let version = self.world.write(key);
        self.invalidate(at, key, version);
    }

    fn invalidate(&self, at: usize, key: u64, version: u64) {
        let node = self.nodes[at].clone();
        let way = self.world.roll(|rng| rng.u32(0..3));
        node.pending.lock().unwrap().push((key, version));
        tokio::spawn(async move {
            if node.invalidate(key, version, way).await {
                let mut pending = node.pending.lock().unwrap();
                pending.retain(|write| *write != (key, version));
            }
        });
    }

    /// A process ends, with all that it holds, and another one takes its place.
    fn crash(&mut self, at: usize) {
        let fresh = self.start();
        let old = std::mem::replace(&mut self.nodes[at], fresh);
        old.chaos.outage(true);
        let pending = old.pending.lock().unwrap().clone();
        for (key, version) in pending {
            self.invalidate(at, key, version);
        }
    }
}

impl Node {
    async fn load(&self, key: u64, world: &Arc<World>) -> u64 {
        loop {
            let read = self.cache.scope(load(key, Arc::clone(world))).await;
            if let Ok(version) = read {
                return version;
            }
        }
    }

    async fn invalidate(&self, key: u64, version: u64, way: u32) -> bool {
        let both = Write {
            version,
            key,
            for_plain: true,
            for_alone: true,
        };
        let plain = Write {
            for_alone: false,
            ..both
        };
        let alone = Write {
            for_plain: false,
            ..both
        };
        let cache = &self.cache;
        match way {
            0 => {
                let tag = format!("tag:{key}");
                self.carry_out(both, cache.clear_tag(&tag)).await
            }
            1 => {
                let first = cache.clear_namespace("simulated");
                let second = cache.clear_namespace("locked");
                self.carry_out(plain, first).await & self.carry_out(alone, second).await
            }
            _ => {
                let entries = async { (load::entry(key), load_alone::entry(key)) };
                let (first, second) = cache.scope(entries).await;
                self.carry_out(plain, first.invalidate()).await
                    & self.carry_out(alone, second.invalidate()).await
            }
        }
    }

    async fn carry_out<T>(
        &self,
        write: Write,
        invalidation: impl Future<Output = Result<T, Error>>,
    ) -> bool {
        let result = WRITE.scope(write, invalidation).await;
        // Also what did not reach the store has ended for this process.
        self.floor.raise(write);
        result.is_ok()
    }
}

fn skew(rng: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(rng.u64(0..most))
}

fn simulate(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        Simulation::new(seed).run().await;
    });
}

#[test]
fn a_fleet_agrees_whatever_its_store_does() {
    if let Ok(seed) = std::env::var("FAST_CACHE_SEED") {
        simulate(seed.parse().expect("FAST_CACHE_SEED is a number"));
        return;
    }
    let seeds = std::env::var("FAST_CACHE_SEEDS").map_or(1_000, |seeds| seeds.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    std::thread::scope(|scope| {
        for first in 1..=threads {
            scope.spawn(move || (first..=seeds).step_by(threads as usize).for_each(simulate));
        }
    });
}
