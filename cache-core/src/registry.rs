//! The process-wide cache, instances of it, and which of them is the current one.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::task::futures::TaskLocalFuture;

use crate::backend::DynBackend;
use crate::coder::RegisteredCoder;
use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
#[cfg(feature = "axum")]
use crate::http::InvalidSetting;
use crate::key::DynKeyBuilder;
use crate::stats::Stats;
use crate::tier::Change;

/// The cache of this process.
///
/// [`init`](Self::init) sets it up once, at start-up. The other functions act on the current
/// cache: the one whose [`scope`](Cache::scope) the caller is in, else the one of the process.
#[derive(Debug)]
pub struct FastCache;

static PROCESS: OnceCell<Cache> = OnceCell::new();

tokio::task_local! {
    static SCOPED: Cache;
}

/// A future whose current cache is another one than that of the process.
pub(crate) type Scoped<F> = TaskLocalFuture<Cache, F>;

/// Whether any cache was ever scoped. Most programs have none but that of the process, and need not look
/// for another one.
static HAS_SCOPES: AtomicBool = AtomicBool::new(false);

impl FastCache {
    /// Sets up the cache of this process.
    ///
    /// Until then, cached functions just run, with one warning each.
    ///
    /// # Errors
    ///
    /// [`InitError::AlreadyInitialized`] on the second call, which changes nothing, and those of
    /// [`Cache::try_new`].
    pub fn init(config: impl Into<Config>) -> Result<(), InitError> {
        let cache = Cache::try_new(config)?;
        PROCESS
            .set(cache)
            .map_err(|_| InitError::AlreadyInitialized)
    }

    /// The backend of the current cache; `None` if there is none.
    #[must_use]
    pub fn backend() -> Option<Arc<dyn DynBackend>> {
        with_current(|cache| cache.backend())
    }

    /// The prefix of the current cache; empty if there is none.
    #[must_use]
    pub fn prefix() -> String {
        with_current(|cache| cache.prefix().to_owned()).unwrap_or_default()
    }

    /// How long values live where the function does not say; `None` if they do not expire, or if
    /// there is no current cache.
    #[must_use]
    pub fn expire() -> Option<Duration> {
        with_current(Cache::expire).flatten()
    }

    /// The coder of functions that name none; `None` if there is no current cache.
    #[must_use]
    pub fn coder() -> Option<RegisteredCoder> {
        with_current(|cache| cache.coder().clone())
    }

    /// The key builder of functions that name none, if one is set.
    #[must_use]
    pub fn key_builder() -> Option<Arc<dyn DynKeyBuilder>> {
        with_current(Cache::key_builder).flatten()
    }

    /// The name of the response header that says `HIT` or `MISS`, in lowercase; `None` if there is
    /// no current cache.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn cache_status_header() -> Option<http::HeaderName> {
        with_current(|cache| cache.cache_status_header().clone())
    }

    /// Whether calls are cached; false if there is no current cache.
    #[must_use]
    pub fn is_enabled() -> bool {
        with_current(Cache::is_enabled).unwrap_or(false)
    }

    /// Switches the current cache on or off; see [`Cache::set_enabled`].
    pub fn set_enabled(enabled: bool) {
        with_current(|cache| cache.set_enabled(enabled));
    }

    /// Removes everything; see [`Cache::clear`].
    ///
    /// # Errors
    ///
    /// Those of the backend, and `NotInitialized`.
    pub async fn clear() -> Result<u64, Error> {
        Cache::try_current()?.clear().await
    }

    /// Removes what is in a namespace; see [`Cache::clear_namespace`].
    ///
    /// # Errors
    ///
    /// Those of the backend, and `NotInitialized`.
    pub async fn clear_namespace(namespace: &str) -> Result<u64, Error> {
        Cache::try_current()?.clear_namespace(namespace).await
    }

    /// Removes one entry by its printed key; see [`Cache::clear_key`].
    ///
    /// # Errors
    ///
    /// Those of the backend, and `NotInitialized`.
    pub async fn clear_key(key: &str) -> Result<u64, Error> {
        Cache::try_current()?.clear_key(key).await
    }

    /// Invalidates what is under a tag; see [`Cache::clear_tag`].
    ///
    /// # Errors
    ///
    /// Those of the backend, and `NotInitialized`.
    pub async fn clear_tag(tag: &str) -> Result<u64, Error> {
        Cache::try_current()?.clear_tag(tag).await
    }

    /// The counters of the current cache; all zero if there is none.
    #[must_use]
    pub fn stats() -> Stats {
        with_current(Cache::stats).unwrap_or_default()
    }
}

