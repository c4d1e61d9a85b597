//! How a cache is set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, DynBackend};
use crate::clock::Clock;
use crate::coder::{Coder, RegisteredCoder};
use crate::key::{DynKeyBuilder, KeyBuilder, erase_key_builder};
use crate::policy::Policy;
use crate::registry::InitError;

/// The settings of a cache: a backend, and the defaults of every function.
///
/// Any [`Backend`] converts into one, so `FastCache::init(InMemoryBackend::new())` is enough to
/// begin with.
#[derive(Clone)]
pub struct Config {
    pub(crate) backend: Arc<dyn DynBackend>,
    pub(crate) prefix: String,
    pub(crate) expire: Option<Duration>,
    pub(crate) coder: RegisteredCoder,
    pub(crate) key_builder: Option<Arc<dyn DynKeyBuilder>>,
    pub(crate) enabled: bool,
    pub(crate) invalidation_delay: Duration,
    pub(crate) coalesce: bool,
    pub(crate) patience: Duration,
    pub(crate) lock: bool,
    pub(crate) lease: Duration,
    pub(crate) breaker: (u32, Duration),
    pub(crate) policy: Policy,
    pub(crate) max_refreshes: usize,
    pub(crate) retry_delay: Duration,
    pub(crate) clock: Clock,
    #[cfg(feature = "axum")]
    pub(crate) http: crate::http::HttpConfig,
}

impl Config {
    /// Settings with this backend, and otherwise the defaults that each method names.
    pub fn new(backend: impl Backend) -> Self {
        Self {
            backend: Arc::new(backend),
            prefix: String::new(),
            expire: None,
            coder: default_coder(),
            key_builder: None,
            enabled: true,
            invalidation_delay: Duration::from_millis(100),
            coalesce: true,
            patience: Duration::from_secs(1),
            lock: false,
            lease: Duration::from_secs(10),
            breaker: (5, Duration::from_secs(1)),
            policy: Policy::NONE,
            max_refreshes: 64,
            retry_delay: Duration::from_secs(1),
            clock: Clock::system(),
            #[cfg(feature = "axum")]
            http: crate::http::HttpConfig::default(),
        }
    }

    /// Sets what every key starts with; empty by default.
    ///
    /// Applications that share a store need different ones. A `:` in it is escaped, so that
    /// clearing `shop` never clears `shop:admin`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long values live where the function does not say; by default they do not expire.
    ///
    /// Precise to the millisecond. With zero, nothing is stored.
    #[must_use]
    pub fn expire(mut self, expire: Duration) -> Self {
        self.expire = Some(expire);
        self
    }

    /// Sets the coder of functions that name none; `Json` by default.
    #[must_use]
    pub fn coder<C: Coder>(mut self, _coder: C) -> Self {
        self.coder = RegisteredCoder::new::<C>();
        self
    }

