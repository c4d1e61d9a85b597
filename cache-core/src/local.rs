//! Typed values in this process: a bounded table whose entries expire.
//!
//! The table is `quick_cache`, which evicts by a policy close to S3-FIFO. Beside it stands an index
//! from printed keys, so that an entry can be removed by the key that logs show, and a thread that
//! frees expired entries.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use equivalent::Equivalent;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use quick_cache::sync::Cache as Table;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use crate::clock::Clock;

/// A key as a caller holds it.
#[derive(Clone, Copy, Debug)]
pub struct LocalKey<'a> {
    /// Who the bytes belong to; keys of different spaces are different.
    pub space: u64,
    /// What tells the keys of one space apart.
    pub bytes: &'a [u8],
}

/// A key as the store holds it.
#[derive(Debug)]
pub struct StoredKey {
    /// See [`LocalKey::space`].
    pub space: u64,
    /// See [`LocalKey::bytes`].
    pub bytes: SmallVec<[u8; 24]>,
    printed: u64,
}

/// A value with its times. The store holds it with `T` forgotten, as [`AnyEntry`].
#[derive(Debug)]
pub struct LocalEntry<T: ?Sized> {
    /// When it was stored, in milliseconds of the store's clock.
    pub stored_at: u64,
    /// When it expires, in milliseconds of the store's clock; `u64::MAX` if it does not.
    pub expires_at: u64,
    /// About how many bytes it takes, its key included.
    pub size: usize,
    /// The value.
    pub value: T,
}

/// An entry whose value is of some type.
pub type AnyEntry = Arc<LocalEntry<dyn Any + Send + Sync>>;

/// The bounds of a store.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// How many entries it holds at most.
    pub max_entries: u64,
    /// How many bytes its entries take at most.
    pub max_bytes: u64,
}

/// Typed values in this process.
///
/// Lookups take a shared lock on one part of the table, for as long as it takes to count a
/// reference. Values are cloned and dropped by the caller.
pub struct LocalStore(Arc<Inner>);

struct Inner {
    table: Table<Arc<StoredKey>, AnyEntry, Weigh, RandomState, Evicted>,
    index: Arc<Index>,
    /// Held from the index's insertion to the table's, so that of two insertions of one key both
    /// keep the same one. By the hash of the printed key.
    inserting: [Mutex<()>; 16],
    sweeper: Mutex<Sweeper>,
    changed: Arc<Condvar>,
}

impl LocalStore {
    /// An empty store.
    #[must_use]
    pub fn new(options: LocalOptions) -> Self {
        let weigh = Weigh::new(options);
        let index = Arc::<Index>::default();
        let capacity = weigh.capacity();
        let table = Table::with_options(
            OptionsBuilder::new()
                .estimated_items_capacity(estimated_items(options))
                .weight_capacity(capacity)
                .shards(shards(options))
                .build()
                .unwrap_or_else(|error| unreachable!("all options are given: {error}")),
            weigh,
            RandomState::default(),
            Evicted(Arc::clone(&index)),
        );
        Self(Arc::new(Inner {
            table,
            index,
            inserting: Default::default(),
            sweeper: Mutex::default(),
            changed: Arc::default(),
        }))
    }

    /// Sets the clock that expired entries are swept by. The cache that takes the store does so.
    pub fn use_clock(&self, clock: Clock) {
        self.0.sweeper().clock = clock;
    }

