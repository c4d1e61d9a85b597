//! What a handler sees of the request and can say about its response.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum_core::extract::FromRequestParts;
use bytes::Bytes;
use http::header::ETAG;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::error::Error;
use crate::hit_headers::HitHeaders;
use crate::key::KeyWriter;
use crate::key::argument::{Known, Varied};
use crate::message::{Message, damaged};
use crate::value::{Codec, Payload};

/// The request that a cached handler answers: its method, URI and headers.
///
/// `#[cache]` injects one into every handler that lists neither this nor a whole `Request`. It
/// never fails to extract, and clones cheaply.
#[derive(Clone, Debug)]
pub struct CacheRequest(Arc<Head>);

#[derive(Debug)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
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
#[derive(Clone, Debug, Default)]
pub struct CacheResponse(Arc<Mutex<Wishes>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A stored response: status, headers and the whole body.
///
/// Its headers hold an `ETag`, and neither what belongs to one connection nor what is computed for
/// each reply (`Age`, the cache's own `Cache-Control`, and the status header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    pub(crate) hit_headers: HitHeaders,
}

impl CachedResponse {
    /// A response to store, for [`CacheEntry::set`](crate::CacheEntry::set). Without an `ETag`, it
    /// is given one.
    #[must_use]
    pub fn new(status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Self {
        prepare(&mut headers, &body);
        Self {
            status,
            headers,
            body,
            hit_headers: HitHeaders::default(),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// As [`Message`] has it. The `ETag` is kept beside it.
impl Payload for CachedResponse {
    fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error> {
        let headers = self.headers.iter().filter(|(name, _)| *name != ETAG);
        Message::encode(codec, self.status, headers, &self.body)
    }

    fn decode<C: Codec>(codec: &C, etag: &[u8], bytes: &[u8]) -> Result<Self, Error> {
        let Message {
            status,
            mut headers,
            body,
        } = Message::decode(codec, bytes)?;
        let etag = HeaderValue::from_bytes(etag).map_err(|_| damaged())?;
        headers.insert(ETAG, etag);
        Ok(Self {
            status,
            headers,
            body,
            hit_headers: HitHeaders::default(),
        })
    }

    fn etag(&self) -> &[u8] {
        self.headers.get(ETAG).map_or(&[], HeaderValue::as_bytes)
    }

    fn size(&self) -> usize {
        // Hits keep headers of their own.
        let hits = Message::size(&self.headers, &[]);
        size_of::<Self>() + hits + Message::size(&self.headers, &self.body)
    }
}

/// Headers that belong to one connection (RFC 9110 section 7.6.1), and those that each reply gets
/// anew.
const NOT_STORED: [HeaderName; 7] = [
    http::header::AGE,
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

/// Makes headers ready to be stored with a body.
fn prepare(headers: &mut HeaderMap, body: &[u8]) {
    for name in &NOT_STORED {
        headers.remove(name);
    }
    // It comes last, as it does when the response is read from a shared store.
    let own = headers.remove(ETAG);
    headers.insert(ETAG, own.unwrap_or_else(|| crate::http::entity_tag(body)));
}

/// Whatever shows the head of a request.
pub trait RequestHead {
    /// The method.
    fn method(&self) -> &Method;
    /// The headers.
    fn headers(&self) -> &HeaderMap;
    /// The head, to keep.
    fn to_request(&self) -> CacheRequest;
}

impl RequestHead for CacheRequest {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn to_request(&self) -> CacheRequest {
        self.clone()
    }
}

impl<B> RequestHead for http::Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn to_request(&self) -> CacheRequest {
        keep(self.method(), self.uri(), self.headers())
    }
}

impl RequestHead for Parts {
    fn method(&self) -> &Method {
        &self.method
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn to_request(&self) -> CacheRequest {
        keep(&self.method, &self.uri, &self.headers)
    }
}

fn keep(method: &Method, uri: &Uri, headers: &HeaderMap) -> CacheRequest {
    CacheRequest(Arc::new(Head {
        method: method.clone(),
        uri: uri.clone(),
        headers: headers.clone(),
    }))
}

impl<V> Known<V> for CacheRequest {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        write_head(name, key, self.method(), self.uri(), self.headers());
    }
}

impl<B, V> Known<V> for http::Request<B> {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        write_head(name, key, self.method(), self.uri(), self.headers());
    }
}

impl<V> Known<V> for Parts {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        write_head(name, key, &self.method, &self.uri, &self.headers);
    }
}

impl<V> Known<V> for Uri {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        let authority = self.authority().map(|authority| authority.as_str());
        key.argument(name, &(self.scheme_str(), authority, path_and_query(self)));
    }
}

impl<V> Known<V> for Method {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, seen_method(self));
    }
}

impl<V> Known<V> for Version {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &format!("{self:?}"));
    }
}

/// The headers that count are named by `vary(..)`, and the runtime adds them to the key.
impl Known<Varied> for HeaderMap {
    fn write(&self, _: &'static str, _: &mut KeyWriter) {}
}

/// A whole request counts with its method, host, path and query. It shows every header too, which
/// the runtime answers by keeping personal requests out of the cache.
fn write_head(
    name: &'static str,
    key: &mut KeyWriter,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) {
    let host = headers.get(http::header::HOST).map(HeaderValue::as_bytes);
    let host = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes())
        .or(host);
    key.argument(name, &(seen_method(method), host, path_and_query(uri)));
    key.sees_headers();
}

/// HEAD is answered from what GET stored.
fn seen_method(method: &Method) -> &str {
    match *method {
        Method::HEAD => Method::GET.as_str(),
        _ => method.as_str(),
    }
}

fn path_and_query(uri: &Uri) -> &str {
    match uri.path_and_query() {
        Some(path_and_query) => path_and_query.as_str(),
        None => "/",
    }
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
