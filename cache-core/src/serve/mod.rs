//! The two fronts of the HTTP cache: `#[cache]` on handlers, and `CacheLayer`.

mod asks;
mod handler;
mod layer;
mod scope;

pub use handler::{HandlerCall, handler};
pub(crate) use layer::Fills;
pub use layer::{CacheFuture, CacheLayer, CacheService};
pub use scope::{ScopeFuture, ScopeLayer, ScopeService};