    /// The time by the store's clock, in milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.sweeper().clock.now()
    }

    /// The entry under `key`, unless it has expired by `now`.
    #[inline]
    #[must_use]
    pub fn get(&self, key: LocalKey<'_>, now: u64) -> Option<AnyEntry> {
        let entry = self.0.table.get(&key)?;
        (now < entry.expires_at).then_some(entry)
    }

    /// Stores an entry, over what was there. `printed` is a hash of the printed key, for
    /// [`remove_printed`](Self::remove_printed).
    ///
    /// An entry that is larger than the store allows is not kept, nor is the one before it.
    pub fn insert(&self, key: LocalKey<'_>, printed: u64, entry: AnyEntry) {
        let expires_at = entry.expires_at;
        let key = Arc::new(StoredKey {
            space: key.space,
            bytes: SmallVec::from_slice(key.bytes),
            printed,
        });
        let inserting = self.0.inserting(printed);
        // The index comes first: an eviction in between takes its own row alone.
        self.0.index.insert(&key);
        self.0.table.insert(key, entry);
        drop(inserting);
        if expires_at != u64::MAX {
            self.watch(expires_at);
        }
    }

    /// Removes the entry under `key`, and tells whether there was a live one.
    pub fn remove(&self, key: LocalKey<'_>) -> bool {
        let Some((key, entry)) = self.0.table.remove(&key) else {
            return false;
        };
        self.0.index.remove(&key);
        self.now() < entry.expires_at
    }

    /// Removes the entry whose printed key has this hash, if `matches` confirms it, and tells
    /// whether there was a live one.
    pub fn remove_printed(&self, printed: u64, matches: impl Fn(&StoredKey) -> bool) -> bool {
        let Some(key) = self.0.index.find(printed, matches) else {
            return false;
        };
        self.remove(key.borrow())
    }

    /// Removes the entries whose keys are `doomed`, and counts the live ones.
    pub fn remove_where(&self, doomed: impl Fn(&StoredKey) -> bool) -> u64 {
        let now = self.now();
        let removed = AtomicU64::new(0);
        self.0.retain(|key, entry| {
            let goes = doomed(key);
            if goes && now < entry.expires_at {
                removed.fetch_add(1, Ordering::Relaxed);
            }
            !goes
        });
        removed.into_inner()
    }

    /// Frees the entries that have expired, and counts them.
    pub fn sweep(&self) -> u64 {
        let now = self.now();
        self.0.sweep(now).freed
    }

    /// How many entries there are, expired ones that are not freed yet among them.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.table.len() as u64
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the entries take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.table.iter().map(|(_, entry)| entry.size as u64).sum()
    }

    /// How many entries were given up to stay within the bounds.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.0.index.evictions.load(Ordering::Relaxed)
    }

    /// Has the sweeper wake up for an entry that expires then.
    fn watch(&self, expires_at: u64) {
        let mut sweeper = self.0.sweeper();
        if sweeper.next.is_none_or(|next| expires_at < next) {
            sweeper.next = Some(expires_at);
            self.0.changed.notify_one();
        }
        if !sweeper.is_running {
            sweeper.is_running = self.start_sweeper();
        }
    }

    fn start_sweeper(&self) -> bool {
        let inner = Arc::downgrade(&self.0);
        let spawned = std::thread::Builder::new()
            .name("fast-cache-sweeper".to_owned())
            .spawn(move || run_sweeper(&inner));
        if let Err(error) = &spawned {
            tracing::warn!(%error, "expired entries are freed only when they are replaced or evicted");
        }
        spawned.is_ok()
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.0.sweeper().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore")
            .field("entries", &self.len())
            .field("evictions", &self.evictions())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn inserting(&self, printed: u64) -> MutexGuard<'_, ()> {
        let lock = &self.inserting[(printed % self.inserting.len() as u64) as usize];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweeper(&self) -> MutexGuard<'_, Sweeper> {
        self.sweeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what `keep` says, in the table and in the index.
    fn retain(&self, keep: impl Fn(&StoredKey, &AnyEntry) -> bool) {
        self.table.retain(|key, entry| {
            let stays = keep(key, entry);
            if !stays {
                self.index.remove(key);
            }
            stays
        });
    }

    fn sweep(&self, now: u64) -> Swept {
        let freed = AtomicU64::new(0);
        let next = AtomicU64::new(u64::MAX);
        self.retain(|_, entry| {
            let stays = now < entry.expires_at;
            if stays {
                next.fetch_min(entry.expires_at, Ordering::Relaxed);
            } else {
                freed.fetch_add(1, Ordering::Relaxed);
            }
            stays
        });
        let next = next.into_inner();
        Swept {
            freed: freed.into_inner(),
            next: (next != u64::MAX).then_some(next),
        }
    }
}

/// What a sweep did, and when the next entry expires.
struct Swept {
    freed: u64,
    next: Option<u64>,
}

/// What the sweeper thread and the store tell each other.
#[derive(Default)]
struct Sweeper {
    clock: Clock,
    /// When the next entry expires, as far as is known.
    next: Option<u64>,
    is_running: bool,
    is_closed: bool,
}

/// The least time between two sweeps, in milliseconds.
const SWEEP_INTERVAL: u64 = 1000;

/// A sweep walks over the whole table, so that it pauses this many times as long as it took.
const SWEEP_SHARE: u64 = 50;

/// Frees expired entries until the store is dropped or nothing in it expires any more.
fn run_sweeper(store: &Weak<Inner>) {
    let mut earliest = 0;
    while let Some(inner) = store.upgrade() {
        let changed = Arc::clone(&inner.changed);
        let mut sweeper = inner.sweeper();
        let Some(next) = sweeper.next.filter(|_| !sweeper.is_closed) else {
            sweeper.is_running = false;
            return;
        };
        let deadline = next.max(earliest);
        let clock = sweeper.clock.clone();
        if clock.now() < deadline {
            drop(clock.wait(sweeper, &changed, Some(deadline)));
            continue;
        }
        sweeper.next = None;
        drop(sweeper);

        let began = clock.now();
        let swept = inner.sweep(began);
        let ended = clock.now();
        earliest = ended + SWEEP_INTERVAL.max((ended - began).saturating_mul(SWEEP_SHARE));
        let mut sweeper = inner.sweeper();
        sweeper.next = match (sweeper.next, swept.next) {
            (Some(new), Some(old)) => Some(new.min(old)),
            (new, old) => new.or(old),
        };
    }
}

