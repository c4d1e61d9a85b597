//! What the programs that measure have in common.

pub mod hits;
pub mod options;
pub mod report;
pub mod rounds;
#[cfg(feature = "peers")]
pub mod routers;
pub mod subjects;
