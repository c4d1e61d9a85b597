//! Whom a reply is for, as far as the parameters of a handler say.
//!
//! Generated code asks `Parameter::<T, V>::IS_SHARED` for each parameter of a handler. The constant that the
//! type itself has is found before the one of the trait [`Personal`], which has a no for every type. So traits
//! decide, never names, and what is unknown, such as a type parameter, is personal.

use std::marker::PhantomData;

use axum::extract::{
    MatchedPath, NestedPath, OriginalUri, Path, Query, RawPathParams, RawQuery, State,
};
use http::{HeaderMap, Method, Uri};

use super::argument::Varied;
use crate::{CacheRequest, CacheResponse};

/// A parameter of type `T`, of a handler whose request headers are accounted for as `V` says.
#[derive(Debug)]
pub struct Parameter<T, V>(PhantomData<fn() -> (T, V)>);

/// The answer for a parameter of which nothing is known: it may tell who asks.
pub trait Personal {
    /// Whether a reply that was made from such a parameter may be offered to a shared cache.
    const IS_SHARED: bool = false;
}

impl<T, V> Personal for Parameter<T, V> {}

impl<T: Impersonal<V>, V> Parameter<T, V> {
    /// Whether a reply that was made from such a parameter may be offered to a shared cache.
    pub const IS_SHARED: bool = true;
}

/// What depends on the URI of a request, on the headers that `vary` names, or on no request at all. A shared
/// cache keeps apart what differs in these (RFC 9111 sections 2 and 4.1).
pub trait Impersonal<V> {}

impl<T, V> Impersonal<V> for Path<T> {}
impl<T, V> Impersonal<V> for Query<T> {}
/// The form of a GET is its query.
impl<T, V> Impersonal<V> for axum::Form<T> {}
impl<V> Impersonal<V> for RawQuery {}
impl<V> Impersonal<V> for RawPathParams {}
impl<V> Impersonal<V> for Uri {}
impl<V> Impersonal<V> for OriginalUri {}
impl<V> Impersonal<V> for MatchedPath {}
impl<V> Impersonal<V> for NestedPath {}
impl<V> Impersonal<V> for Method {}
impl<S, V> Impersonal<V> for State<S> {}
impl<V> Impersonal<V> for CacheResponse {}

/// The headers that `vary` names are part of the reply's `Vary`, and a request with credentials that it does
/// not name is not cached.
impl Impersonal<Varied> for CacheRequest {}
impl Impersonal<Varied> for HeaderMap {}

impl<T: Impersonal<V>, V> Impersonal<V> for Option<T> {}
impl<T: Impersonal<V>, E, V> Impersonal<V> for Result<T, E> {}

#[cfg(test)]
mod tests {
    use axum::extract::Request;

    use super::*;
    use crate::key::argument::{Built, Unvaried};

    #[test]
    fn uris_and_named_headers_are_for_everybody() {
        type Renamed<T> = Query<T>;
        let shared = [
            Parameter::<Path<u64>, Unvaried>::IS_SHARED,
            Parameter::<Renamed<String>, Built>::IS_SHARED,
            Parameter::<Option<Path<u64>>, Unvaried>::IS_SHARED,
            Parameter::<Result<Query<u64>, String>, Unvaried>::IS_SHARED,
            Parameter::<axum::Form<u64>, Unvaried>::IS_SHARED,
            Parameter::<(), Unvaried>::IS_SHARED || Parameter::<State<()>, Varied>::IS_SHARED,
            Parameter::<HeaderMap, Varied>::IS_SHARED,
            Parameter::<CacheRequest, Varied>::IS_SHARED,
        ];
        assert_eq!(shared, [true; 8]);
    }

    #[test]
    fn all_else_may_tell_who_asks() {
        /// A type of a known name.
        struct Path<T>(T);

        fn of_any<T>() -> bool {
            Parameter::<T, Varied>::IS_SHARED
        }

        let personal = [
            Parameter::<HeaderMap, Unvaried>::IS_SHARED,
            Parameter::<CacheRequest, Unvaried>::IS_SHARED,
            Parameter::<CacheRequest, Built>::IS_SHARED,
            Parameter::<Request, Varied>::IS_SHARED,
            Parameter::<http::request::Parts, Built>::IS_SHARED,
            Parameter::<axum::Extension<u64>, Varied>::IS_SHARED,
            Parameter::<http::Version, Varied>::IS_SHARED,
            Parameter::<bytes::Bytes, Varied>::IS_SHARED,
            Parameter::<Path<u64>, Varied>::IS_SHARED,
            // In generic code nothing is known.
            of_any::<Uri>(),
        ];
        assert_eq!(personal, [false; 10]);
        assert_eq!(Path(1).0, 1);
    }
}