/// A cache: a backend and settings, shared by cloning.
///
/// Most programs have only the one of [`FastCache::init`]. Tests make their own, and
/// [`scope`](Self::scope) it around the code under test:
///
/// ```
/// # #[derive(Default)] struct Map;
/// # impl fast_cache_core::Backend for Map {
/// #     async fn get(&self, _: &str) -> Result<Option<bytes::Bytes>, fast_cache_core::Error> { Ok(None) }
/// #     async fn set(&self, _: &str, _: bytes::Bytes, _: Option<std::time::Duration>) -> Result<(), fast_cache_core::Error> { Ok(()) }
/// #     async fn replace(&self, _: &str, _: Option<&[u8]>, _: bytes::Bytes, _: Option<std::time::Duration>) -> Result<bool, fast_cache_core::Error> { Ok(true) }
/// #     async fn clear(&self, _: &str) -> Result<u64, fast_cache_core::Error> { Ok(0) }
/// # }
/// use fast_cache_core::{Cache, Config, FastCache};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let cache = Cache::new(Config::new(Map).prefix("test"));
/// let prefix = cache.scope(async { FastCache::prefix() }).await;
/// assert_eq!(prefix, "test");
/// # });
/// ```
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

/// A cache that does not live for this.
#[derive(Clone, Debug)]
pub(crate) struct WeakCache(Weak<Shared>);

impl WeakCache {
    pub(crate) fn upgrade(&self) -> Option<Cache> {
        self.0.upgrade().map(Cache)
    }
}

struct Shared {
    engine: Engine,
    key_builder: Option<Arc<dyn DynKeyBuilder>>,
    enabled: AtomicBool,
    #[cfg(feature = "axum")]
    http: crate::http::HttpSettings,
    #[cfg(feature = "axum")]
    fills: crate::serve::Fills,
}

impl Cache {
    /// Makes a cache.
    ///
    /// # Panics
    ///
    /// If a setting cannot be, such as a status header whose name is no header name;
    /// [`try_new`](Self::try_new) returns that as an error.
    pub fn new(config: impl Into<Config>) -> Self {
        match Self::try_new(config) {
            Ok(cache) => cache,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes a cache, or says what is wrong with its settings.
    ///
    /// # Errors
    ///
    /// [`InitError::TooLong`] for a setting of time that makes no sense, [`InitError::StatusHeader`] for a name that is no header name, and [`InitError::CacheControl`] for a text that is
    /// no list of directives.
    pub fn try_new(config: impl Into<Config>) -> Result<Self, InitError> {
        let config = config.into();
        config.check()?;
        #[cfg(feature = "axum")]
        let http = config.http.clone().check()?;
        Ok(Self(Arc::new_cyclic(|shared| Shared {
            #[cfg(feature = "axum")]
            http,
            #[cfg(feature = "axum")]
            fills: crate::serve::Fills::default(),
            key_builder: config.key_builder.clone(),
            enabled: AtomicBool::new(config.enabled),
            engine: Engine::new(config, WeakCache(shared.clone())),
        })))
    }

    /// The current cache: the innermost scope's, else the process's; `None` before
    /// [`FastCache::init`].
    #[must_use]
    pub fn current() -> Option<Self> {
        with_current(Self::clone)
    }

    /// Makes this cache the current one for `future` and for all that it awaits.
    ///
    /// A task spawned inside starts without it: take it along with
    /// `Cache::current()` and another `scope`.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.scoped(future)
    }

    /// As [`scope`](Self::scope), with a type that can be named.
    pub(crate) fn scoped<F: Future>(&self, future: F) -> Scoped<F> {
        HAS_SCOPES.store(true, Ordering::Relaxed);
        SCOPED.scope(self.clone(), future)
    }

    /// Makes this cache the current one for a function that runs to its end on this thread.
    pub(crate) fn enter<T>(&self, function: impl FnOnce() -> T) -> T {
        HAS_SCOPES.store(true, Ordering::Relaxed);
        SCOPED.sync_scope(self.clone(), function)
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn DynBackend> {
        self.engine().backend()
    }

    /// What every key starts with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.engine().prefix()
    }

    /// How long values live where the function does not say; `None` if they do not expire.
    #[must_use]
    pub fn expire(&self) -> Option<Duration> {
        self.engine().expire()
    }

    /// The coder of functions that name none.
    #[must_use]
    pub fn coder(&self) -> &RegisteredCoder {
        self.engine().coder()
    }

    /// The key builder of functions that name none, if one is set.
    #[must_use]
    pub fn key_builder(&self) -> Option<Arc<dyn DynKeyBuilder>> {
        self.0.key_builder.clone()
    }

    /// The name of the response header that says `HIT` or `MISS`, in lowercase.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn cache_status_header(&self) -> &http::HeaderName {
        &self.0.http.status_header
    }

    /// Whether calls are cached.
    #[must_use]
    #[inline]
    pub fn is_enabled(&self) -> bool {
        self.0.enabled.load(Ordering::Relaxed)
    }

