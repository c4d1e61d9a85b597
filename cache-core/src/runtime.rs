//! The path of a call: the only place that branches on hit and miss.
//!
//! Generated code calls [`function`] (or [`handler`](crate::handler::handler)) with a description
//! of the function, and then `run` with the computation. What happens in between is ordinary code.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::access::Access;
use crate::engine::{Engine, Found, Look, Ticket, Times, Validity};
use crate::flight::{Landing, Seat, Shared, Start};
use crate::key::{DynKeyBuilder, Key, KeyContext, KeyWriter};
use crate::lease::Lease;
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
    let key = key.resolve(&cache, site).await;
    let path = Path {
        engine: cache.engine(),
        access,
        site,
        key: &key,
    };
    let accept = |found: Found<S::Stored>| Some(S::join(found.value));
    let (start, first) = match path.first_look(&accept).await {
        First::Hit(returned) => return returned,
        First::Miss(start, first) => (start, first),
    };
    let answer = |first, (future, rules)| path.answer::<S, F, R>(first, future, rules);
    let together = path.together(start, first, (future, rules), answer, S::split, accept);
    together.await
}

/// The path of a call that was not answered at once.
pub(crate) struct Path<'a, T> {
    pub(crate) engine: &'a Engine,
    pub(crate) access: Access<T>,
    pub(crate) site: &'static Site,
    pub(crate) key: &'a Key,
}

impl<T> Path<'_, T> {
    /// Answers a call together with the others of its key: by `answer`, or by what another call
    /// shares, if `accept` makes something of it. `stored` finds in an answer what to share.
    ///
    /// `first` is what the call has seen in the store since its start. Whoever leads goes on from
    /// there, unless another flight has landed meanwhile.
    pub(crate) async fn together<C, R, A>(
        &self,
        start: Start,
        mut first: Option<Look<T>>,
        call: C,
        answer: impl FnOnce(Option<Look<T>>, C) -> A,
        stored: impl Fn(&R) -> Option<&T>,
        accept: impl Fn(Found<T>) -> Option<R>,
    ) -> R
    where
        A: Future<Output = (R, End)>,
    {
        let mut call = Some((call, answer));
        for _ in 0..MOST_FLIGHTS {
            let Some(seat) = self.engine.join(self.site, self.key) else {
                break;
            };
            let mut own = None;
            let lead = async {
                let Some((call, answer)) = call.take() else {
                    return Landing::Alone;
                };
                let first = first.take().filter(|_| !seat.is_news(start));
                let (answer, end) = answer(first, call).await;
                let landing = self.land(&seat, end, stored(&answer));
                own = Some(answer);
                landing
            };
            let landing = seat.landing(lead).await;
            if let Some(answer) = own {
                return answer;
            }
            match landing {
                Landing::Shared(shared) => {
                    let found = self.engine.share(self.access, self.site, shared, start);
                    if let Some(answer) = found.await.and_then(&accept) {
                        self.engine.counters().hit();
                        return answer;
                    }
                }
                Landing::Invalidated => {}
                Landing::Alone => break,
            }
        }
        let Some((call, answer)) = call else {
            unreachable!("a call that led a flight has been answered")
        };
        answer(None, call).await.0
    }

    fn land(&self, seat: &Seat<'_>, end: End, stored: Option<&T>) -> Landing {
        match (end, stored) {
            (End::Alone, _) => Landing::Alone,
            (End::Valid(times, validity), Some(value)) if seat.has_company() => {
                Landing::Shared(Shared {
                    value: (self.access.share)(value),
                    times,
                    validity,
                })
            }
            // Whoever joins at the last moment finds it in the store.
            _ => Landing::Invalidated,
        }
    }

    /// Looks into a shared store before the call joins others: a hit waits for nobody. The local store
    /// has been looked into by now.
    pub(crate) async fn first_look<R>(
        &self,
        accept: impl Fn(Found<T>) -> Option<R>,
    ) -> First<R, T> {
        let start = self.engine.start(self.key);
        if self.engine.is_local() {
            return First::Miss(start, None);
        }
        let mut look = self.engine.find(self.access, self.site, self.key).await;
        if let Some(answer) = look.found.take().and_then(accept) {
            self.engine.counters().hit();
            return First::Hit(answer);
        }
        First::Miss(start, Some(look))
    }

    /// Answers a call from the store, or computes and stores.
    async fn answer<S, F, R>(
        &self,
        first: Option<Look<T>>,
        future: F,
        rules: R,
    ) -> (S::Returned, End)
    where
        S: Shape<Stored = T>,
        F: Future<Output = S::Returned>,
        R: FnOnce(&T) -> Verdict,
    {
        let engine = self.engine;
        let (look, _lease) = self.look(first).await;
        let validity = look.validity();
        if let Some(found) = look.found {
            engine.counters().hit();
            let end = End::Valid(found.times, validity);
            return (S::join(found.value), end);
        }
        engine.counters().miss();
        let returned = future.await;
        let end = match S::split(&returned) {
            Some(value) => self.store(look.ticket, value, rules(value)).await,
            None => End::Alone,
        };
        (returned, end)
    }

    /// Looks into the store, unless that was done, and again under the lock that other processes
    /// respect, if there is one.
    pub(crate) async fn look(&self, first: Option<Look<T>>) -> (Look<T>, Option<Lease>) {
        let look = match first {
            Some(look) => look,
            None => self.engine.find(self.access, self.site, self.key).await,
        };
        if look.found.is_some() {
            return (look, None);
        }
        let lock = self.engine.lock(self.access, self.site, self.key, look);
        lock.await
    }

    async fn store(&self, ticket: Ticket, value: &T, verdict: Verdict) -> End {
        if !verdict.stores() {
            return End::Alone;
        }
        let lifetime = verdict.lifetime().or_else(|| self.engine.expire());
        self.store_for(ticket, value, lifetime).await
    }

    /// Stores a value for `lifetime`, and says what it is to others.
    pub(crate) async fn store_for(
        &self,
        ticket: Ticket,
        value: &T,
        lifetime: Option<Duration>,
    ) -> End {
        if lifetime.is_some_and(|lifetime| lifetime < Duration::from_millis(1)) {
            return End::Alone;
        }
        let validity = self
            .engine
            .store(self.access, ticket, self.site, self.key, value, lifetime)
            .await;
        validity.map_or(End::Invalidated, |validity| {
            End::Valid(Times::new(lifetime), validity)
        })
    }
}

/// What a call finds before it joins others.
pub(crate) enum First<R, T> {
    Hit(R),
    Miss(Start, Option<Look<T>>),
}

/// How many flights a call joins, before it computes by itself: a key that is invalidated again and
/// again must not keep it waiting.
const MOST_FLIGHTS: usize = 3;

/// What the value of a call is to others.
pub(crate) enum End {
    Valid(Times, Validity),
    Invalidated,
    Alone,
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
