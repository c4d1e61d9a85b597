//! Typed values in this process: a bounded table whose entries expire.
//!
//! The table is `quick_cache`, which evicts by a policy close to S3-FIFO. Beside it stands an index
//! from printed keys, so that an entry can be removed by the key that logs show, and a thread that
//! frees expired entries.

mod key;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use hashbrown::HashTable;
use quick_cache::sync::Cache as Table;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use self::key::Hashed;
pub use self::key::{LocalKey, StoredKey};
use crate::clock::{Clock, Wake, milliseconds};
use crate::invalidation::Invalidations;
use crate::tags::{Cells, Tagged};

/// A value with its times, which are milliseconds of the store's clock, and `u64::MAX` for no end.
/// The store holds it with `T` forgotten, as [`AnyEntry`].
#[derive(Debug)]
pub struct LocalEntry<T: ?Sized> {
    /// When the value was made.
    pub made_at: u64,
    /// Until when it may be served without a look into the store that it comes from; no later than
    /// `fresh_until`.
    pub relied_until: u64,
    /// Until when it is fresh.
    pub fresh_until: u64,
    /// When it expires: nobody sees it any more.
    pub expires_at: u64,
    /// How long its computation took, in milliseconds.
    pub took: u64,
    /// When its computation began, in the order of computations: a value does not replace one whose
    /// computation began later.
    pub order: u64,
    /// What it can be invalidated by.
    pub(crate) tags: Box<[Tagged]>,
    /// About how many bytes it takes, its key included.
    pub size: usize,
    /// The value.
    pub value: T,
}

impl<T> LocalEntry<T> {
    /// An entry that is made at `now`, in milliseconds of the store's clock, and is fresh for
    /// `lifetime`, or for good.
    pub fn new(now: u64, lifetime: Option<Duration>, size: usize, value: T) -> Self {
        let expires_at = later(now, lifetime);
        Self {
            made_at: now,
            relied_until: expires_at,
            fresh_until: expires_at,
            expires_at,
            took: 0,
            order: 0,
            tags: Box::default(),
            size,
            value,
        }
    }
}

impl<T: ?Sized> LocalEntry<T> {
    /// Whether it has neither expired nor been invalidated.
    #[inline]
    fn is_live(&self, now: u64) -> bool {
        // No clock ever shows the number that stands for no end.
        now < self.expires_at && (self.tags.is_empty() || !has_ended(&self.tags))
    }
}

/// Kept out of line, for the many that have no tags.
#[inline(never)]
fn has_ended(tags: &[Tagged]) -> bool {
    tags.iter().any(Tagged::has_ended)
}

/// The moment `duration` after `now`; never the one that stands for no end, if there is a duration.
pub(crate) fn later(now: u64, duration: Option<Duration>) -> u64 {
    duration.map_or(u64::MAX, |duration| {
        now.saturating_add(milliseconds(duration)).min(u64::MAX - 1)
    })
}

/// An entry whose value is of some type.
pub type AnyEntry = Arc<LocalEntry<dyn Any + Send + Sync>>;

/// The bounds of a store. Neither is ever exceeded; a bound of zero counts as one.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// How many entries it holds at most, and no more than 2^32.
    pub max_entries: u64,
    /// How many bytes its entries take at most. An entry is certain to be kept if it takes no more
    /// than a quarter of them and no more than 15 MiB.
    pub max_bytes: u64,
}

/// The `printed` hash of an entry that has no printed key.
pub const UNPRINTED: u64 = 0;

/// Typed values in this process.
///
/// Lookups take a shared lock on one part of the table, for as long as it takes to count a
/// reference. No value is cloned or dropped while a lock is held, so that a value may use the
/// store itself.
pub struct LocalStore {
    inner: Arc<Inner>,
    alarm: Arc<Alarm>,
    invalidations: Arc<Invalidations>,
    tags: Arc<Cells>,
    reliance: Option<Duration>,
}

struct Inner {
    table: Table<Arc<StoredKey>, AnyEntry, Weigh, Hashed, Displace>,
    index: Arc<Index>,
    /// Held from the index's insertion to the table's, so that of two insertions of one key both
    /// keep the same one. By the hash of the printed key.
    inserting: [Mutex<()>; 16],
    max_bytes: u64,
}

