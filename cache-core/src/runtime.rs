//! The path of a call: the only place that branches on hit and miss.
//!
//! Generated code calls [`function`] (or [`handler`](crate::handler::handler)) with a description
//! of the function, and then `run` with the computation. What happens in between is ordinary code.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::access::Access;
use crate::engine::{Engine, Times};
use crate::key::{DynKeyBuilder, Key, KeyContext, KeyWriter};
use crate::local::AnyEntry;
use crate::policy::Verdict;
use crate::registry::{Cache, with_current};
use crate::site::Site;
use crate::value::Shape;

/// Makes the key builder that a function names.
pub type MakeKeyBuilder = fn() -> Arc<dyn DynKeyBuilder>;

/// Looks up a call of a cached function.
///
/// A value in this process is found here, before anything is awaited or allocated. `write_key`
/// writes the arguments that count.
#[inline]
pub fn function<S: Shape>(
    site: &'static Site,
    _shape: S,
    access: Access<S::Stored>,
    builder: Option<MakeKeyBuilder>,
    write_key: impl FnOnce(&mut KeyWriter),
) -> Call<S> {
    let lookup = with_current(|cache| {
        look_up(cache, site, builder, write_key, |engine, entry, _| {
            (access.local)(engine, entry)
        })
    });
    Call {
        lookup: lookup.unwrap_or_else(|| uninitialized(site)),
        access,
    }
}

/// A call of a cached function that has been looked up.
#[must_use = "a call does nothing until it is run"]
pub struct Call<S: Shape> {
    lookup: Lookup<S::Stored>,
    access: Access<S::Stored>,
}

impl<S: Shape> Call<S> {
    /// Gives the value that was found, or awaits `future` and stores what `rules` let it.
    pub fn run<F, R>(
        self,
        future: F,
        rules: R,
    ) -> Answer<S::Returned, impl Future<Output = S::Returned>>
    where
        F: Future<Output = S::Returned>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let access = self.access;
        match self.lookup {
            Lookup::Hit(value) => Answer::Ready(Some(S::join(value))),
            Lookup::Miss(miss) => Answer::Pending(Box::pin(compute::<S, F, R>(
                Some(miss),
                access,
                future,
                rules,
            ))),
            Lookup::Bypass => {
                Answer::Pending(Box::pin(compute::<S, F, R>(None, access, future, rules)))
            }
        }
    }
}

async fn compute<S, F, R>(
    miss: Option<Box<Miss>>,
    access: Access<S::Stored>,
    future: F,
    rules: R,
) -> S::Returned
where
    S: Shape,
    F: Future<Output = S::Returned>,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let Some(miss) = miss else {
        return future.await;
    };
    let Miss { cache, site, key } = *miss;
    let engine = cache.engine();
    let is_looked_up = key.is_looked_up() && engine.is_local();
    let key = key.resolve(&cache, site).await;
    let (found, ticket) = match is_looked_up {
        true => (None, engine.begin()),
        false => engine.find(access, site, &key).await,
    };
    if let Some(found) = found {
        engine.counters().hit();
        return S::join(found.value);
    }
    engine.counters().miss();
    let returned = future.await;
    if let Some(value) = S::split(&returned) {
        let verdict = rules(value);
        if verdict.stores() {
            let lifetime = verdict.lifetime().or_else(|| engine.expire());
            engine
                .store(access, ticket, site, &key, value, lifetime)
                .await;
        }
    }
    returned
}

/// What a lookup found without waiting.
pub(crate) enum Lookup<H, M = Box<Miss>> {
    /// The value, or what was made of it.
    Hit(H),
    /// Nothing so far.
    Miss(M),
    /// This call has nothing to do with the cache.
    Bypass,
}

/// What the rest of a call needs that was not answered at once.
pub(crate) struct Miss {
    pub(crate) cache: Cache,
    pub(crate) site: &'static Site,
    pub(crate) key: CallKey,
}

/// The key of a call, or what it will be made of.
pub(crate) enum CallKey {
    /// The key, which the local store has been asked for.
    Known(Key),
    /// A builder makes the text.
    Built(Box<Built>),
}

/// What a key builder needs.
pub(crate) struct Built {
    builder: Arc<dyn DynKeyBuilder>,
    writer: KeyWriter,
    /// What the runtime adds to the text.
    pub(crate) suffix: String,
    #[cfg(feature = "axum")]
    pub(crate) request: Option<crate::CacheRequest>,
    #[cfg(feature = "axum")]
    pub(crate) response: Option<crate::CacheResponse>,
}