    /// Sets the key builder of functions that have neither `key` nor `key_builder`; by default
    /// keys are digests of the function and its arguments.
    #[must_use]
    pub fn key_builder<M: 'static>(mut self, builder: impl KeyBuilder<M>) -> Self {
        self.key_builder = Some(erase_key_builder(builder));
        self
    }

    /// Sets whether calls are cached at all; true by default.
    ///
    /// See [`Cache::set_enabled`](crate::Cache::set_enabled) for switching at run time.
    #[must_use]
    pub fn enable(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets whether calls of one key that miss at once share one computation; true by default.
    ///
    /// The first call computes, and those that come meanwhile wait and get its value. If it is
    /// dropped or panics, the next one computes. An `Err`, and what `cache_if` turns down, is shared
    /// with nobody: those who waited then compute at once, each for itself. A function decides for
    /// itself by `coalesce = false`.
    #[must_use]
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// Sets whether processes that share a store and miss on one key at once share one computation, as
    /// calls in one process do; false by default. A function decides for itself by `lock`.
    ///
    /// The first to miss takes a lease in the store, and the others look for its value now and then,
    /// every 100 milliseconds at most. It costs two more round trips a miss. Where the lease cannot be
    /// had, because the store is down or the one who has it takes longer than the
    /// [`lease`](Self::lease), everybody computes.
    #[must_use]
    pub fn lock(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }

    /// Sets how long a process that computes under a [`lock`](Self::lock) keeps the others waiting at
    /// most, also one that dies meanwhile; 10 seconds by default. It should be longer than
    /// computations take.
    #[must_use]
    pub fn lease(mut self, length: Duration) -> Self {
        self.lease = length;
        self
    }

    /// Sets after how many failures in a row a shared store is left alone, and for how long; 5 failures
    /// and one second by default. With 0 failures it is always asked.
    ///
    /// Meanwhile calls compute at once, instead of waiting for the store's timeout first; then one of
    /// them tries whether it is back. Invalidations are tried in any case.
    #[must_use]
    pub fn breaker(mut self, failures: u32, cooldown: Duration) -> Self {
        self.breaker = (failures, cooldown);
        self
    }

    /// Sets for how long after its lifetime a value is still served, at once, while it is computed anew;
    /// by default not at all. A function decides for itself by `stale_while_revalidate = ..`.
    ///
    /// One computation runs for each key. It runs in the background where the function says so itself
    /// and owns its arguments, and for handlers; else in one of the callers, while the others are
    /// served.
    #[must_use]
    pub fn stale_while_revalidate(mut self, duration: Duration) -> Self {
        self.policy.stale_while_revalidate = Some(duration);
        self
    }

    /// Sets for how long after its lifetime a value stands in for a computation that fails: by an
    /// `Err`, by a response whose status is 500, 502, 503 or 504, or by a panic; by default not at all. A
    /// function decides for itself by `stale_if_error = ..`.
    ///
    /// After a failure, the key is served from the old value for the [`retry_delay`](Self::retry_delay).
    #[must_use]
    pub fn stale_if_error(mut self, duration: Duration) -> Self {
        self.policy.stale_if_error = Some(duration);
        self
    }

    /// Sets by which part of itself each lifetime is cut short at most, at random, so that values that
    /// were stored together do not expire together; from 0.0, the default, to 1.0. A function decides
    /// for itself by `jitter = 0.1`.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.policy.jitter = Some(part);
        self
    }

    /// Sets whether values are computed anew before they expire, in the background or in one caller as
    /// for [`stale_while_revalidate`](Self::stale_while_revalidate); false by default. A function
    /// decides for itself by `early_refresh`.
    ///
    /// Each hit draws whether it does so, the likelier the nearer the end is and the longer the
    /// computation takes: a value that is much in demand is computed anew in time, and one that
    /// nobody asks for is not.
    #[must_use]
    pub fn early_refresh(mut self, early: bool) -> Self {
        self.policy.early_refresh = Some(early);
        self
    }

    /// Sets after how long a stale value, if there is one, stands in for a computation that goes on and
    /// is finished in the background; by default callers wait. It holds where the computation can run
    /// in the background; see [`stale_while_revalidate`](Self::stale_while_revalidate). A function
    /// decides for itself by `soft_timeout = ..`.
    #[must_use]
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.policy.soft_timeout = Some(timeout);
        self
    }

    /// Sets how many values are computed anew at a time while old ones are served; 64 by default. With
    /// more to do, old values are served a little longer.
    #[must_use]
    pub fn max_refreshes(mut self, most: usize) -> Self {
        self.max_refreshes = most;
        self
    }

    /// Sets for how long a key whose computation has failed is served from its old value, before it is
    /// computed again; one second by default.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Sets how long another process may take to notice that a namespace or the whole cache was
    /// cleared in a shared store; 100 milliseconds by default.
    ///
    /// A process reads what was cleared at most this often, in one round trip beside a lookup, and
    /// `clear` and `clear_namespace` wait as long, so that when they return, no process serves what
    /// they cleared. With zero, every lookup reads it, and nobody waits. A store in which reads are
    /// paid for wants seconds. Processes that share a store need the same delay. It does not
    /// matter to values in this process, nor to the invalidation of single entries.
    #[must_use]
    pub fn invalidation_delay(mut self, delay: Duration) -> Self {
        self.invalidation_delay = delay;
        self
    }

    /// Sets after how long a computation is stuck that could go on and is not polled; one second by default.
    ///
    /// A call that computes does so when its caller polls it. A caller may poll it once and leave it, in an arm of
    /// `select!` or on a runtime that is not driven. One of the calls that wait for it then computes itself, after this
    /// time and at most twice as long, and the others wait for that one. A slow computation is not stuck, however long
    /// it takes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the clock, for tests that move one.
    #[must_use]
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }
}