impl LocalStore {
    /// An empty store.
    #[must_use]
    pub fn new(options: LocalOptions) -> Self {
        let weigh = Weigh::new(options);
        let shards = shards(options);
        let index = Arc::<Index>::default();
        let mut table = OptionsBuilder::new();
        table
            .estimated_items_capacity(estimated_items(options))
            // Shards round their share up, which must not add up to more than the bounds.
            .weight_capacity(weigh.capacity() / shards * shards)
            .shards(shards as usize);
        if options.max_entries <= 1 {
            // A lone entry weighs all there is, and the table admits no more than the hot part.
            table.hot_allocation(1.0);
        }
        let table = Table::with_options(
            table
                .build()
                .unwrap_or_else(|error| unreachable!("all options are given: {error}")),
            weigh,
            Hashed::default(),
            Displace(Arc::clone(&index)),
        );
        Self {
            inner: Arc::new(Inner {
                table,
                index,
                inserting: Default::default(),
                max_bytes: options.max_bytes,
            }),
            alarm: Arc::default(),
            invalidations: Arc::default(),
            tags: Arc::default(),
            reliance: None,
        }
    }

    /// Makes it the nearer of two tiers: what it holds is served without a look into the other one for
    /// so long at most.
    #[must_use]
    pub fn in_front(mut self, reliance: Duration) -> Self {
        self.reliance = Some(reliance);
        self
    }

    /// For how long what is held here is relied on; `None` for as long as it is fresh.
    pub(crate) fn reliance(&self) -> Option<Duration> {
        self.reliance
    }

    /// What was invalidated in this store, by whichever cache that uses it.
    pub(crate) fn invalidations(&self) -> Arc<Invalidations> {
        Arc::clone(&self.invalidations)
    }

    /// Sets the clock that expired entries are swept by. The cache that takes the store does so.
    pub fn use_clock(&self, clock: Clock) {
        let alarm: Weak<dyn Wake> = Arc::<Alarm>::downgrade(&self.alarm);
        clock.wake_when_moved(alarm);
        self.alarm.use_clock(clock);
    }