    /// Switches caching on or off. While it is off, functions just run; what is stored stays, and
    /// is served again afterwards if it has not expired.
    pub fn set_enabled(&self, enabled: bool) {
        self.0.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Removes everything that this cache's prefix covers, and counts it.
    ///
    /// What is being computed at that moment is not served. A shared store takes one write, whatever
    /// there is; when this returns, every process has noticed, which takes the
    /// [`invalidation_delay`](Config::invalidation_delay). A store that cannot list its keys counts 0.
    ///
    /// # Errors
    ///
    /// Those of the backend.
    ///
    /// # Panics
    ///
    /// For a shared store, outside of a Tokio runtime whose time is enabled.
    pub async fn clear(&self) -> Result<u64, Error> {
        self.engine().invalidate(Change::Cache).await
    }

    /// Removes exactly what is in `namespace`, and counts it: clearing `users` leaves `users2`.
    ///
    /// What is being computed in it at that moment is not served. A shared store takes one write,
    /// as for [`clear`](Self::clear).
    ///
    /// # Errors
    ///
    /// Those of the backend.
    ///
    /// # Panics
    ///
    /// For a shared store, outside of a Tokio runtime whose time is enabled.
    pub async fn clear_namespace(&self, namespace: &str) -> Result<u64, Error> {
        let change = Change::Namespace(namespace.to_owned());
        self.engine().invalidate(change).await
    }

    /// Removes one entry by its printed key, as [`CacheEntry::key`](crate::CacheEntry::key) and
    /// logs show it, and counts it: 1, or 0 if there was none.
    ///
    /// If it is being computed at that moment, it is not stored.
    ///
    /// # Errors
    ///
    /// Those of the backend.
    pub async fn clear_key(&self, key: &str) -> Result<u64, Error> {
        self.engine().clear_key(key).await
    }

    /// Invalidates what was stored under `tag`, in one step whatever there is, and counts it: values
    /// in this process alone, with those that have ended before and are not freed yet. A shared store,
    /// which does not know what is under a tag, counts 0.
    ///
    /// Functions put values under tags by `tags("user:{id}")`, and handlers also by
    /// `CacheResponse::tag`. What is being computed at that moment is not served afterwards. A shared
    /// store takes three small writes; when this returns, every process has noticed, as for
    /// [`clear`](Self::clear).
    ///
    /// # Errors
    ///
    /// Those of the backend.
    ///
    /// # Panics
    ///
    /// For a shared store, outside of a Tokio runtime whose time is enabled.
    pub async fn clear_tag(&self, tag: &str) -> Result<u64, Error> {
        self.engine().invalidate(Change::Tag(tag.to_owned())).await
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    pub(crate) fn try_current() -> Result<Self, Error> {
        Self::current().ok_or_else(Error::not_initialized)
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    #[inline]
    pub(crate) fn key_builder_ref(&self) -> Option<&Arc<dyn DynKeyBuilder>> {
        self.0.key_builder.as_ref()
    }

    /// The responses whose bodies are on their way.
    #[cfg(feature = "axum")]
    pub(crate) fn fills(&self) -> &crate::serve::Fills {
        &self.0.fills
    }

    #[cfg(feature = "axum")]
    pub(crate) fn http(&self) -> &crate::http::HttpSettings {
        &self.0.http
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("prefix", &self.prefix())
            .field("expire", &self.expire())
            .field("coder", self.coder())
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

/// Why a cache could not be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitError {
    /// [`FastCache::init`] was called before; the first call stays in force.
    AlreadyInitialized,
    /// The name of the status header, given here, is no HTTP header name.
    StatusHeader(String),
    /// The text of `Config::cache_control`, given here, is no list of directives.
    CacheControl(String),
    /// The duration of this setting is longer than a day, which no cache waits for.
    TooLong(&'static str),
}

#[cfg(feature = "axum")]
impl From<InvalidSetting> for InitError {
    fn from(invalid: InvalidSetting) -> Self {
        match invalid {
            InvalidSetting::StatusHeader(name) => Self::StatusHeader(name),
            InvalidSetting::CacheControl(text) => Self::CacheControl(text),
        }
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyInitialized => f.write_str(
                "the cache is initialized already: call `FastCache::init` once, or use \
                 `Cache::new` for a second cache",
            ),
            Self::StatusHeader(name) => {
                write!(
                    f,
                    "the status header {name:?} is not a valid HTTP header name"
                )
            }
            Self::TooLong(setting) => {
                write!(
                    f,
                    "`Config::{setting}` is longer than a day: give a shorter duration"
                )
            }
            Self::CacheControl(text) => write!(
                f,
                "{text:?} is not a valid Cache-Control: write directives such as \"no-cache\" or \
                 \"max-age=60\", with commas between them"
            ),
        }
    }
}

impl StdError for InitError {}

/// Runs `f` on the current cache, without taking a share in it.
#[inline]
pub(crate) fn with_current<T>(f: impl FnOnce(&Cache) -> T) -> Option<T> {
    // A scope that this thread, or one that handed its work to this thread, has entered is seen here.
    if !HAS_SCOPES.load(Ordering::Relaxed) {
        return PROCESS.get().map(f);
    }
    let mut f = Some(f);
    let scoped = SCOPED.try_with(|cache| f.take().map(|f| f(cache)));
    if let Ok(result) = scoped {
        return result;
    }
    let f = f?;
    PROCESS.get().map(f)
}