/// Finds keys by the hash of their printed form.
#[derive(Default)]
struct Index {
    rows: Mutex<HashTable<Arc<StoredKey>>>,
    evictions: AtomicU64,
}

impl Index {
    fn insert(&self, key: &Arc<StoredKey>) {
        let mut rows = self.rows();
        let same = |row: &Arc<StoredKey>| row.is(key);
        match rows.find_mut(key.printed, same) {
            Some(row) => *row = Arc::clone(key),
            None => {
                rows.insert_unique(key.printed, Arc::clone(key), |row| row.printed);
            }
        }
    }

    /// Removes the row of this very key, not of one that is equal and came later.
    fn remove(&self, key: &Arc<StoredKey>) {
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

/// Takes evicted keys out of the index, and drops their values when no lock is held.
#[derive(Clone)]
struct Evicted(Arc<Index>);

impl Lifecycle<Arc<StoredKey>, AnyEntry> for Evicted {
    type RequestState = Vec<AnyEntry>;

    fn on_evict(&self, dropped: &mut Vec<AnyEntry>, key: Arc<StoredKey>, entry: AnyEntry) {
        self.0.remove(&key);
        self.0.evictions.fetch_add(1, Ordering::Relaxed);
        dropped.push(entry);
    }
}

/// Weighs an entry so that one capacity holds both bounds: the larger of its share of the bytes
/// and its share of the entries, both scaled by the product of the bounds.
#[derive(Clone, Debug)]
struct Weigh {
    entries: u64,
    bytes: u64,
}

impl Weigh {
    /// Bounds are cut to what their product can be counted with.
    fn new(options: LocalOptions) -> Self {
        Self {
            entries: options.max_entries.clamp(1, 1 << 24),
            bytes: options.max_bytes.clamp(1, 1 << 38),
        }
    }

    fn capacity(&self) -> u64 {
        self.entries * self.bytes
    }
}

impl Weighter<Arc<StoredKey>, AnyEntry> for Weigh {
    fn weight(&self, _: &Arc<StoredKey>, entry: &AnyEntry) -> u64 {
        (entry.size as u64).saturating_mul(self.entries).max(self.bytes)
    }
}

/// Parts of the table that are locked by themselves. Each has its share of the capacity, so there
/// are few where the store is small: an entry of a sixteenth of the bytes can always be held.
fn shards(options: LocalOptions) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = (cores * 4).next_power_of_two().min(16);
    let fitting = (options.max_entries / 256).clamp(1, 16) as usize;
    wanted.min(fitting)
}

/// How many entries to expect, which sizes the table's memory of evicted keys.
fn estimated_items(options: LocalOptions) -> usize {
    usize::try_from(options.max_entries.clamp(1, 1 << 20)).unwrap_or(usize::MAX)
}

impl StoredKey {
    fn borrow(&self) -> LocalKey<'_> {
        LocalKey {
            space: self.space,
            bytes: &self.bytes,
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.space == other.space && self.bytes == other.bytes
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for StoredKey {}

impl Hash for LocalKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.space);
        state.write(self.bytes);
    }
}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrow().hash(state);
    }
}

