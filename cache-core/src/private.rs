//! What generated code calls. Nothing here is covered by semantic versioning.

pub use std::time::Duration;

pub use crate::access::{Access, Storage};
pub use crate::companion::entry;
pub use crate::evict::{Evictions, evict};
pub use crate::key::argument::{Argument, Built, Unvaried, Varied};
#[cfg(feature = "axum")]
pub use crate::key::audience::Parameter;
#[cfg(feature = "axum")]
pub use crate::key::filled::{Filled, Verdicts};
#[cfg(feature = "axum")]
pub use crate::key::request::Shown;
pub use crate::key::{DynKeyBuilder, KeyWriter, erase_key_builder, escaped};
pub use crate::limit::{Limited, how_to_tell, limited};
pub use crate::policy::{Verdict, ask};
pub use crate::runtime::{Answer, Call, MakeKeyBuilder, apart, blocking, function, renewal};
pub use crate::site::Site;
pub use crate::tags::TagList;
pub use crate::value::{
    CacheValue, CoderChoice, NamedCoder, OfResult, OfValue, Probe, RegistryCoder, Stores,
};

#[cfg(feature = "axum")]
pub use crate::axum::{RequestHead, assert_state};
#[cfg(feature = "axum")]
pub use crate::companion::response_entry;
#[cfg(feature = "axum")]
pub use crate::serve::{HandlerCall, handler};
#[cfg(feature = "axum")]
pub use ::http::HeaderMap;
#[cfg(feature = "axum")]
pub use axum_core::response::Response;
pub use serde::Serialize;

/// The traits that decide how an argument becomes part of a key.
pub mod argument {
    pub use crate::key::argument::{
        ByFallible, ByFallibleOption, ByFallibleWrapper, ByKnown, ByNothing, ByOptionalWrapper,
        BySerialize, BySet, ByWrapper,
    };
    #[cfg(feature = "axum")]
    pub use crate::key::request::{ByHeaders, ByWholeRequest};
}

/// The traits that tell which parameters show every header.
#[cfg(feature = "axum")]
pub mod shown {
    pub use crate::key::request::{ByOtherShown, ByShownHeaders};
}

/// The traits that decide what of an argument a request fills.
#[cfg(feature = "axum")]
pub mod filled {
    pub use crate::key::filled::{
        ByBody, ByExtractor, ByFallibleBody, ByNoRequest, ByOptionalBody, ByParts,
    };
}

/// The trait that answers for parameters of which nothing is known.
#[cfg(feature = "axum")]
pub mod audience {
    pub use crate::key::audience::Personal;
}

/// The trait that gives no message about an argument.
pub mod silence {
    pub use crate::key::argument::BySilence;
}

/// The traits that decide whether a value can be stored.
pub mod storage {
    pub use crate::access::{NotStorable, Storable};
}

/// The traits that decide what of a returned value is stored.
pub mod shape {
    pub use crate::value::{ViaResult, ViaValue};
}
