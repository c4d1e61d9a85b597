//! What a cache has done so far.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::breaker::BreakerState;
use crate::error::ErrorKind;
use crate::site::{self, Site};

/// A snapshot of a cache's counters, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were answered from the cache: from this process, from a shared store, or by what
    /// another call computed.
    pub hits: u64,
    /// Hits on values in this process.
    pub local_hits: u64,
    /// Hits on values in a shared store.
    pub remote_hits: u64,
    /// Calls that waited for the computation of another call, and were answered by its value.
    pub coalesced: u64,
    /// Calls that were answered by a stale value; they count as hits too.
    pub stale_hits: u64,
    /// Calls that were computed because the cache had no usable entry.
    pub misses: u64,
    /// Computations that were begun, refreshes included.
    pub computes: u64,
    /// Computations that were begun while the old value was served.
    pub refreshes: u64,
    /// Calls that waited for the computation of another process, whether or not its value came.
    pub lock_waits: u64,
    /// Values that were stored.
    pub stored: u64,
    /// Values that were computed but not stored: they were invalidated meanwhile, another process
    /// stored one first, or the computation took too long to tell.
    pub invalidated: u64,
    /// Arguments that could not be made part of a key; such calls are not cached.
    pub key_errors: u64,
    /// Values that could not be encoded.
    pub encode_errors: u64,
    /// Entries that could not be used: they did not decode, or were written under another coder,
    /// version or type. Each was a miss, and was overwritten.
    pub decode_errors: u64,
    /// Operations that the backend did not carry out.
    pub backend_errors: u64,
    /// Computations that took longer than they may.
    pub timeouts: u64,
    /// Lookups that left a backend alone that had kept failing.
    pub skipped: u64,
    /// Whether calls reach the backend.
    pub breaker: BreakerState,
    /// Entries in the local store; 0 for a backend that has none.
    pub entries: u64,
    /// About how many bytes the entries in the local store take.
    pub bytes: u64,
    /// Entries that the local store gave up to stay within its bounds.
    pub evictions: u64,
    /// The same for each function that was called, in the order of their first calls.
    pub functions: Vec<FunctionStats>,
}

/// A snapshot of the counters of one function, which mean what they mean in [`Stats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are described once, in `Stats`")]
pub struct FunctionStats {
    /// The function, as `module::name`; empty for what could not be told apart.
    pub function: String,
    pub hits: u64,
    pub local_hits: u64,
    pub remote_hits: u64,
    pub coalesced: u64,
    pub stale_hits: u64,
    pub misses: u64,
    pub computes: u64,
    pub refreshes: u64,
    pub lock_waits: u64,
    pub stored: u64,
    pub invalidated: u64,
    /// Errors of any kind.
    pub errors: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    functions: Functions,
    key_errors: AtomicU64,
    encode_errors: AtomicU64,
    decode_errors: AtomicU64,
    backend_errors: AtomicU64,
    timeouts: AtomicU64,
    skipped: AtomicU64,
}

/// The counters of one function. Functions have their own, so that threads that call different ones
/// do not write to the same place.
#[derive(Debug, Default)]
pub(crate) struct FunctionCounters {
    local_hits: Striped,
    remote_hits: AtomicU64,
    coalesced: AtomicU64,
    stale_hits: AtomicU64,
    misses: AtomicU64,
    computes: AtomicU64,
    refreshes: AtomicU64,
    lock_waits: AtomicU64,
    stored: AtomicU64,
    invalidated: AtomicU64,
    errors: AtomicU64,
}

/// A counter that threads write to in places of their own. The first threads that do have one each, which nobody
/// else writes to; those that come later share the last one.
#[derive(Debug, Default)]
struct Striped([Stripe; STRIPES]);

/// Alone in its line of memory.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

const STRIPES: usize = 8;

impl Striped {
    /// Counts one, and gives how many there were before in this thread's place.
    #[inline]
    fn add(&self) -> u64 {
        let own = own_stripe();
        let Some(Stripe(counter)) = self.0[..STRIPES - 1].get(own) else {
            return add(&self.0[STRIPES - 1].0);
        };
        // No other thread writes here, so that nothing is lost between the two.
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + 1, Ordering::Relaxed);
        before
    }
}

/// The number of this thread among those that count, from 0.
#[inline]
fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        own.get()
    })
}

/// The counters of all functions, by their numbers, in chunks that are made when they are needed and
/// never move.
#[derive(Debug)]
struct Functions([OnceLock<Box<Chunk>>; CHUNKS]);

type Chunk = [FunctionCounters; CHUNK];

const CHUNKS: usize = 64;
const CHUNK: usize = 64;

/// Where a hit came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This process.
    Local,
    /// A shared store.
    Remote,
    /// Another call.
    Flight,
}

impl FunctionCounters {
    /// Counts a hit in this process, and gives how many there were before in this thread, or some of them.
    #[inline]
    pub(crate) fn local_hit(&self) -> u64 {
        self.local_hits.add()
    }