    /// The time by the store's clock, in milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.alarm.clock().now()
    }

    /// The entry under `key`, unless it has expired by `now`.
    #[inline]
    #[must_use]
    pub fn get(&self, key: LocalKey<'_>, now: u64) -> Option<AnyEntry> {
        let entry = self.inner.table.get(&key)?;
        match entry.is_live(now) {
            true => Some(entry),
            false => None,
        }
    }

    /// Stores an entry, over what was there. `printed` is a hash of the printed key, for
    /// [`remove_printed`](Self::remove_printed), or [`UNPRINTED`].
    ///
    /// An entry that has expired already or is larger than the store allows is not kept, nor is
    /// the one before it; one whose computation began before that of the one before it is not kept
    /// either. What had to go for the entry is returned, for the caller to drop when it
    /// holds no lock: values run code of their own then.
    pub fn insert(&self, key: LocalKey<'_>, printed: u64, entry: AnyEntry) -> Displaced {
        let expires_at = entry.expires_at;
        let is_mortal = expires_at != u64::MAX;
        if entry.size as u64 > self.inner.max_bytes || is_mortal && expires_at <= self.now() {
            let removed = self.take(key);
            return Displaced {
                by: None,
                entries: removed.into_iter().chain([entry]).collect(),
            };
        }
        let key = Arc::new(key.store(printed));
        let displaced = self.inner.place(key, entry);
        if is_mortal && self.alarm.set(expires_at) {
            self.start_sweeper();
        }
        displaced
    }

    /// Removes the entry under `key`, and tells whether there was a live one.
    pub fn remove(&self, key: LocalKey<'_>) -> bool {
        self.take(key)
            .is_some_and(|entry| entry.is_live(self.now()))
    }

    fn take(&self, key: LocalKey<'_>) -> Option<AnyEntry> {
        let (key, entry) = self.inner.table.remove(&key)?;
        self.inner.index.remove(&key, &entry);
        Some(entry)
    }

    /// Removes the entry whose printed key has this hash, if `matches` confirms it, and tells
    /// whether there was a live one.
    pub fn remove_printed(&self, printed: u64, matches: impl Fn(&StoredKey) -> bool) -> bool {
        let Some(key) = self.inner.index.find(printed, matches) else {
            return false;
        };
        self.remove(key.as_local())
    }

    /// Removes the entries whose keys are `doomed`, and counts the live ones.
    pub fn remove_where(&self, doomed: impl Fn(&StoredKey) -> bool) -> u64 {
        self.take_where(doomed).len() as u64
    }

    /// Removes the entries whose keys are `doomed`, and gives the live ones.
    pub fn take_where(&self, doomed: impl Fn(&StoredKey) -> bool) -> Vec<AnyEntry> {
        let now = self.now();
        let mut removed = self.inner.take(|key, _| doomed(key));
        removed.retain(|entry| entry.is_live(now));
        removed
    }

    /// Puts a value under tags of the cache with this number.
    pub(crate) fn tag(&self, prefix: u32, tags: &[String]) -> Box<[Tagged]> {
        tags.iter().map(|tag| self.tags.tag(prefix, tag)).collect()
    }

    /// Invalidates what is under a tag of the cache with this number, and counts it. It is freed soon
    /// after.
    pub(crate) fn end_tag(&self, prefix: u32, tag: &str) -> u64 {
        let ended = self.tags.end(prefix, tag);
        if ended > 0 && self.alarm.set(self.now()) {
            self.start_sweeper();
        }
        ended
    }

    /// Removes all entries, and counts the live ones.
    pub fn clear(&self) -> u64 {
        self.remove_where(|_| true)
    }

    /// Frees the entries that have expired, and counts them.
    pub fn sweep(&self) -> u64 {
        self.inner.sweep(self.now()).freed.len() as u64
    }

    /// How many entries there are, expired ones that are not freed yet among them.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner.table.len() as u64
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the entries take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.index.bytes.load(Ordering::Relaxed)
    }

    /// How many entries were given up to stay within the bounds; those that were replaced, removed
    /// or never kept are not among them.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.inner.index.evictions.load(Ordering::Relaxed)
    }

    fn start_sweeper(&self) {
        let (alarm, store) = (Arc::clone(&self.alarm), Arc::downgrade(&self.inner));
        let spawned = std::thread::Builder::new()
            .name("fast-cache-sweeper".to_owned())
            .spawn(move || run_sweeper(&alarm, &store));
        if let Err(error) = spawned {
            self.alarm.state().is_running = false;
            tracing::warn!(%error, "expired entries are freed only when they are replaced or evicted");
        }
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.alarm.close();
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .field("evictions", &self.evictions())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Puts an entry in, and gives what had to go for it.
    fn place(&self, key: Arc<StoredKey>, entry: AnyEntry) -> Displaced {
        let mut displaced = Displaced {
            by: Some(Arc::clone(&key)),
            entries: SmallVec::new(),
        };
        let stripe = &self.inserting[(key.printed % self.inserting.len() as u64) as usize];
        let inserting = (key.printed != UNPRINTED)
            .then(|| stripe.lock().unwrap_or_else(PoisonError::into_inner));
        let present = self.table.peek(&key);
        if present.is_some_and(|present| present.order > entry.order) {
            displaced.entries.push(entry);
            return displaced;
        }
        // The index comes first: an eviction in between takes its own row alone.
        self.index.insert(&key, &entry);
        self.table.insert_with_lifecycle(key, entry, &mut displaced);
        drop(inserting);
        displaced
    }

    /// Takes the doomed entries out, for the caller to drop: the table's own removal drops them
    /// under a lock, where a value that panics or comes back to the store would break it.
    fn take(&self, doomed: impl Fn(&StoredKey, &AnyEntry) -> bool) -> Vec<AnyEntry> {
        let taken = RefCell::new(Vec::new());
        self.table.retain(|key, entry| {
            let goes = doomed(key, entry);
            if goes {
                self.index.remove(key, entry);
                taken.borrow_mut().push(Arc::clone(entry));
            }
            !goes
        });
        taken.into_inner()
    }

    fn sweep(&self, now: u64) -> Swept {
        let next = Cell::new(u64::MAX);
        let freed = self.take(|_, entry| {
            let goes = !entry.is_live(now);
            if !goes {
                next.set(next.get().min(entry.expires_at));
            }
            goes
        });
        Swept {
            freed,
            next: Some(next.get()).filter(|&next| next != u64::MAX),
        }
    }
}

