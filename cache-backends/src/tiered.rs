//! Typed values in this process, in front of a store that others share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fast_cache_core::local::{LocalOptions, LocalStore};
use fast_cache_core::{Backend, Bus, Error};

/// Two tiers: values in this process, as they are, in front of any backend that others share.
///
/// A hit here costs what a hit in memory costs. A miss looks into the shared store before it computes;
/// what is computed goes into both.
///
/// What another process invalidates or overwrites is dropped here as soon as its message comes, within
/// milliseconds, where the remote backend has a [`Bus`]. Redis has one. While messages do not come,
/// every lookup asks the remote backend, and when they come again, everything that is held here is
/// dropped. A message that is lost on its way, as between servers of a Redis cluster that cannot reach each
/// other, leaves a value out of date for the [`local_expire`](Self::local_expire) at most, which is 60 seconds
/// by default. Where the remote backend has no bus, as is so for Memcached and DynamoDB, that is the rule, and it
/// is one second by default. Every process that shares the store and invalidates has to use two tiers too, so
/// that it sends messages.
///
/// While the remote backend fails, what is held here serves on until it expires, and what is computed
/// is held here. Invalidations that did not reach the remote backend return their error, and are
/// repeated in the background until they have.
///
/// ```
/// use std::time::Duration;
/// use fast_cache_backends::TieredBackend;
/// # use fast_cache_core::{Backend, Cache, Config};
///
/// # fn set_up(redis: impl Backend) {
/// let backend = TieredBackend::new(redis)
///     .local_expire(Duration::from_secs(30))
///     .max_entries(50_000);
/// let cache = Cache::new(Config::new(backend).expire(Duration::from_secs(600)));
/// # }
/// ```
pub struct TieredBackend<B> {
    remote: B,
    local: LocalStore,
    options: LocalOptions,
    local_expire: Duration,
}

impl<B: Backend> TieredBackend<B> {
    /// Puts values in this process in front of `remote`: at most 10,000 entries and 64 MiB, relied on
    /// for 60 seconds if `remote` has a bus, and for one second if it has none.
    #[must_use]
    pub fn new(remote: B) -> Self {
        let options = LocalOptions {
            max_entries: 10_000,
            max_bytes: 64 << 20,
        };
        let local_expire = match remote.bus() {
            Some(_) => Duration::from_secs(60),
            None => Duration::from_secs(1),
        };
        Self::build(remote, options, local_expire)
    }

    /// Sets for how long a value is served from this process before the remote backend is asked again,
    /// at most; it is never served for longer than it is fresh.
    #[must_use]
    pub fn local_expire(self, expire: Duration) -> Self {
        Self::build(self.remote, self.options, expire)
    }

    /// Sets how many entries are held in this process at most.
    #[must_use]
    pub fn max_entries(self, entries: u64) -> Self {
        let options = LocalOptions {
            max_entries: entries,
            ..self.options
        };
        Self::build(self.remote, options, self.local_expire)
    }

    /// Sets how many bytes the entries in this process take at most.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        let options = LocalOptions {
            max_bytes: bytes,
            ..self.options
        };
        Self::build(self.remote, options, self.local_expire)
    }

    /// The remote backend.
    pub fn remote(&self) -> &B {
        &self.remote
    }

    fn build(remote: B, options: LocalOptions, local_expire: Duration) -> Self {
        Self {
            remote,
            local: LocalStore::new(options).in_front(local_expire),
            options,
            local_expire,
        }
    }
}

impl<B: Backend> Backend for TieredBackend<B> {
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send {
        self.remote.get(key)
    }

    fn set(
        &self,
        key: &str,
        value: Bytes,
        expire: Option<Duration>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.remote.set(key, value, expire)
    }

    fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        self.remote.replace(key, seen, value, expire)
    }

    fn clear(&self, prefix: &str) -> impl Future<Output = Result<u64, Error>> + Send {
        self.remote.clear(prefix)
    }

    fn local(&self) -> Option<&LocalStore> {
        Some(&self.local)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        self.remote.bus()
    }
}

impl<B: fmt::Debug> fmt::Debug for TieredBackend<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredBackend")
            .field("remote", &self.remote)
            .field("local", &self.local)
            .field("local_expire", &self.local_expire)
            .finish()
    }
}