/// No cache waits for longer.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Config {
    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<(), InitError> {
        for (setting, duration) in [
            ("lease", self.lease),
            ("invalidation_delay", self.invalidation_delay),
            ("patience", self.patience),
            ("retry_delay", self.retry_delay),
            ("breaker", self.breaker.1),
        ] {
            if duration > A_DAY {
                return Err(InitError::TooLong(setting));
            }
        }
        Ok(())
    }
}

#[cfg(feature = "axum")]
impl Config {
    /// Sets the name of the response header that says `HIT` or `MISS`; `X-FastAPI-Cache` by
    /// default.
    ///
    /// A name that is no HTTP header name is an error when the cache is made.
    #[must_use]
    pub fn cache_status_header(mut self, name: impl Into<String>) -> Self {
        self.http.status_header = name.into();
        self
    }

    /// Says in `Cache-Status` what the cache did with each request, under this name (RFC 9211); by default it is not
    /// said. It holds for handlers, and for layers that do not name one themselves.
    ///
    /// A reply then says `shop; hit; ttl=42`, or `shop; fwd=uri-miss; detail="not stored: set-cookie"`. It never shows a
    /// key.
    #[must_use]
    pub fn cache_status(mut self, name: impl Into<String>) -> Self {
        self.http.cache_status = Some(name.into());
        self
    }

    /// Sets the `Cache-Control` of replies whose handler names none, whatever the time for which they are stored, such
    /// as `no-cache` or `max-age=5`. A handler decides for itself by `cache_control = ".."`.
    ///
    /// By default a reply that may be shared says `max-age=` and what remains of its lifetime, and all others say
    /// `private, no-cache`. Those others keep to that, unless the text has `private`, `no-store` or `no-cache`: what
    /// depends on who asks is offered to no shared cache.
    ///
    /// A text that is no list of directives is an error when the cache is made.
    #[must_use]
    pub fn cache_control(mut self, directives: impl Into<String>) -> Self {
        self.http.cache_control = Some(directives.into());
        self
    }

    /// Sets whether a tag that the cache makes, for a response that has no `ETag`, is a strong one (RFC 9110 section
    /// 8.8.1); false by default.
    ///
    /// A strong tag says that the bytes are the same, and `Range` is answered from what is stored. Both are wrong where
    /// something between the cache and the client recodes bodies, as a compressing layer does: switch this on only
    /// where nothing does.
    #[must_use]
    pub fn strong_etags(mut self, strong: bool) -> Self {
        self.http.strong_etags = strong;
        self
    }

    /// Adds request headers that tell who asks, beside the list that the documentation of the attribute shows. A
    /// request that has one is personal, like one with `Cookie`.
    #[must_use]
    pub fn credential_headers(mut self, names: impl IntoIterator<Item = http::HeaderName>) -> Self {
        self.http.notable.credentials.extend(names);
        self
    }

    /// Adds request headers from which programs make links, beside `X-Forwarded-Host` and its like. They take part in
    /// the key of every layer, and of every handler that sees the headers.
    #[must_use]
    pub fn link_headers(mut self, names: impl IntoIterator<Item = http::HeaderName>) -> Self {
        self.http.notable.links.extend(names);
        self
    }

    /// Sets for how long a request to a handler or a layer waits for another one that computes the same; 5 seconds by
    /// default. After that one of those who wait computes itself, and the others wait for that one in turn.
    #[must_use]
    pub fn coalesce_timeout(mut self, timeout: Duration) -> Self {
        self.http.coalesce_timeout = timeout;
        self
    }

    /// Sets whether the `Cache-Control` of requests is honoured; true by default.
    ///
    /// When false, clients can neither force a recomputation nor have a response kept out of the
    /// cache. Conditional requests are answered all the same.
    #[must_use]
    pub fn client_directives(mut self, honoured: bool) -> Self {
        self.http.client_directives = honoured;
        self
    }

    /// Sets the largest body of a response that is stored, in bytes; 2 MiB by default.
    ///
    /// A larger one passes through whole, and is not stored.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.http.max_body = bytes;
        self
    }
}

impl<B: Backend> From<B> for Config {
    fn from(backend: B) -> Self {
        Self::new(backend)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("prefix", &self.prefix)
            .field("expire", &self.expire)
            .field("coder", &self.coder)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "json")]
fn default_coder() -> RegisteredCoder {
    RegisteredCoder::new::<crate::coder::Json>()
}

#[cfg(not(feature = "json"))]
fn default_coder() -> RegisteredCoder {
    RegisteredCoder::new::<crate::coder::Missing>()
}
