//! The engine of [fast-cache](https://docs.rs/fast-cache): keys, coders, policies and the runtime
//! behind the `#[cache]` attribute.
//!
//! Programs use the facade, `fast-cache`, which re-exports what is public here. Implementors of a
//! [`Backend`] or a [`Coder`] may depend on this crate alone.

mod access;
#[cfg(feature = "axum")]
mod axum;
mod backend;
mod backlog;
mod barrier;
mod breaker;
mod bus;
mod clock;
mod coder;
mod companion;
mod config;
mod drive;
mod engine;
mod entry;
mod error;
mod evict;
mod flight;
#[cfg(feature = "axum")]
mod http;
mod invalidation;
mod join;
mod key;
mod lease;
mod limit;
pub mod local;
mod policy;
#[doc(hidden)]
pub mod private;
mod refresh;
mod registry;
mod remote;
#[cfg(feature = "axum")]
mod response;
mod runtime;
#[cfg(feature = "axum")]
mod serve;
mod site;
mod stats;
mod tags;
mod tier;
mod timer;
#[cfg(feature = "axum")]
mod unstorable;
mod value;

#[cfg(feature = "axum")]
pub use crate::axum::{CacheRequest, CacheResponse};
pub use crate::backend::{Backend, BoxFuture, DynBackend, TOMBSTONE_BYTES};
pub use crate::breaker::BreakerState;
pub use crate::bus::{Bus, Subscription};
pub use crate::clock::Clock;
#[cfg(feature = "bincode")]
pub use crate::coder::Bincode;
#[cfg(feature = "json")]
pub use crate::coder::Json;
#[cfg(feature = "msgpack")]
pub use crate::coder::MessagePack;
pub use crate::coder::{Coder, RegisteredCoder};
pub use crate::companion::{CacheEntry, EntryTicket};
pub use crate::config::Config;
pub use crate::error::{Error, ErrorKind};
pub use crate::key::{Arg, Args, DynKeyBuilder, KeyBuilder, KeyContext};
pub use crate::registry::{Cache, FastCache, InitError};
#[cfg(feature = "axum")]
pub use crate::response::CachedResponse;
#[cfg(feature = "axum")]
pub use crate::serve::{
    CacheFuture, CacheLayer, CacheService, ScopeFuture, ScopeLayer, ScopeService,
};
pub use crate::stats::{FunctionStats, Stats};
pub use crate::value::CacheValue;

#[cfg(feature = "axum")]
#[doc = include_str!("docs/http_cache.md")]
pub mod http_cache {}

/// What tests need: a clock that they move.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::clock::ManualClock;
}
