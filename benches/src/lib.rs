//! What the programs that measure have in common.

pub mod options;
pub mod report;
pub mod rounds;
pub mod subjects;
