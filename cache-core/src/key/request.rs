//! What the parts of a request add to a key.

use std::marker::PhantomData;

use axum::extract::{MatchedPath, NestedPath, OriginalUri, RawPathParams, RawQuery};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use serde::{Serialize, Serializer};

use super::KeyWriter;
use super::argument::{Argument, Built, Known, Varied};
use crate::CacheRequest;

impl<V> Known<V> for Uri {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &seen_uri(self));
    }
}

impl<V> Known<V> for OriginalUri {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &seen_uri(self));
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

impl<V> Known<V> for MatchedPath {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, self.as_str());
    }
}

impl<V> Known<V> for NestedPath {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, self.as_str());
    }
}

impl<V> Known<V> for RawQuery {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &self.0);
    }
}

impl<V> Known<V> for RawPathParams {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &InOrder(|| self.iter()));
    }
}

/// The headers that count are named by `vary(..)`, and the runtime adds them to the key. It keeps requests out
/// of the cache whose credentials are not among them.
impl Known<Varied> for HeaderMap {
    fn write(&self, _: &'static str, key: &mut KeyWriter) {
        key.sees_headers();
    }
}

impl Known<Varied> for CacheRequest {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        let hosts = InOrder(|| hosts(self.headers()));
        key.argument(name, &(seen_head(self.method(), self.uri()), hosts));
        key.sees_headers();
    }
}

/// A key builder chooses among all that there is.
impl Known<Built> for HeaderMap {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        key.argument(name, &InOrder(|| lines(self)));
    }
}

impl Known<Built> for CacheRequest {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        write_whole(name, key, self.method(), self.uri(), self.headers());
    }
}

impl<B> Known<Built> for Request<B> {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        write_whole(name, key, self.method(), self.uri(), self.headers());
    }
}

impl Known<Built> for Parts {
    fn write(&self, name: &'static str, key: &mut KeyWriter) {
        write_whole(name, key, &self.method, &self.uri, &self.headers);
    }
}

fn write_whole(
    name: &'static str,
    key: &mut KeyWriter,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) {
    let lines = InOrder(|| lines(headers));
    key.argument(name, &(seen_head(method, uri), lines));
}

fn seen_head<'a>(method: &'a Method, uri: &'a Uri) -> (&'a str, impl Serialize + 'a) {
    (seen_method(method), seen_uri(uri))
}

/// HEAD is answered from what GET stored.
fn seen_method(method: &Method) -> &str {
    match *method {
        Method::HEAD => Method::GET.as_str(),
        _ => method.as_str(),
    }
}

/// The scheme, the authority, and the path with the query.
fn seen_uri(uri: &Uri) -> (Option<&str>, Option<&str>, &str) {
    let authority = uri.authority().map(|authority| authority.as_str());
    let path_and_query = match uri.path_and_query() {
        Some(path_and_query) => path_and_query.as_str(),
        None => "/",
    };
    (uri.scheme_str(), authority, path_and_query)
}

/// All lines: which of them counts is for the handler to say.
fn hosts(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::HOST).iter();
    lines.map(HeaderValue::as_bytes)
}

fn lines(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = headers.iter();
    lines.map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Serializes what an iterator gives, without a list of it.
struct InOrder<F>(F);

impl<F, I> Serialize for InOrder<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// A whole request, which shows more than a key can hold.
pub trait WholeRequest {}

impl<B> WholeRequest for Request<B> {}
impl WholeRequest for Parts {}
impl<T: WholeRequest> WholeRequest for &T {}
impl<T: WholeRequest, E> WholeRequest for Result<T, E> {}

/// Whole requests, which are refused.
pub trait ByWholeRequest<T: ?Sized> {
    /// Does not compile.
    fn write_key(&self, key: &mut KeyWriter)
    where
        T: CountsWhole;
}

impl<T: WholeRequest, V> ByWholeRequest<T> for &Argument<'_, T, V> {
    fn write_key(&self, _key: &mut KeyWriter)
    where
        T: CountsWhole,
    {
    }
}

/// What no whole request is: the bound that carries the message.
#[diagnostic::on_unimplemented(
    message = "a whole request shows more than a key can hold",
    label = "`{Self}` cannot be part of a cache key",
    note = "leave it out with `skip(..)`, if the result does not depend on it",
    note = "or say what counts of it, with a function that `key_builder = ..` names",
    note = "or take what counts alone: the `Uri`, or in a handler a `CacheRequest` with `vary(..)`"
)]
pub trait CountsWhole {}

/// What shows every header of a request.
pub trait ShowsHeaders {}

impl ShowsHeaders for HeaderMap {}
impl ShowsHeaders for CacheRequest {}
impl<T: ShowsHeaders> ShowsHeaders for &T {}
impl<T: ShowsHeaders> ShowsHeaders for Option<T> {}
impl<T: ShowsHeaders, E> ShowsHeaders for Result<T, E> {}

/// Headers that nothing says the relevant ones of, which are refused.
pub trait ByHeaders<T: ?Sized> {
    /// Does not compile.
    fn write_key(&self, key: &mut KeyWriter)
    where
        T: CountsByName;
}

impl<T: ShowsHeaders, V> ByHeaders<T> for &Argument<'_, T, V> {
    fn write_key(&self, _key: &mut KeyWriter)
    where
        T: CountsByName,
    {
    }
}

/// A parameter of a handler that writes its key as a text.
#[derive(Debug)]
pub struct Shown<'a, T>(PhantomData<&'a T>);

impl<'a, T> Shown<'a, T> {
    /// A parameter.
    #[must_use]
    pub const fn new(_: &'a T) -> Self {
        Self(PhantomData)
    }
}

/// Those that show every header.
pub trait ByShownHeaders {
    /// Notes that the handler can read every header.
    fn note(&self, key: &mut KeyWriter);
}

impl<T: ShowsHeaders> ByShownHeaders for &Shown<'_, T> {
    fn note(&self, key: &mut KeyWriter) {
        key.sees_headers();
    }
}

/// All others.
pub trait ByOtherShown {
    /// Does nothing.
    fn note(&self, key: &mut KeyWriter);
}

impl<T> ByOtherShown for Shown<'_, T> {
    #[inline]
    fn note(&self, _: &mut KeyWriter) {}
}

/// What no header map is: the bound that carries the message.
#[diagnostic::on_unimplemented(
    message = "all headers of a request are more than a key can hold",
    label = "`{Self}` shows every header, and which of them count is not said",
    note = "in a handler, name those that count with `vary(\"accept-language\")`, or write `vary()` if none does",
    note = "in a function, take their values instead",
    note = "leave it out with `skip(..)`, if the result does not depend on it"
)]
pub trait CountsByName {}
