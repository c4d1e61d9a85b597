//! The rules of HTTP caching (RFC 9110 and RFC 9111), without any I/O.

mod directives;
mod list;
mod storable;
mod validators;

pub(crate) use directives::{RequestDirectives, ResponseDirectives};
pub(crate) use storable::{add_vary, is_personal, key_values, may_store};
pub(crate) use validators::{entity_tag, not_modified, strip_for_not_modified};
