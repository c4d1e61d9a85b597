//! Custom keys: what a key builder sees, and what may be one.

use std::fmt;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Span, print, render};
use crate::backend::BoxFuture;

/// What a [`KeyBuilder`] sees of a call.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyContext<'a> {
    /// The path of the function: `shop::users::get_user`.
    pub function: &'a str,
    /// The namespace of the function; empty if it has none. It is part of the printed key already.
    pub namespace: &'a str,
    /// The arguments that count, in order.
    pub args: Args<'a>,
    /// The request, for handlers.
    #[cfg(feature = "axum")]
    pub request: Option<&'a crate::CacheRequest>,
    /// The handle to the response, for handlers.
    #[cfg(feature = "axum")]
    pub response: Option<&'a crate::CacheResponse>,
}

/// Makes the text of a key, instead of the digest of all arguments.
///
/// A plain `fn(&KeyContext<'_>) -> String` is one, and so is an `async fn` of the same shape. The
/// printed key is `{prefix}:{namespace}:{text}`; characters that some backend refuses are escaped,
/// and what is too long is cut and given a digest.
///
/// Calls that get the same text share one entry: a text that leaves out what the function can see
/// serves one caller's value to another.
///
/// ```
/// use fast_cache_core::{KeyBuilder, KeyContext};
///
/// fn by_first_argument(context: &KeyContext<'_>) -> String {
///     match context.args.iter().next() {
///         Some(first) => format!("{}:{first}", context.function),
///         None => context.function.to_owned(),
///     }
/// }
///
/// async fn by_digest(context: &KeyContext<'_>) -> String {
///     context.args.digest()
/// }
///
/// fn accept<M>(_: impl KeyBuilder<M>) {}
/// accept(by_first_argument);
/// accept(by_digest);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key builder",
    label = "not a key builder",
    note = "a key builder is a `fn(&KeyContext<'_>) -> String` or an `async fn` of the same shape"
)]
pub trait KeyBuilder<Marker = ()>: Send + Sync + 'static {
    /// The text of the call's key.
    fn build<'a>(&'a self, context: &'a KeyContext<'a>)
    -> impl Future<Output = String> + Send + 'a;
}

/// Marks key builders that are plain functions.
#[derive(Debug)]
pub struct Plain;

/// Marks key builders that are async functions.
#[derive(Debug)]
pub struct Asynchronous;

impl<F> KeyBuilder<Plain> for F
where
    F: Fn(&KeyContext<'_>) -> String + Send + Sync + 'static,
{
    fn build<'a>(
        &'a self,
        context: &'a KeyContext<'a>,
    ) -> impl Future<Output = String> + Send + 'a {
        ready(self(context))
    }
}

impl<F> KeyBuilder<Asynchronous> for F
where
    F: for<'a> AsyncKeyFn<'a> + Send + Sync + 'static,
{
    fn build<'a>(
        &'a self,
        context: &'a KeyContext<'a>,
    ) -> impl Future<Output = String> + Send + 'a {
        self(context)
    }
}

/// A function whose future may borrow the context: `async fn(&KeyContext<'_>) -> String`.
pub trait AsyncKeyFn<'a>: Fn(&'a KeyContext<'a>) -> Self::Future {
    /// The future that it returns.
    type Future: Future<Output = String> + Send + 'a;
}

impl<'a, F, Fut> AsyncKeyFn<'a> for F
where
    F: Fn(&'a KeyContext<'a>) -> Fut,
    Fut: Future<Output = String> + Send + 'a,
{
    type Future = Fut;
}

/// [`KeyBuilder`] with a boxed future: what the registry holds.
pub trait DynKeyBuilder: Send + Sync {
    /// See [`KeyBuilder::build`].
    fn build<'a>(&'a self, context: &'a KeyContext<'a>) -> BoxFuture<'a, String>;
}

/// Forgets the type of a key builder.
pub fn erase_key_builder<M: 'static>(builder: impl KeyBuilder<M>) -> Arc<dyn DynKeyBuilder> {
    struct Erased<B, M>(B, PhantomData<fn() -> M>);

    impl<B: KeyBuilder<M>, M> DynKeyBuilder for Erased<B, M> {
        fn build<'a>(&'a self, context: &'a KeyContext<'a>) -> BoxFuture<'a, String> {
            Box::pin(self.0.build(context))
        }
    }

    Arc::new(Erased(builder, PhantomData))
}

/// The arguments of a call that count, in canonical form.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub(super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// The argument of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arg<'a>> {
        self.iter().find(|argument| argument.name == name)
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = Arg<'a>> + use<'a> {
        let Self { bytes, spans } = *self;
        spans.iter().map(move |span| Arg {
            name: span.name,
            bytes: bytes.get(span.start..span.end).unwrap_or_default(),
        })
    }

    /// The lowercase MD5 hex of all arguments, type arguments included: a short text that differs
    /// whenever an argument does.
    #[must_use]
    pub fn digest(&self) -> String {
        print::digest([self.bytes])
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|argument| (argument.name, argument.bytes.len())),
            )
            .finish()
    }
}

/// One argument of a call. It displays as its value: `42`, `text`, `[1, 2]`, `{"a": 1}`.
#[derive(Clone, Copy)]
pub struct Arg<'a> {
    name: &'static str,
    bytes: &'a [u8],
}

impl<'a> Arg<'a> {
    /// The name of the parameter.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The canonical bytes of the value.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Display for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&render::render(self.bytes), f)
    }
}

impl fmt::Debug for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {self}", self.name)
    }
}
