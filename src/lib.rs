//! One attribute caches an async function or an axum handler.
//!
//! ```
//! use fast_cache::{Config, FastCache, InMemoryBackend, cache};
//!
//! #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct User {
//!     id: u64,
//!     name: String,
//! }
//!
//! # #[derive(Debug)] struct DbError;
//! # impl std::fmt::Display for DbError { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("gone") } }
//! # impl std::error::Error for DbError {}
//! #[cache(expire = 60, namespace = "users")]
//! async fn get_user(id: u64) -> Result<User, DbError> {
//!     // A slow query; an `Err` is returned as it is and never stored.
//!     Ok(User { id, name: "Ada".to_owned() })
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     FastCache::init(Config::new(InMemoryBackend::new()).prefix("shop"))?;
//!
//!     let computed = get_user(42).await?;
//!     let cached = get_user(42).await?;
//!     assert_eq!(computed, cached);
//!     assert_eq!(FastCache::stats().hits, 1);
//!
//!     FastCache::clear_namespace("users").await?;
//!     Ok(())
//! }
//! ```
//!
//! That is all there is to begin with. The reference of the attribute, option by option, is at
//! [`macro@cache`].
//!
//! # Handlers
//!
//! On an axum handler (feature `axum`), the same attribute stores whole responses, and answers as
//! HTTP wants it: `ETag`, `304 Not Modified`, `Cache-Control`, `Age`, HEAD, and the request's own
//! `Cache-Control`.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Json, Router, extract::{Path, State}, routing::get};
//! use fast_cache::cache;
//!
//! # #[derive(Clone)] struct Db;
//! #[cache(expire = 60)]
//! async fn show(Path(id): Path<u64>, State(db): State<Db>) -> Json<u64> {
//!     Json(id)
//! }
//!
//! let app: Router = Router::new().route("/users/{id}", get(show)).with_state(Db);
//! # }
//! ```
//!
//! For routes that nobody wants to annotate, `CacheLayer` does the same for a whole `Router` or any other tower
//! service, by the rules of HTTP (RFC 9111):
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use fast_cache::CacheLayer;
//!
//! let app: Router = Router::new()
//!     .route("/prices", get(async || "a slow page"))
//!     .layer(CacheLayer::new().expire(Duration::from_secs(60)));
//! # }
//! ```
//!
//! # What is in the key
//!
//! Everything that the function can see: its module, name, type arguments and arguments, and
//! `self` for methods. An argument that cannot be made part of the key, such as a database handle
//! or an `Extension<T>` whose `T` is not `Serialize`, is a compile error that offers `skip(..)`,
//! `key = ".."` and `vary(..)`. So one caller's value is never served to another by accident. The
//! one argument that is left out by itself is axum's `State`: it belongs to the place where the handler's router is
//! nested, which is part of the key.
//!
//! What a browser or a proxy is told follows from the same: a reply that may depend on who asks says `private,
//! no-cache`. `http_cache` has all of it in tables: which parts of a request count, what a client is told, and what
//! is not stored.
//!
//! # What happens when the cache fails
//!
//! The call runs as if there were no cache. Errors of the backend and entries that do not decode
//! are counted in [`Stats`], logged through `tracing`, and overwritten by the next value. Before
//! [`FastCache::init`], cached functions just run, with one warning each, so unit tests need no
//! set-up.
//!
//! # Invalidation
//!
//! By entry (`get_user::entry(42).invalidate()`), by printed key ([`FastCache::clear_key`]), by tag
//! ([`FastCache::clear_tag`]), by namespace ([`FastCache::clear_namespace`]), or all at once
//! ([`FastCache::clear`]); [`macro@cache_evict`] does it when a function has changed the data. A value whose
//! computation began before the invalidation is not served after it, in this process or in any other
//! that shares the store.
//!
//! # Stale values and two tiers
//!
//! `stale_while_revalidate`, `stale_if_error` and `soft_timeout` serve an old value rather than a late one or an
//! error; see [`macro@cache`]. [`TieredBackend`] holds typed values in each process, in front of a store that all
//! share.
//!
//! # Tests
//!
//! A [`Cache`] of their own lets tests run side by side, and `testing::ManualClock` (feature
//! `testing`) moves time:
//!
//! ```
//! # #[cfg(all(feature = "testing", feature = "memory"))] {
//! use std::time::Duration;
//! use fast_cache::{Cache, Config, InMemoryBackend, cache, testing::ManualClock};
//!
//! #[cache(expire = 60)]
//! async fn double(n: u64) -> u64 { n * 2 }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let clock = ManualClock::new();
//! let cache = Cache::new(Config::new(InMemoryBackend::new()).clock(clock.clone()));
//! cache.scope(async {
//!     assert_eq!(double(21).await, 42);
//!     assert!(double::entry(21).get().await?.is_some());
//!     clock.advance(Duration::from_secs(60));
//!     assert!(double::entry(21).get().await?.is_none());
//!     Ok::<_, fast_cache::Error>(())
//! }).await?;
//! # Ok::<_, fast_cache::Error>(()) }).unwrap();
//! # }
//! ```
//!
//! An application that is served gets a cache of its own by `Cache::layer`, since a task that a test spawns does not
//! see the scope that the test is in:
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "memory"))] {
//! use axum::{Router, body::Body, extract::Path, http::Request, routing::get};
//! use fast_cache::{Cache, InMemoryBackend, cache};
//! use tower::ServiceExt as _;
//!
//! #[cache(expire = 60, handler)]
//! async fn show(Path(id): Path<u64>) -> String { format!("user {id}") }
//!
//! // The application, as `main` makes it.
//! fn app() -> Router {
//!     Router::new().route("/users/{id}", get(show))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let cache = Cache::new(InMemoryBackend::new());
//! // `axum::serve(listener, app)` in a task of its own works as well.
//! let app = app().layer(cache.layer());
//! for expected in ["MISS", "HIT"] {
//!     let request = Request::get("/users/42").body(Body::empty())?;
//!     let reply = app.clone().oneshot(request).await?;
//!     assert_eq!(reply.headers()["x-fastapi-cache"], expected);
//! }
//! assert_eq!(cache.stats().hits, 1);
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | gives |
//! | --- | --- | --- |
//! | `memory` | yes | [`InMemoryBackend`] |
//! | `redis` | | `RedisBackend`: a server, a cluster, or a service behind sentinels |
//! | `dynamodb` | | `DynamoBackend`: a table of DynamoDB |
//! | `json` | yes | the `Json` coder, which is the registry's default |
//! | `axum` | | `#[cache]` on handlers, `CacheRequest`, `CacheResponse`, `CacheLayer` |
//! | `msgpack` | | the `MessagePack` coder |
//! | `bincode` | | the `Bincode` coder; `bincode` is no longer maintained |
//! | `testing` | | `testing::ManualClock`, `testing::ChaosBackend`, `testing::backend_conformance` |

#[cfg(feature = "testing")]
pub mod testing;

pub use fast_cache_core::{
    Arg, Args, Backend, BoxFuture, BreakerState, Bus, Cache, CacheEntry, CacheValue, Clock, Coder,
    Config, DynBackend, DynKeyBuilder, EntryTicket, Error, ErrorKind, FastCache, FunctionStats,
    InitError, KeyBuilder, KeyContext, RegisteredCoder, Stats, Subscription, TOMBSTONE_BYTES,
};
#[doc(inline)]
#[doc = include_str!("docs/cache.md")]
pub use fast_cache_macros::cache;
#[doc(inline)]
#[doc = include_str!("docs/cache_evict.md")]
pub use fast_cache_macros::cache_evict;

#[cfg(feature = "memory")]
pub use fast_cache_backends::InMemoryBackend;
pub use fast_cache_backends::TieredBackend;
#[cfg(feature = "dynamodb")]
pub use fast_cache_backends::{DynamoBackend, aws_sdk_dynamodb};
#[cfg(feature = "memcached")]
pub use fast_cache_backends::{MemcachedBackend, MemcachedOptions};
#[cfg(feature = "redis")]
pub use fast_cache_backends::{RedisBackend, RedisOptions};
#[cfg(feature = "bincode")]
pub use fast_cache_core::Bincode;
#[cfg(feature = "json")]
pub use fast_cache_core::Json;
#[cfg(feature = "msgpack")]
pub use fast_cache_core::MessagePack;
#[cfg(feature = "axum")]
pub use fast_cache_core::{
    CacheFuture, CacheLayer, CacheRequest, CacheResponse, CacheService, CachedResponse,
    ScopeFuture, ScopeLayer, ScopeService, http_cache,
};

/// What generated code calls; not covered by semantic versioning.
#[doc(hidden)]
pub mod __private {
    pub use fast_cache_core::private::*;
}
