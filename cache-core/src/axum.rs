//! What a handler sees of the request and can say about its response.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::{NestedPath, OriginalUri};
use axum_core::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// The request that a cached handler answers: its method, URI and headers.
///
/// `#[cache]` injects one into every handler that lists neither this nor a whole `Request`. It
/// never fails to extract, and clones cheaply.
///
/// The default is a `GET` of `/` without headers. Tests that call a handler make one of any other request:
///
/// ```
/// use fast_cache_core::CacheRequest;
/// use http::Request;
///
/// let request = Request::get("/users/7").header("accept-language", "de").body(())?;
/// let request = CacheRequest::from(&request);
/// assert_eq!(request.uri().path(), "/users/7");
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CacheRequest(Arc<Head>);

#[derive(Debug, Default)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// In a box, since most routers are not nested.
    nested: Option<Box<Nested>>,
}

/// Where a nested router has put aside what it has taken from the URI.
#[derive(Debug)]
struct Nested {
    mount: NestedPath,
    original: Option<OriginalUri>,
}

impl Nested {
    fn of(extensions: &Extensions) -> Option<Box<Self>> {
        Some(Box::new(Self {
            mount: extensions.get::<NestedPath>()?.clone(),
            original: extensions.get().cloned(),
        }))
    }
}

impl CacheRequest {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The URI, as the server received it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }
}

impl From<Parts> for CacheRequest {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(Head {
            nested: Nested::of(&parts.extensions),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
        }))
    }
}

impl From<&Parts> for CacheRequest {
    fn from(parts: &Parts) -> Self {
        parts.to_request()
    }
}

impl<B> From<Request<B>> for CacheRequest {
    fn from(request: Request<B>) -> Self {
        Self::from(request.into_parts().0)
    }
}

impl<B> From<&Request<B>> for CacheRequest {
    fn from(request: &Request<B>) -> Self {
        request.to_request()
    }
}

impl<S: Sync> FromRequestParts<S> for CacheRequest {
    type Rejection = Infallible;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Infallible>> + Send {
        ready(Ok(parts.to_request()))
    }
}

/// A handler's word on its response: headers to add, a lifetime, or that it must not be stored.
///
/// `#[cache]` injects one into every handler that does not list it. Clones speak for the same
/// response.
///
/// ```ignore
/// #[cache(expire = 60)]
/// async fn quote(response: CacheResponse) -> Json<Quote> {
///     let quote = load().await;
///     if quote.is_preliminary {
///         response.no_store();
///     }
///     Json(quote)
/// }
/// ```
#[derive(Debug, Default)]
pub struct CacheResponse(
    /// Made when it is needed, since a hit has no use for it.
    OnceLock<Arc<Mutex<Wishes>>>,
);

/// What a handler has asked for.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) headers: HeaderMap,
    pub(crate) expire: Option<Duration>,
    pub(crate) no_store: bool,
    pub(crate) tags: Vec<String>,
}

impl CacheResponse {
    /// Adds a header to the response, beside those of the same name; it is stored with it.
    pub fn header(&self, name: HeaderName, value: HeaderValue) -> &Self {
        self.wishes().headers.append(name, value);
        self
    }

    /// Sets how long this response is stored, over the function's `expire`. Precise to the
    /// millisecond; with zero, it is not stored.
    pub fn expire(&self, expire: Duration) -> &Self {
        self.wishes().expire = Some(expire);
        self
    }

    /// Keeps this response out of the cache.
    pub fn no_store(&self) -> &Self {
        self.wishes().no_store = true;
        self
    }

    /// Puts this response under a tag, for [`FastCache::clear_tag`](crate::FastCache::clear_tag), beside
    /// those that the function names.
    pub fn tag(&self, tag: impl Into<String>) -> &Self {
        self.wishes().tags.push(tag.into());
        self
    }

    pub(crate) fn take(&self) -> Wishes {
        std::mem::take(&mut *self.wishes())
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        let wishes = self.0.get_or_init(Arc::default);
        wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for CacheResponse {
    fn clone(&self) -> Self {
        let wishes = self.0.get_or_init(Arc::default);
        Self(OnceLock::from(Arc::clone(wishes)))
    }
}

impl<S: Sync> FromRequestParts<S> for CacheResponse {
    type Rejection = Infallible;

    fn from_request_parts(
        _: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Infallible>> + Send {
        ready(Ok(Self::default()))
    }
}

/// Whatever shows the head of a request.
pub trait RequestHead {
    /// The method.
    fn method(&self) -> &Method;
    /// The URI.
    fn uri(&self) -> &Uri;
    /// The headers.
    fn headers(&self) -> &HeaderMap;
    /// The template of the path at which the handler's router is nested; `None` if it is not.
    fn mount(&self) -> Option<&str>;
    /// The path as the client wrote it, with what nested routers have taken from the URI.
    fn raw_path(&self) -> &str;
    /// The head, to keep.
    fn to_request(&self) -> CacheRequest;
}

impl RequestHead for CacheRequest {
    fn method(&self) -> &Method {
        self.method()
    }

    fn uri(&self) -> &Uri {
        self.uri()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn mount(&self) -> Option<&str> {
        let nested = self.0.nested.as_ref();
        nested.map(|nested| nested.mount.as_str())
    }

    fn raw_path(&self) -> &str {
        let nested = self.0.nested.as_ref();
        match nested.and_then(|nested| nested.original.as_ref()) {
            Some(original) => original.path(),
            None => self.uri().path(),
        }
    }

    fn to_request(&self) -> CacheRequest {
        self.clone()
    }
}

impl<B> RequestHead for Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn uri(&self) -> &Uri {
        self.uri()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn mount(&self) -> Option<&str> {
        mount(self.extensions())
    }

    fn raw_path(&self) -> &str {
        raw_path(self.uri(), self.extensions())
    }

    fn to_request(&self) -> CacheRequest {
        keep(self.method(), self.uri(), self.headers(), self.extensions())
    }
}

impl RequestHead for Parts {
    fn method(&self) -> &Method {
        &self.method
    }

    fn uri(&self) -> &Uri {
        &self.uri
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn mount(&self) -> Option<&str> {
        mount(&self.extensions)
    }

    fn raw_path(&self) -> &str {
        raw_path(&self.uri, &self.extensions)
    }

    fn to_request(&self) -> CacheRequest {
        keep(&self.method, &self.uri, &self.headers, &self.extensions)
    }
}

fn mount(extensions: &Extensions) -> Option<&str> {
    extensions.get().map(NestedPath::as_str)
}

fn raw_path<'a>(uri: &'a Uri, extensions: &'a Extensions) -> &'a str {
    match extensions.get::<OriginalUri>() {
        Some(original) => original.path(),
        None => uri.path(),
    }
}

fn keep(method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> CacheRequest {
    CacheRequest(Arc::new(Head {
        method: method.clone(),
        uri: uri.clone(),
        headers: headers.clone(),
        nested: Nested::of(extensions),
    }))
}

/// Proves that an argument spelled `State<S>` is axum's: it is extracted from the router's state,
/// without being able to fail, which nothing that depends on the request does.
#[doc(hidden)]
pub const fn assert_state<T, S>()
where
    T: FromRequestParts<S, Rejection = Infallible> + std::ops::Deref<Target = S>,
{
}

impl fmt::Display for CacheRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method(), self.uri())
    }
}