    /// Counts a hit.
    pub(crate) fn hit(&self, origin: Origin) {
        match origin {
            Origin::Local => self.local_hit(),
            Origin::Remote => add(&self.remote_hits),
            Origin::Flight => add(&self.coalesced),
        };
    }

    /// A hit was on a stale value.
    pub(crate) fn stale(&self) {
        add(&self.stale_hits);
    }

    pub(crate) fn miss(&self) {
        add(&self.misses);
    }

    pub(crate) fn compute(&self) {
        add(&self.computes);
    }

    pub(crate) fn refresh(&self) {
        add(&self.refreshes);
    }

    pub(crate) fn lock_wait(&self) {
        add(&self.lock_waits);
    }

    pub(crate) fn stored(&self) {
        add(&self.stored);
    }

    pub(crate) fn invalidated(&self) {
        add(&self.invalidated);
    }

    fn snapshot(&self, function: String) -> FunctionStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let local_hits = self.local_hits.0.iter().map(|stripe| read(&stripe.0)).sum();
        let [remote_hits, coalesced] = [&self.remote_hits, &self.coalesced].map(read);
        FunctionStats {
            function,
            hits: local_hits + remote_hits + coalesced,
            local_hits,
            remote_hits,
            coalesced,
            stale_hits: read(&self.stale_hits),
            misses: read(&self.misses),
            computes: read(&self.computes),
            refreshes: read(&self.refreshes),
            lock_waits: read(&self.lock_waits),
            stored: read(&self.stored),
            invalidated: read(&self.invalidated),
            errors: read(&self.errors),
        }
    }
}

impl Counters {
    /// The counters of a function. Those that cannot be told apart share the first ones.
    #[inline]
    pub(crate) fn of(&self, site: &Site) -> &FunctionCounters {
        self.functions.get(site.number())
    }

    /// Counts an error, and tells whether to log it: the first of its kind, and then ever more
    /// rarely, so that an outage does not flood the log. What a breaker holds back is not logged.
    pub(crate) fn error(&self, site: &Site, kind: ErrorKind) -> bool {
        let counter = match kind {
            ErrorKind::Key => &self.key_errors,
            ErrorKind::Encode => &self.encode_errors,
            ErrorKind::Decode => &self.decode_errors,
            ErrorKind::BreakerOpen => {
                add(&self.skipped);
                return false;
            }
            ErrorKind::Late => &self.of(site).invalidated,
            ErrorKind::Timeout => &self.timeouts,
            ErrorKind::Backend | ErrorKind::NotInitialized => &self.backend_errors,
        };
        add(&self.of(site).errors);
        (add(counter) + 1).is_power_of_two()
    }

    /// Counts an operation that the backend did not carry out, of no function.
    pub(crate) fn failed(&self) {
        add(&self.backend_errors);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let functions = self.functions.snapshot();
        let sum = |part: fn(&FunctionStats) -> u64| functions.iter().map(part).sum();
        Stats {
            hits: sum(|function| function.hits),
            local_hits: sum(|function| function.local_hits),
            remote_hits: sum(|function| function.remote_hits),
            coalesced: sum(|function| function.coalesced),
            stale_hits: sum(|function| function.stale_hits),
            misses: sum(|function| function.misses),
            computes: sum(|function| function.computes),
            refreshes: sum(|function| function.refreshes),
            lock_waits: sum(|function| function.lock_waits),
            stored: sum(|function| function.stored),
            invalidated: sum(|function| function.invalidated),
            key_errors: read(&self.key_errors),
            encode_errors: read(&self.encode_errors),
            decode_errors: read(&self.decode_errors),
            backend_errors: read(&self.backend_errors),
            timeouts: read(&self.timeouts),
            skipped: read(&self.skipped),
            functions,
            ..Stats::default()
        }
    }
}

impl Functions {
    #[inline]
    fn get(&self, number: u32) -> &FunctionCounters {
        let number = number as usize;
        let number = if number < CHUNKS * CHUNK { number } else { 0 };
        let chunk = self.0[number / CHUNK].get_or_init(|| {
            let counters = std::iter::repeat_with(FunctionCounters::default).take(CHUNK);
            let counters: Box<[FunctionCounters]> = counters.collect();
            counters
                .try_into()
                .unwrap_or_else(|_| unreachable!("a chunk is as long as it says"))
        });
        &chunk[number % CHUNK]
    }

    /// The functions that were called.
    fn snapshot(&self) -> Vec<FunctionStats> {
        let chunks = self.0.iter().zip((0_u32..).step_by(CHUNK));
        let counters = chunks.filter_map(|(chunk, first)| Some((chunk.get()?, first)));
        let numbered = counters.flat_map(|(chunk, first)| (first..).zip(chunk.iter()));
        let all = numbered.map(|(number, counters)| counters.snapshot(site::name(number)));
        let untouched = |stats: &FunctionStats| {
            let function = stats.function.clone();
            *stats
                == FunctionStats {
                    function,
                    ..FunctionStats::default()
                }
        };
        all.filter(|stats| !untouched(stats)).collect()
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self([const { OnceLock::new() }; CHUNKS])
    }
}

#[inline]
fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}