/// What a sweep took out, and when the next entry expires.
struct Swept {
    freed: Vec<AnyEntry>,
    next: Option<u64>,
}

/// The least time between two sweeps, in milliseconds.
const SWEEP_INTERVAL: u64 = 1000;

/// A sweep walks over the whole table, so that it pauses this many times as long as it took.
const SWEEP_SHARE: u64 = 50;

/// Frees expired entries until the store is dropped or nothing in it expires any more.
///
/// The store is held during a sweep alone, so that its values go when its owner drops it.
fn run_sweeper(alarm: &Alarm, store: &Weak<Inner>) {
    while let Some(clock) = alarm.wait() {
        let Some(inner) = store.upgrade() else { return };
        let began = clock.now();
        let swept = inner.sweep(began);
        drop(inner);
        alarm.swept(swept.next, began, clock.now());
        for entry in swept.freed {
            // A value that panics when it is dropped has said so through the panic hook, and is no
            // reason to keep the others.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(entry)));
        }
    }
}

/// When to sweep: what the sweeper thread and the store tell each other.
#[derive(Default)]
struct Alarm {
    clock: RwLock<Clock>,
    state: Mutex<AlarmState>,
    changed: Condvar,
}

#[derive(Default)]
struct AlarmState {
    /// When the next entry expires, as far as is known.
    next: Option<u64>,
    /// When a sweep is allowed again.
    earliest: u64,
    is_running: bool,
    is_closed: bool,
}

impl Alarm {
    /// Notes that an entry expires then, and tells whether a thread has to be started for it.
    fn set(&self, expires_at: u64) -> bool {
        let mut state = self.state();
        if state.next.is_none_or(|next| expires_at < next) {
            state.next = Some(expires_at);
            self.changed.notify_one();
        }
        !std::mem::replace(&mut state.is_running, true)
    }

    /// Sleeps until a sweep is due, and gives the clock that says so. `None` if none will be.
    fn wait(&self) -> Option<Clock> {
        let mut state = self.state();
        loop {
            let Some(next) = state.next.filter(|_| !state.is_closed) else {
                state.is_running = false;
                return None;
            };
            let clock = self.clock();
            let deadline = next.max(state.earliest);
            if deadline <= clock.now() {
                state.next = None;
                return Some(clock);
            }
            state = clock.wait_until(state, &self.changed, deadline);
        }
    }

    fn swept(&self, next: Option<u64>, began: u64, ended: u64) {
        let pause = SWEEP_INTERVAL.max((ended - began).saturating_mul(SWEEP_SHARE));
        let mut state = self.state();
        state.earliest = ended.saturating_add(pause);
        // Entries that came during the sweep have set the alarm themselves.
        state.next = state.next.into_iter().chain(next).min();
    }

    fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    fn clock(&self) -> Clock {
        self.clock
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn use_clock(&self, clock: Clock) {
        *self.clock.write().unwrap_or_else(PoisonError::into_inner) = clock;
        self.state().earliest = 0;
        self.wake();
    }

    fn state(&self) -> MutexGuard<'_, AlarmState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alarm {
    fn wake(&self) {
        // A thread that has looked at the clock holds this lock until it waits.
        drop(self.state());
        self.changed.notify_all();
    }
}

/// Finds keys by the hash of their printed form, and keeps the store's sums.
#[derive(Default)]
struct Index {
    rows: Mutex<HashTable<Arc<StoredKey>>>,
    bytes: AtomicU64,
    evictions: AtomicU64,
}

impl Index {
    fn insert(&self, key: &Arc<StoredKey>, entry: &AnyEntry) {
        self.bytes.fetch_add(entry.size as u64, Ordering::Relaxed);
        if key.printed == UNPRINTED {
            return;
        }
        let mut rows = self.rows();
        match rows.find_mut(key.printed, |row| row == key) {
            Some(row) => *row = Arc::clone(key),
            None => {
                rows.insert_unique(key.printed, Arc::clone(key), |row| row.printed);
            }
        }
    }

