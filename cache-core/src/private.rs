//! What generated code calls. Nothing here is covered by semantic versioning.

pub use std::time::Duration;

pub use crate::access::{Access, Storage};
pub use crate::companion::entry;
pub use crate::evict::{Evictions, evict};
pub use crate::key::argument::{Argument, Unvaried, Varied};
pub use crate::key::{DynKeyBuilder, KeyWriter, erase_key_builder, escaped};
pub use crate::limit::{Limited, how_to_tell, limited};
pub use crate::policy::{Verdict, ask};
pub use crate::runtime::{Answer, Call, MakeKeyBuilder, blocking, function};
pub use crate::site::Site;
pub use crate::tags::TagList;
pub use crate::value::{NamedCoder, OfResult, OfValue, Probe, RegistryCoder, Stores};

#[cfg(feature = "axum")]
pub use crate::axum::{RequestHead, assert_state};
#[cfg(feature = "axum")]
pub use crate::companion::response_entry;
#[cfg(feature = "axum")]
pub use crate::handler::{HandlerCall, handler};
#[cfg(feature = "axum")]
pub use ::http::HeaderMap;
#[cfg(feature = "axum")]
pub use axum_core::response::Response;

/// The traits that decide how an argument becomes part of a key.
pub mod argument {
    pub use crate::key::argument::{
        ByKnown, ByNothing, ByOptionalWrapper, BySerialize, BySet, ByWrapper,
    };
}

/// The traits that decide whether a value can be stored.
pub mod storage {
    pub use crate::access::{NotStorable, Storable};
}

/// The traits that decide what of a returned value is stored.
pub mod shape {
    pub use crate::value::{ViaResult, ViaValue};
}
