//! The backends of [fast-cache](https://docs.rs/fast-cache), one module and one feature each.

#[cfg(feature = "memory")]
mod memory;

#[cfg(feature = "memory")]
pub use crate::memory::InMemoryBackend;
