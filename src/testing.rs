//! What tests need: a clock that they move, and the promises that a backend has to keep.

mod conformance;

pub use fast_cache_core::testing::ManualClock;

pub use self::conformance::{ConformanceReport, backend_conformance};