impl Equivalent<Arc<StoredKey>> for LocalKey<'_> {
    fn equivalent(&self, key: &Arc<StoredKey>) -> bool {
        self.space == key.space && *self.bytes == *key.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    const BIG: LocalOptions = LocalOptions { max_entries: 10_000, max_bytes: 1 << 30 };

    fn key(bytes: &[u8]) -> LocalKey<'_> {
        LocalKey { space: 1, bytes }
    }

    fn entry(value: u64, expires_at: u64, size: usize) -> AnyEntry {
        Arc::new(LocalEntry { stored_at: 0, expires_at, size, value })
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
        store.insert(LocalKey { space: 2, bytes: b"a" }, 2, entry(2, u64::MAX, 1));
        assert_eq!(read(&store, b"a", 0), Some(1));
        assert_eq!(read(&store, b"aa", 0), None);
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn expired_entries_are_freed_without_being_read() {
        let (store, clock) = with_clock(BIG);
        for number in 0..100_u64 {
            store.insert(key(&number.to_be_bytes()), number, entry(number, 1000 + number, 1));
        }
        store.insert(key(b"stays"), 1000, entry(0, u64::MAX, 1));
        clock.advance(Duration::from_millis(1050));
        eventually(|| store.len() <= 50);
        clock.advance(Duration::from_secs(10));
        eventually(|| store.len() == 1);
        assert_eq!(store.0.index.rows().len(), 1);
        // The thread has gone, and a later entry starts another.
        eventually(|| !store.0.sweeper().is_running);
        let now = store.now();
        store.insert(key(b"later"), 2000, entry(0, now + 1, 1));
        clock.advance(Duration::from_secs(2));
        eventually(|| store.len() == 1);
    }

    #[test]
    fn the_sweeper_ends_with_its_store() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(1, 1_000_000, 1));
        let inner = Arc::downgrade(&store.0);
        drop(store);
        eventually(|| inner.strong_count() == 0);
    }

    #[test]
    fn an_entry_is_removed_by_its_printed_key() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 5, entry(1, u64::MAX, 1));
        store.insert(key(b"b"), 5, entry(2, u64::MAX, 1));
        assert!(!store.remove_printed(6, |_| true));
        assert!(store.remove_printed(5, |key| key.bytes.as_slice() == b"b"));
        assert_eq!((read(&store, b"a", 0), read(&store, b"b", 0)), (Some(1), None));
        assert!(store.remove(key(b"a")));
        assert!(!store.remove(key(b"a")));
        assert!(store.0.index.rows().is_empty());
    }

    #[test]
    fn a_replaced_entry_keeps_its_row_in_the_index() {
        let (store, _) = with_clock(BIG);
        store.insert(key(b"a"), 5, entry(1, u64::MAX, 1));
        store.insert(key(b"a"), 5, entry(2, u64::MAX, 1));
        assert_eq!((store.len(), read(&store, b"a", 0)), (1, Some(2)));
        assert_eq!(store.0.index.rows().len(), 1);
        assert!(store.remove_printed(5, |_| true));
        assert!(store.is_empty() && store.0.index.rows().is_empty());
    }

    #[test]
    fn only_live_entries_are_counted() {
        let (store, clock) = with_clock(BIG);
        store.insert(key(b"a"), 1, entry(1, 500, 1));
        store.insert(key(b"b"), 2, entry(2, u64::MAX, 1));
        clock.advance(Duration::from_millis(500));
        assert_eq!(store.remove_where(|_| true), 1);
        assert!(store.is_empty());
    }

    #[test]
    fn the_bound_on_entries_holds_and_is_used() {
        let (store, _) = with_clock(LocalOptions { max_entries: 1000, max_bytes: 1 << 30 });
        for number in 0..100_000_u64 {
            store.insert(key(&number.to_be_bytes()), number, entry(number, u64::MAX, 100));
            assert!(store.len() <= 1000);
        }
        assert!(store.len() >= 800, "{store:?}");
        assert_eq!(store.0.index.rows().len() as u64, store.len());
        assert_eq!(store.evictions(), 100_000 - store.len());
    }

    #[test]
    fn the_bound_on_bytes_holds_and_is_used() {
        let (store, _) = with_clock(LocalOptions { max_entries: 100_000, max_bytes: 1 << 20 });
        for number in 0..10_000_u64 {
            store.insert(key(&number.to_be_bytes()), number, entry(number, u64::MAX, 1000));
        }
        assert!(store.bytes() <= 1 << 20);
        assert!(store.bytes() >= 800 << 10, "{}", store.bytes());
        assert_eq!(store.0.index.rows().len() as u64, store.len());
    }

    #[test]
    fn an_entry_that_is_too_large_is_not_kept_nor_the_one_before_it() {
        let (store, _) = with_clock(LocalOptions { max_entries: 100, max_bytes: 1000 });
        store.insert(key(b"a"), 1, entry(1, u64::MAX, 10));
        store.insert(key(b"a"), 1, entry(2, u64::MAX, 1001));
        assert_eq!(read(&store, b"a", 0), None);
        assert!(store.is_empty() && store.0.index.rows().is_empty());
    }

    #[test]
    fn threads_leave_table_and_index_in_step() {
        let (store, _) = with_clock(LocalOptions { max_entries: 500, max_bytes: 1 << 30 });
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let store = &store;
                scope.spawn(move || {
                    for step in 0..20_000_u64 {
                        let number = step.wrapping_mul(thread * 2 + 1) % 1000;
                        let bytes = number.to_be_bytes();
                        match step % 7 {
                            0 => drop(store.remove(key(&bytes))),
                            1 => drop(store.get(key(&bytes), 0)),
                            _ => store.insert(key(&bytes), number, entry(number, u64::MAX, 10)),
                        }
                    }
                });
            }
        });
        assert!(store.len() <= 500);
        for number in 0..1000_u64 {
            let found = read(&store, &number.to_be_bytes(), 0);
            assert!(found.is_none_or(|found| found == number));
            let removed = store.remove_printed(number, |_| true);
            assert_eq!(removed, found.is_some());
        }
    }
}
