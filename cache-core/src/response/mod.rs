//! What a stored response is, and the replies that are made from it.

mod fill;
mod gather;
mod hit_headers;
mod message;
mod reply;
mod stored;
mod told;

pub(crate) use fill::{Fill, Outcome};
pub(crate) use gather::{Gathered, gather};
pub(crate) use message::{counted, damaged, split_counted};
pub(crate) use reply::{Facts, Form, Replies, with_cache_status};
pub use stored::CachedResponse;
pub(crate) use told::Teller;
