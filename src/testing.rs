//! What tests need: a clock that they move, a backend that misbehaves, and the promises that a backend has
//! to keep.

mod chaos;
mod conformance;

pub use fast_cache_core::testing::ManualClock;

pub use self::chaos::ChaosBackend;
pub use self::conformance::{ConformanceReport, backend_conformance};
