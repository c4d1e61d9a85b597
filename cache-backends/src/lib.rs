//! The backends of [fast-cache](https://docs.rs/fast-cache), one module and one feature each.

#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod tiered;

/// The SDK, in the version that [`DynamoBackend::from_client`] takes a client of.
#[cfg(feature = "dynamodb")]
pub use aws_sdk_dynamodb;

#[cfg(feature = "dynamodb")]
pub use crate::dynamodb::DynamoBackend;
#[cfg(feature = "memcached")]
pub use crate::memcached::{MemcachedBackend, MemcachedOptions};
#[cfg(feature = "memory")]
pub use crate::memory::InMemoryBackend;
#[cfg(feature = "redis")]
pub use crate::redis::{RedisBackend, RedisOptions};
pub use crate::tiered::TieredBackend;