    /// Notes that an entry has left the table. Its row goes only if it is of this very key, not of
    /// one that is equal and came later.
    fn remove(&self, key: &Arc<StoredKey>, entry: &AnyEntry) {
        self.bytes.fetch_sub(entry.size as u64, Ordering::Relaxed);
        if key.printed == UNPRINTED {
            return;
        }
        let mut rows = self.rows();
        if let Ok(row) = rows.find_entry(key.printed, |row| Arc::ptr_eq(row, key)) {
            row.remove();
        }
    }

    fn find(&self, printed: u64, matches: impl Fn(&StoredKey) -> bool) -> Option<Arc<StoredKey>> {
        let rows = self.rows();
        let found = rows.find(printed, |row| row.printed == printed && matches(row));
        found.cloned()
    }

    fn rows(&self) -> MutexGuard<'_, HashTable<Arc<StoredKey>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the index in step with what insertions push out of the table.
#[derive(Clone)]
struct Displace(Arc<Index>);

/// What one insertion pushed out of a [`LocalStore`]. Its values are dropped with it.
#[derive(Default)]
pub struct Displaced {
    by: Option<Arc<StoredKey>>,
    entries: SmallVec<[AnyEntry; 2]>,
}

impl Lifecycle<Arc<StoredKey>, AnyEntry> for Displace {
    type RequestState = Displaced;

    /// Called for evicted entries, for the one that was replaced, and for the new one if it is too
    /// large to be kept. The latter two have the key that is being inserted.
    fn on_evict(&self, displaced: &mut Displaced, key: Arc<StoredKey>, entry: AnyEntry) {
        self.0.remove(&key, &entry);
        if displaced.by.as_ref() != Some(&key) {
            self.0.evictions.fetch_add(1, Ordering::Relaxed);
        }
        displaced.entries.push(entry);
    }
}

/// Weighs an entry so that one capacity holds both bounds: the larger of its share of the bytes
/// and its share of the entries, both scaled by the product of the bounds.
///
/// The product stays below 2^62, so that the table's sums cannot overflow. Bytes are counted in
/// chunks, of more than one byte only where the bounds are so large that it takes that.
#[derive(Clone, Debug)]
struct Weigh {
    entries: u64,
    chunks: u64,
    chunk: u64,
}

impl Weigh {
    fn new(options: LocalOptions) -> Self {
        let entries = options.max_entries.clamp(1, 1 << 32);
        let bytes = options.max_bytes.max(1);
        let chunk = bytes.div_ceil((1 << 62) / entries);
        Self {
            entries,
            chunks: bytes / chunk,
            chunk,
        }
    }

    fn capacity(&self) -> u64 {
        self.entries * self.chunks
    }
}

impl Weighter<Arc<StoredKey>, AnyEntry> for Weigh {
    fn weight(&self, _: &Arc<StoredKey>, entry: &AnyEntry) -> u64 {
        let chunks = (entry.size as u64).div_ceil(self.chunk);
        chunks.saturating_mul(self.entries).max(self.chunks)
    }
}

/// Parts of the table that are locked by themselves. Each has its share of the capacity, so there
/// are few where the store is small: keys do not spread evenly over shards of few entries, and no
/// entry can be larger than its shard. A power of two, as the table wants it.
fn shards(options: LocalOptions) -> u64 {
    const LEAST_ENTRIES: u64 = 256;
    const LEAST_BYTES: u64 = 16 << 20;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let by_bytes = (options.max_bytes / LEAST_BYTES).max(2);
    let fitting = (cores * 4)
        .min(options.max_entries / LEAST_ENTRIES)
        .min(by_bytes);
    1 << fitting.clamp(1, 16).ilog2()
}

/// How many entries to expect, which sizes the table's memory of evicted keys.
fn estimated_items(options: LocalOptions) -> usize {
    usize::try_from(options.max_entries.clamp(1, 1 << 20)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const BIG: LocalOptions = LocalOptions {
        max_entries: 10_000,
        max_bytes: 1 << 30,
    };

    fn key(bytes: &[u8]) -> LocalKey<'_> {
        LocalKey::new(1, bytes)
    }

    fn entry(value: u64, expires_at: u64, size: usize) -> AnyEntry {
        Arc::new(LocalEntry {
            expires_at,
            ..LocalEntry::new(0, None, size, value)
        })
    }

    fn read(store: &LocalStore, bytes: &[u8], now: u64) -> Option<u64> {
        store.get(key(bytes), now)?.value.downcast_ref().copied()
    }

    fn with_clock(options: LocalOptions) -> (LocalStore, ManualClock) {
        let clock = ManualClock::new();
        let store = LocalStore::new(options);
        store.use_clock(clock.clone().into());
        (store, clock)
    }

    /// Waits for another thread to make `done` true.
    fn eventually(done: impl Fn() -> bool) {
        for _ in 0..5_000_000 {
            if done() {
                return;
            }
            std::thread::yield_now();
        }
        panic!("it did not come true");
    }

    #[test]
    fn expiry_is_exact_to_the_millisecond() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(7, 1000, 1));
        assert_eq!(read(&store, b"a", 999), Some(7));
        assert_eq!(read(&store, b"a", 1000), None);
    }

