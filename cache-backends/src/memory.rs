//! Values in this process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fast_cache_core::local::{LocalEntry, LocalKey, LocalOptions, LocalStore, UNPRINTED};
use fast_cache_core::{Backend, Error, TOMBSTONE_BYTES};

/// Values in this process: typed, bounded, and never encoded.
///
/// A hit clones the value. The store holds at most [`max_entries`](Self::max_entries) and about
/// [`max_bytes`](Self::max_bytes), and gives up what is used least; expired entries are freed
/// within about a second, whether anybody reads them or not. Lifetimes are exact to the
/// millisecond.
///
/// ```
/// use fast_cache_backends::InMemoryBackend;
///
/// let backend = InMemoryBackend::new().max_entries(10_000).max_bytes(64 << 20);
/// assert!(backend.is_empty());
/// ```
pub struct InMemoryBackend {
    options: LocalOptions,
    store: LocalStore,
    /// Held while bytes are written, so that [`Backend::replace`] is one step. Typed values, which
    /// are all that the engine writes here, do without.
    writing: Mutex<()>,
}

/// The space of keys that are text already. The engine's own spaces have owners, which are
/// numbered from 1, so the two never meet.
const TEXTS: u64 = 0;

impl InMemoryBackend {
    /// A store of at most 100,000 entries and 256 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(LocalOptions {
            max_entries: 100_000,
            max_bytes: 256 << 20,
        })
    }

    /// Sets how many entries the store holds at most. What it holds already is dropped.
    #[must_use]
    pub fn max_entries(self, entries: u64) -> Self {
        Self::with_options(LocalOptions {
            max_entries: entries,
            ..self.options
        })
    }

    /// Sets about how many bytes the entries take at most, keys and bookkeeping included. What the
    /// store holds already is dropped.
    ///
    /// A value is measured by what serde writes of it; spare capacity and shared allocations are
    /// not seen.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        Self::with_options(LocalOptions {
            max_bytes: bytes,
            ..self.options
        })
    }

    /// How many entries there are, among them expired ones that are not freed yet.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.store.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the entries take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    fn with_options(options: LocalOptions) -> Self {
        Self {
            store: LocalStore::new(options),
            writing: Mutex::default(),
            options,
        }
    }

    fn read(&self, key: &str) -> Option<Bytes> {
        let entry = self.store.get(text(key), self.store.now())?;
        entry.value.downcast_ref::<Bytes>().cloned()
    }

    fn insert(&self, key: &str, value: Bytes, expire: Option<Duration>) {
        let size = key.len() + value.len();
        let entry = LocalEntry::new(self.store.now(), expire, size, value);
        drop(self.store.insert(text(key), UNPRINTED, Arc::new(entry)));
    }
}

impl Default for InMemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for InMemoryBackend {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        Ok(self.read(key))
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(key, value, expire);
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_seen = |there: Bytes| seen.is_some_and(|seen| there.starts_with(seen));
        let stores = self.read(key).is_none_or(is_seen);
        if stores {
            self.insert(key, value, expire);
        }
        Ok(stores)
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let freed = self
            .store
            .take_where(|key| key.space() == TEXTS && key.bytes().starts_with(prefix.as_bytes()));
        let values = freed
            .iter()
            .filter_map(|entry| entry.value.downcast_ref::<Bytes>());
        Ok(values.filter(|value| value.len() > TOMBSTONE_BYTES).count() as u64)
    }

    fn local(&self) -> Option<&LocalStore> {
        Some(&self.store)
    }
}

impl fmt::Debug for InMemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryBackend")
            .field("max_entries", &self.options.max_entries)
            .field("max_bytes", &self.options.max_bytes)
            .field("entries", &self.len())
            .finish()
    }
}

fn text(key: &str) -> LocalKey<'_> {
    LocalKey::new(TEXTS, key.as_bytes())
}