impl CallKey {
    pub(crate) fn is_looked_up(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// The key, after the builder has run if there is one.
    pub(crate) async fn resolve(self, cache: &Cache, site: &'static Site) -> Key {
        match self {
            Self::Known(key) => key,
            Self::Built(built) => built.build(cache, site).await,
        }
    }
}

impl Built {
    pub(crate) async fn build(&self, cache: &Cache, site: &'static Site) -> Key {
        let function = site.to_string();
        let context = KeyContext {
            function: &function,
            namespace: site.namespace_name(),
            args: self.writer.args(),
            #[cfg(feature = "axum")]
            request: self.request.as_ref(),
            #[cfg(feature = "axum")]
            response: self.response.as_ref(),
        };
        let mut text = self.builder.build(&context).await;
        text.push_str(&self.suffix);
        Key::from_text(cache.engine().prefix_number(), site, &text)
    }
}

/// Makes the key of a call and asks the local store for it; `accept` makes a hit of an entry, or
/// turns it down.
#[inline]
pub(crate) fn look_up<H>(
    cache: &Cache,
    site: &'static Site,
    builder: Option<MakeKeyBuilder>,
    write_key: impl FnOnce(&mut KeyWriter),
    accept: impl FnOnce(&Engine, &AnyEntry, Times) -> Option<H>,
) -> Lookup<H> {
    if !cache.is_enabled() {
        return Lookup::Bypass;
    }
    let engine = cache.engine();
    let mut writer = KeyWriter::default();
    if builder.is_some() || cache.key_builder_ref().is_some() {
        writer = KeyWriter::recording();
    }
    write_key(&mut writer);
    if let Some(error) = writer.take_error() {
        engine.report(site, &error);
        return Lookup::Bypass;
    }
    if writer.is_bypassed() {
        return Lookup::Bypass;
    }
    if let Some(builder) = choose_builder(cache, builder, &writer) {
        return miss(cache, site, CallKey::build(builder, writer));
    }
    let prefix = engine.prefix_number();
    let Some(key) = writer.local(prefix, site) else {
        return Lookup::Bypass;
    };
    if let Some((entry, times)) = engine.find_local(key)
        && let Some(hit) = accept(engine, &entry, times)
    {
        engine.counters().hit();
        return Lookup::Hit(hit);
    }
    match writer.into_key(prefix, site) {
        Some(key) => miss(cache, site, CallKey::Known(key)),
        None => Lookup::Bypass,
    }
}

impl CallKey {
    pub(crate) fn build(builder: Arc<dyn DynKeyBuilder>, writer: KeyWriter) -> Self {
        Self::Built(Box::new(Built {
            builder,
            writer,
            suffix: String::new(),
            #[cfg(feature = "axum")]
            request: None,
            #[cfg(feature = "axum")]
            response: None,
        }))
    }
}

/// The function's own key comes before the registry's builder.
pub(crate) fn choose_builder(
    cache: &Cache,
    own: Option<MakeKeyBuilder>,
    writer: &KeyWriter,
) -> Option<Arc<dyn DynKeyBuilder>> {
    if let Some(make) = own {
        return Some(make());
    }
    if writer.is_text() {
        return None;
    }
    cache.key_builder()
}

#[cold]
fn miss<H>(cache: &Cache, site: &'static Site, key: CallKey) -> Lookup<H> {
    Lookup::Miss(Box::new(Miss {
        cache: cache.clone(),
        site,
        key,
    }))
}

/// There is no cache: the call just runs, and says so once.
#[cold]
pub(crate) fn uninitialized<H, M>(site: &Site) -> Lookup<H, M> {
    if site.warn_once() {
        tracing::warn!(
            function = %site,
            "a cached function was called before `FastCache::init`: it runs uncached"
        );
    }
    Lookup::Bypass
}

/// The future of a call: a value that is there already, or a computation on the heap, so that the
/// caller's own future stays small.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub enum Answer<T, F> {
    /// The value; `None` once it has been taken.
    Ready(Option<T>),
    /// The computation.
    Pending(Pin<Box<F>>),
}

impl<T, F> Unpin for Answer<T, F> {}

impl<T, F: Future<Output = T>> Future for Answer<T, F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Ready(value) => match value.take() {
                Some(value) => Poll::Ready(value),
                None => panic!("a cached call was polled after it had completed"),
            },
            Self::Pending(future) => Poll::Ready(ready!(future.as_mut().poll(context))),
        }
    }
}

/// Runs a sync function on the blocking pool.
///
/// # Panics
///
/// If the function does, with the same payload, or outside of a Tokio runtime.
pub async fn blocking<T, F>(function: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let current = Cache::current();
    let task = tokio::task::spawn_blocking(move || match current {
        Some(cache) => cache.enter(function),
        None => function(),
    });
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(error) => panic!("the runtime shut down while a cached function ran: {error}"),
        },
    }
}
