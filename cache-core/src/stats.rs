//! What a cache has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::breaker::BreakerState;
use crate::error::ErrorKind;

/// A snapshot of a cache's counters, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were answered from the cache.
    pub hits: u64,
    /// Calls that were computed because the cache had no usable entry.
    pub misses: u64,
    /// Calls that waited for the computation of another call, and were answered by its value; they
    /// count as hits too.
    pub coalesced: u64,
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
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    lock_waits: AtomicU64,
    stored: AtomicU64,
    invalidated: AtomicU64,
    key_errors: AtomicU64,
    encode_errors: AtomicU64,
    decode_errors: AtomicU64,
    backend_errors: AtomicU64,
    skipped: AtomicU64,
}

impl Counters {
    #[inline]
    pub(crate) fn hit(&self) {
        add(&self.hits);
    }

    pub(crate) fn miss(&self) {
        add(&self.misses);
    }

    pub(crate) fn coalesced(&self) {
        add(&self.coalesced);
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

    /// Counts an error, and tells whether to log it: the first of its kind, and then ever more
    /// rarely, so that an outage does not flood the log. What a breaker holds back is not logged.
    pub(crate) fn error(&self, kind: ErrorKind) -> bool {
        let counter = match kind {
            ErrorKind::Key => &self.key_errors,
            ErrorKind::Encode => &self.encode_errors,
            ErrorKind::Decode => &self.decode_errors,
            ErrorKind::BreakerOpen => {
                add(&self.skipped);
                return false;
            }
            ErrorKind::Late => &self.invalidated,
            ErrorKind::Backend | ErrorKind::NotInitialized => &self.backend_errors,
        };
        (add(counter) + 1).is_power_of_two()
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: read(&self.hits),
            misses: read(&self.misses),
            coalesced: read(&self.coalesced),
            lock_waits: read(&self.lock_waits),
            stored: read(&self.stored),
            invalidated: read(&self.invalidated),
            key_errors: read(&self.key_errors),
            encode_errors: read(&self.encode_errors),
            decode_errors: read(&self.decode_errors),
            backend_errors: read(&self.backend_errors),
            skipped: read(&self.skipped),
            ..Stats::default()
        }
    }
}

fn add(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}