    #[test]
    fn keys_are_compared_in_full() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(1, u64::MAX, 1));
        store.insert(LocalKey::new(2, b"a"), 2, entry(2, u64::MAX, 1));
        assert_eq!(read(&store, b"a", 0), Some(1));
        assert_eq!(read(&store, b"aa", 0), None);
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn expired_entries_are_freed_without_being_read() {
        let (store, clock) = with_clock(BIG);
        for number in 0..100_u64 {
            store.insert(
                key(&number.to_be_bytes()),
                number + 1,
                entry(number, 1000 + number, 1),
            );
        }
        store.insert(key(b"stays"), 1000, entry(0, u64::MAX, 1));
        clock.advance(Duration::from_millis(1050));
        eventually(|| store.len() <= 50);
        clock.advance(Duration::from_secs(10));
        eventually(|| store.len() == 1);
        assert_eq!(store.inner.index.rows().len(), 1);
        // The thread has gone, and a later entry starts another.
        eventually(|| !store.alarm.state().is_running);
        let now = store.now();
        store.insert(key(b"later"), 2000, entry(0, now + 1, 1));
        clock.advance(Duration::from_secs(2));
        eventually(|| store.len() == 1);
    }

    #[test]
    fn a_store_takes_its_values_and_its_thread_along() {
        for _ in 0..100 {
            let (store, _) = with_clock(BIG);
            let value = entry(1, 1_000_000, 1);
            store.insert(key(b"a"), 1, Arc::clone(&value));
            let alarm = Arc::downgrade(&store.alarm);
            drop(store);
            assert_eq!(Arc::strong_count(&value), 1);
            eventually(|| alarm.strong_count() == 0);
        }
    }

    #[test]
    fn sweeps_keep_their_distance() {
        let (store, clock) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(1, 10, 1));
        clock.advance(Duration::from_millis(10));
        eventually(|| store.is_empty() && !store.alarm.state().is_running);
        store.insert(key(b"b"), 2, entry(2, 20, 1));
        clock.advance(Duration::from_millis(999));
        assert_eq!(store.alarm.state().earliest, 1010);
        assert_eq!(store.len(), 1);
        clock.advance(Duration::from_millis(1));
        eventually(|| store.is_empty());
    }

    #[test]
    fn sweeping_by_hand_frees_what_has_expired() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(1, 10, 5));
        store.insert(key(b"b"), 2, entry(2, 20, 7));
        let swept = store.inner.sweep(10);
        assert_eq!((swept.freed.len(), swept.next), (1, Some(20)));
        assert_eq!((store.len(), store.bytes()), (1, 7));
        assert_eq!(store.sweep(), 0);
    }

    #[test]
    fn what_has_expired_already_is_not_kept_nor_the_one_before_it() {
        let (store, clock) = with_clock(BIG);
        clock.advance(Duration::from_secs(9));
        store.insert(key(b"a"), 1, entry(1, u64::MAX, 1));
        store.insert(key(b"a"), 1, entry(2, 9000, 1));
        assert!(store.is_empty() && store.inner.index.rows().is_empty());
        store.insert(key(b"a"), 1, entry(3, 9001, 1));
        assert_eq!(store.len(), 1);
    }

    /// A value that comes back to its store when it is dropped, and then panics.
    struct Returning(Weak<LocalStore>);

    impl Drop for Returning {
        fn drop(&mut self) {
            if let Some(store) = self.0.upgrade() {
                store.insert(key(b"dropped"), 9, entry(1, u64::MAX, 1));
                panic!("this value panics when it is dropped");
            }
        }
    }

    #[test]
    fn values_are_dropped_when_no_lock_is_held() {
        let (store, clock) = with_clock(BIG);
        let store = Arc::new(store);
        let returning = |expires_at| -> AnyEntry {
            let value = Returning(Arc::downgrade(&store));
            Arc::new(LocalEntry {
                expires_at,
                ..LocalEntry::new(0, None, 1, value)
            })
        };
        let survives = |step: &dyn Fn()| {
            assert!(catch_unwind(AssertUnwindSafe(step)).is_err());
            assert!(store.remove(key(b"dropped")));
        };
        store.insert(key(b"a"), 1, returning(u64::MAX));
        survives(&|| drop(store.insert(key(b"a"), 1, entry(1, u64::MAX, 1))));
        store.insert(key(b"a"), 1, returning(u64::MAX));
        survives(&|| assert!(store.remove_printed(1, |_| true)));
        store.insert(key(b"a"), 1, returning(u64::MAX));
        survives(&|| assert_eq!(store.clear(), 1));
        store.insert(key(b"a"), 1, returning(100));
        clock.advance(Duration::from_millis(100));
        eventually(|| store.get(key(b"dropped"), 100).is_some());
        // The thread outlives it, too.
        store.remove(key(b"dropped"));
        store.insert(key(b"b"), 2, entry(2, 200, 1));
        clock.advance(Duration::from_secs(2));
        eventually(|| store.is_empty());
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn an_entry_without_a_printed_key_takes_no_row() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), UNPRINTED, entry(1, u64::MAX, 3));
        store.insert(key(b"a"), UNPRINTED, entry(2, u64::MAX, 4));
        assert!(store.inner.index.rows().is_empty());
        assert!(!store.remove_printed(UNPRINTED, |_| true));
        assert_eq!((read(&store, b"a", 0), store.bytes()), (Some(2), 4));
        assert!(store.remove(key(b"a")));
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn an_entry_is_removed_by_its_printed_key() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 5, entry(1, u64::MAX, 1));
        store.insert(key(b"b"), 5, entry(2, u64::MAX, 1));
        assert!(!store.remove_printed(6, |_| true));
        assert!(store.remove_printed(5, |key| key.bytes() == b"b"));
        assert_eq!(
            (read(&store, b"a", 0), read(&store, b"b", 0)),
            (Some(1), None)
        );
        assert!(store.remove(key(b"a")));
        assert!(!store.remove(key(b"a")));
        assert!(store.inner.index.rows().is_empty());
    }

    #[test]
    fn a_replaced_entry_keeps_its_row_in_the_index() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 5, entry(1, u64::MAX, 1));
        store.insert(key(b"a"), 5, entry(2, u64::MAX, 1));
        assert_eq!((store.len(), read(&store, b"a", 0)), (1, Some(2)));
        assert_eq!((store.bytes(), store.evictions()), (1, 0));
        assert_eq!(store.inner.index.rows().len(), 1);
        assert!(store.remove_printed(5, |_| true));
        assert!(store.is_empty() && store.inner.index.rows().is_empty());
    }

    #[test]
    fn only_live_entries_are_counted() {
        let (store, clock) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(1, 500, 1));
        store.insert(key(b"b"), 2, entry(2, u64::MAX, 1));
        clock.advance(Duration::from_millis(500));
        assert_eq!(store.clear(), 1);
        assert!(store.is_empty());
    }

    #[test]
    fn the_bound_on_entries_holds_and_is_used() {
        let (store, _) = with_clock(LocalOptions {
            max_entries: 1000,
            max_bytes: 1 << 30,
        });
        for number in 0..100_000_u64 {
            store.insert(
                key(&number.to_be_bytes()),
                number + 1,
                entry(number, u64::MAX, 100),
            );
            assert!(store.len() <= 1000);
        }
        assert!(store.len() >= 800, "{store:?}");
        assert_eq!(store.inner.index.rows().len() as u64, store.len());
        assert_eq!(store.evictions(), 100_000 - store.len());
    }

    #[test]
    fn the_bound_on_bytes_holds_and_is_used() {
        let (store, _) = with_clock(LocalOptions {
            max_entries: 100_000,
            max_bytes: 1 << 20,
        });
        for number in 0..10_000_u64 {
            store.insert(
                key(&number.to_be_bytes()),
                number + 1,
                entry(number, u64::MAX, 1000),
            );
        }
        assert!(store.bytes() <= 1 << 20);
        assert!(store.bytes() >= 800 << 10, "{}", store.bytes());
        assert_eq!(store.inner.index.rows().len() as u64, store.len());
    }

    #[test]
    fn small_stores_hold_what_they_promise() {
        for max_entries in [1, 2, 3, 10, 33, 100, 300] {
            let (store, _) = with_clock(LocalOptions {
                max_entries,
                max_bytes: 1 << 20,
            });
            for number in 0..2000_u64 {
                store.insert(
                    key(&number.to_be_bytes()),
                    number + 1,
                    entry(number, u64::MAX, 1),
                );
                assert!(store.len() <= max_entries);
            }
            assert!(
                store.len() >= max_entries * 4 / 5,
                "{max_entries}: {store:?}"
            );
        }
    }

    #[test]
    fn a_quarter_of_the_bytes_fits_into_one_entry() {
        for max_bytes in [1000, 1 << 20, 60 << 20] {
            let (store, _) = with_clock(LocalOptions {
                max_entries: 100_000,
                max_bytes,
            });
            store.insert(key(b"a"), 1, entry(1, u64::MAX, max_bytes as usize / 4));
            assert_eq!(store.len(), 1);
        }
        let (store, _) = with_clock(LocalOptions {
            max_entries: 100_000,
            max_bytes: 256 << 20,
        });
        store.insert(key(b"a"), 1, entry(1, u64::MAX, 15 << 20));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn the_largest_bounds_do_not_overflow() {
        let (store, _) = with_clock(LocalOptions {
            max_entries: u64::MAX,
            max_bytes: u64::MAX,
        });
        store.insert(key(b"a"), 1, entry(1, u64::MAX, usize::MAX));
        assert!(store.is_empty());
        let (store, _) = with_clock(LocalOptions {
            max_entries: 100_000,
            max_bytes: 1 << 42,
        });
        for number in 1..=8192_u64 {
            store.insert(
                key(&number.to_be_bytes()),
                number + 1,
                entry(number, u64::MAX, 1 << 30),
            );
            assert!(store.bytes() <= 1 << 42);
        }
        assert!(store.bytes() >= (1 << 42) / 5 * 4, "{store:?}");
    }

    #[test]
    fn an_entry_that_is_too_large_is_not_kept_nor_the_one_before_it() {
        let (store, _) = with_clock(LocalOptions {
            max_entries: 100,
            max_bytes: 1000,
        });
        for size in [1001, 1000, usize::MAX] {
            store.insert(key(b"a"), 1, entry(1, u64::MAX, 10));
            store.insert(key(b"a"), 1, entry(2, u64::MAX, size));
            assert_eq!(read(&store, b"a", 0), None);
            assert!(store.is_empty() && store.inner.index.rows().is_empty());
            assert_eq!((store.bytes(), store.evictions()), (0, 0));
        }
    }

    #[test]
    fn threads_leave_table_and_index_in_step() {
        let (store, _) = with_clock(LocalOptions {
            max_entries: 500,
            max_bytes: 1 << 30,
        });
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let store = &store;
                scope.spawn(move || {
                    for step in 0..20_000_u64 {
                        let number = step.wrapping_mul(thread * 2 + 1) % 1000;
                        let bytes = number.to_be_bytes();
                        match step % 7 {
                            0 => _ = store.remove(key(&bytes)),
                            1 => drop(store.get(key(&bytes), 0)),
                            _ => drop(store.insert(
                                key(&bytes),
                                number + 1,
                                entry(number, u64::MAX, 10),
                            )),
                        }
                    }
                });
            }
        });
        assert!(store.len() <= 500);
        for number in 0..1000_u64 {
            let found = read(&store, &number.to_be_bytes(), 0);
            assert!(found.is_none_or(|found| found == number));
            let removed = store.remove_printed(number + 1, |_| true);
            assert_eq!(removed, found.is_some());
        }
        assert_eq!((store.len(), store.bytes()), (0, 0));
        assert!(store.inner.index.rows().is_empty());
    }
}
