//! The integration tests, in one binary.

mod support;

#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod aging_handlers;
#[cfg(feature = "memory")]
mod allocations;
#[cfg(all(
    feature = "axum",
    feature = "json",
    feature = "memory",
    feature = "testing"
))]
mod ancestor;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod audience;
#[cfg(feature = "testing")]
mod chaos;
#[cfg(all(feature = "json", feature = "memory"))]
mod coalescing;
#[cfg(feature = "memory")]
mod companions;
#[cfg(all(feature = "memory", feature = "testing"))]
mod conformance;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(all(feature = "json", feature = "memory"))]
mod evict;
mod failures;
#[cfg(all(feature = "json", any(feature = "memcached", feature = "redis")))]
mod faults;
#[cfg(all(feature = "memory", feature = "testing"))]
mod finality;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod fronts;
#[cfg(feature = "memory")]
mod functions;
#[cfg(all(feature = "axum", feature = "memory"))]
mod handler_keys;
#[cfg(all(feature = "axum", feature = "memory"))]
mod handlers;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod hidden;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod http_settings;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod identity;
mod init;
#[cfg(feature = "memory")]
mod invalidation;
#[cfg(feature = "memory")]
mod keys;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod layer;
#[cfg(all(feature = "axum", feature = "memory"))]
mod leaks;
#[cfg(all(feature = "memory", feature = "testing"))]
mod liveness;
#[cfg(feature = "json")]
mod lock;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(all(feature = "memory", feature = "testing"))]
mod memory;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod mounts;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod not_stored;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod pages;
#[cfg(all(feature = "json", any(feature = "memcached", feature = "redis")))]
mod proxy;
#[cfg(feature = "redis")]
mod redis;
mod remote;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod scopes;
#[cfg(feature = "testing")]
mod simulation;
#[cfg(all(feature = "axum", feature = "memory"))]
mod stack;
#[cfg(all(feature = "memory", feature = "testing"))]
mod stale;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod stand_ins;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod streams;
#[cfg(all(feature = "memory", feature = "testing"))]
mod tags;
#[cfg(feature = "testing")]
mod tiered;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod validation;
#[cfg(all(feature = "axum", feature = "memory", feature = "testing"))]
mod waiting;
